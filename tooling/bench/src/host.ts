import { setTimeout as sleep } from 'node:timers/promises'
import { BackendSubject } from './backend-subject.ts'
import type { BackendModule, FloorModule, Place } from './definition.ts'
import { FloorSubject } from './floor-subject.ts'
import { inFlight, now } from './numbers.ts'
import { payload, sentAt } from './payload.ts'
import type { CrowdName, Subject, Work, WorkKind } from './subject.ts'

/** Which code to measure. */
export interface Contender {
  readonly kind: 'backend' | 'floor' | 'peer'
  readonly module: string
}

/** A peer's module. */
interface PeerModule {
  connect(place: Place): Promise<Subject>
}

/** How far a worker has come. */
export interface Progress {
  readonly count: number
  /** By `now()`; 0 before the first one. */
  readonly lastAt: number
}

/** Holds open subjects by namespace and does with them what it is told: in a process of its own, or in this one. */
export class Host {
  readonly #subjects = new Map<string, Subject>()
  readonly #working = new Map<string, AbortController>()
  readonly #report: (progress: Progress) => void

  constructor(report: (progress: Progress) => void = () => {}) {
    this.#report = report
  }

  /** Opens a subject; its modes. */
  async open(contender: Contender, place: Place): Promise<readonly string[]> {
    const subject = await connect(contender, place)
    this.#subjects.set(place.namespace, subject)
    return subject.modes
  }

  create(namespace: string): Promise<void> {
    return this.#at(namespace).create()
  }

  warm(namespace: string): Promise<void> {
    return this.#at(namespace).warm()
  }

  async close(namespace: string, drop: boolean): Promise<void> {
    const subject = this.#at(namespace)
    this.#subjects.delete(namespace)
    try {
      if (drop) await subject.drop()
    } finally {
      await subject[Symbol.asyncDispose]()
    }
  }

  async fill(namespace: string, kind: WorkKind, count: number): Promise<void> {
    await this.#at(namespace).fill(kind, count)
    await this.#at(namespace).settle()
  }

  /** Works until `stop`; how long after its sending each piece was started, if it tells. */
  async work(namespace: string, plan: Work): Promise<readonly number[]> {
    const stop = new AbortController()
    this.#working.set(namespace, stop)
    const delays: number[] = []
    let progress: Progress = { count: 0, lastAt: 0 }
    let told = 0
    const tell = (): void => {
      if (progress.count === told) return
      told = progress.count
      this.#report(progress)
    }
    const timer = setInterval(tell, 5)
    const started =
      plan.kind === 'wakeups' ? (text: string) => delays.push(now() - sentAt(text)) : () => {}
    const finished = (count: number): void => {
      progress = { count: progress.count + count, lastAt: now() }
    }
    try {
      await this.#at(namespace).work(plan, { started, finished }, stop.signal)
    } finally {
      clearInterval(timer)
      tell()
      this.#working.delete(namespace)
    }
    return delays
  }

  stop(namespace: string): void {
    this.#working.get(namespace)?.abort()
  }

  /** When nothing is left, by `now()`; null for those that tell of completion themselves. */
  async emptied(namespace: string): Promise<number | null> {
    const subject = this.#at(namespace)
    if (subject.remaining === undefined) return null
    for (let tries = 0; (await subject.remaining()) > 0; tries += 1) {
      if (tries === 1000) throw new Error('jobs that were handled are not completed')
      await sleep(5)
    }
    return now()
  }

  verify(namespace: string, kind: WorkKind, count: number): Promise<void> {
    return this.#at(namespace).verify(kind, count)
  }

  /** Sends one every so many milliseconds; how long each call took. */
  async produce(namespace: string, count: number, everyMs: number): Promise<readonly number[]> {
    const subject = this.#at(namespace)
    const times: number[] = []
    const start = now()
    const sends: Promise<unknown>[] = []
    for (let index = 0; index < count; index += 1) {
      await sleep(Math.max(0, start + index * everyMs - now()))
      const at = now()
      sends.push(subject.send(payload(at), true).then(() => times.push(now() - at)))
    }
    await Promise.all(sends)
    return times
  }

  /** Milliseconds for so many single ones, or for all in one call; `wake`: somebody waits for them. */
  async save(
    namespace: string,
    count: number,
    width: number | 'all',
    wake: boolean,
  ): Promise<number> {
    const subject = this.#at(namespace)
    const payloads = Array.from({ length: count }, () => payload(now()))
    const start = now()
    if (width === 'all') await subject.sendMany?.(payloads)
    else await inFlight(count, width, (index) => subject.send(payloads[index] as string, wake))
    return now() - start
  }

  async deepen(namespace: string, crowd: CrowdName, count: number, own: number): Promise<void> {
    await this.#at(namespace).deepen?.(crowd, count, own)
  }

  /** Milliseconds of each of so many claims, one after the other. */
  async claimTimes(namespace: string, crowd: CrowdName, count: number): Promise<readonly number[]> {
    const subject = this.#at(namespace)
    const times: number[] = []
    for (let index = 0; index < count; index += 1) {
      const at = now()
      await subject.claimOne?.(crowd)
      times.push(now() - at)
    }
    return times
  }

  async lengthen(namespace: string, steps: number): Promise<void> {
    await this.#at(namespace).lengthen?.(steps)
  }

  /** Milliseconds of each of so many loads, one after the other. */
  async loadTimes(namespace: string, steps: number, count: number): Promise<readonly number[]> {
    const subject = this.#at(namespace)
    const times: number[] = []
    for (let index = 0; index < count; index += 1) {
      const at = now()
      const outputs = await subject.loadOne?.()
      times.push(now() - at)
      if (outputs !== steps) throw new Error(`${outputs} outputs instead of ${steps}`)
    }
    return times
  }

  #at(namespace: string): Subject {
    const subject = this.#subjects.get(namespace)
    if (subject === undefined) throw new Error(`${namespace} is not open`)
    return subject
  }
}

async function connect({ kind, module }: Contender, place: Place): Promise<Subject> {
  switch (kind) {
    case 'backend': {
      const backend: BackendModule = await import(module)
      return new BackendSubject(await backend.connect(place), backend, place)
    }
    case 'floor': {
      const floor: FloorModule = await import(module)
      return new FloorSubject(await floor.connect(place))
    }
    case 'peer': {
      const peer: PeerModule = await import(module)
      return peer.connect(place)
    }
  }
}
