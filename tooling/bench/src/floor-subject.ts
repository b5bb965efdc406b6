import { setTimeout as sleep } from 'node:timers/promises'
import type { Floor, FloorJob } from './floor.ts'
import { aborted, now } from './numbers.ts'
import { outputOf, payload } from './payload.ts'
import { STEPS } from './sizes.ts'
import type { CrowdName, Hooks, Subject, Work, WorkKind } from './subject.ts'

const CHUNK = 1000
const BATCH = 50
/** The payload of the instance of `LOAD`. */
const LONG = 'long'
/** How long a slot that found nothing waits. */
const IDLE_MS = 5

/** A floor, worked by as many loops as there are slots. */
export class FloorSubject implements Subject {
  readonly modes: readonly string[]
  readonly #floor: Floor
  readonly #workerId = `worker-${process.pid}`

  constructor(floor: Floor) {
    this.#floor = floor
    this.modes = [
      'one',
      'claims',
      ...(floor.completeAndClaim ? ['fused'] : []),
      ...(floor.claimMany && floor.completeMany ? ['batch50'] : []),
      ...(floor.load ? ['loads'] : []),
      ...(floor.listen && floor.enqueueAndWake ? ['wakeups'] : []),
    ]
  }

  create(): Promise<void> {
    return this.#floor.create()
  }

  /** Connecting has done it. */
  async warm(): Promise<void> {}

  async fill(_kind: WorkKind, count: number): Promise<void> {
    for (let from = 0; from < count; from += CHUNK) {
      const size = Math.min(CHUNK, count - from)
      await this.#floor.fill(Array.from({ length: size }, () => payload(now())))
    }
  }

  async settle(): Promise<void> {
    await this.#floor.settle?.()
  }

  async work({ kind, mode, concurrency }: Work, hooks: Hooks, signal: AbortSignal): Promise<void> {
    if (kind === 'wakeups') return this.#awaitWork(hooks, signal)
    if (kind === 'idle') {
      await this.#floor.listen?.(() => {})
      return aborted(signal)
    }
    const turn = kind === 'steps' ? this.#steps : this.#turns()[mode as keyof Turns]
    await Promise.all(
      Array.from({ length: concurrency }, async () => {
        while (!signal.aborted) {
          if (!(await turn.call(this, hooks, signal))) await sleep(IDLE_MS)
        }
      }),
    )
  }

  send(text: string, wake: boolean): Promise<unknown> {
    const floor = this.#floor
    return wake && floor.enqueueAndWake ? floor.enqueueAndWake(text) : floor.enqueue(text)
  }

  sendMany(payloads: readonly string[]): Promise<unknown> {
    return this.#floor.fill(payloads)
  }

  async verify(): Promise<void> {
    const remaining = await this.#floor.remaining()
    if (remaining !== 0) throw new Error(`${remaining} jobs are not completed`)
  }

  deepen(_crowd: CrowdName, count: number): Promise<void> {
    return this.fill('jobs', count)
  }

  async claimOne(): Promise<void> {
    if ((await this.#floor.claim(this.#workerId)) === undefined) throw new Error('nothing to claim')
  }

  async lengthen(steps: number): Promise<void> {
    await this.#floor.enqueue(LONG)
    const job = await this.#floor.claim(this.#workerId)
    if (job === undefined) throw new Error('nothing to claim')
    const outputs = Array.from({ length: steps }, (_, index) => outputOf('instance', index + 1))
    await this.#floor.checkpoint(job, outputs)
  }

  async loadOne(): Promise<number> {
    const outputs = await this.#floor.load?.(LONG)
    return outputs?.length ?? 0
  }

  drop(): Promise<void> {
    return this.#floor.drop()
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#floor[Symbol.asyncDispose]()
  }

  #turns(): Turns {
    const floor = this.#floor
    const workerId = this.#workerId
    return {
      one: async (hooks) => {
        const job = await floor.claim(workerId)
        if (job === undefined) return false
        hooks.started(job.payload)
        await floor.complete(job)
        hooks.finished(1)
        return true
      },
      fused: async (hooks, signal) => {
        let job = await floor.claim(workerId)
        if (job === undefined) return false
        while (job !== undefined && !signal.aborted) {
          hooks.started(job.payload)
          job = await floor.completeAndClaim?.(job, workerId)
          hooks.finished(1)
        }
        return true
      },
      batch50: async (hooks) => {
        const jobs = (await floor.claimMany?.(workerId, BATCH)) ?? []
        for (const job of jobs) hooks.started(job.payload)
        if (jobs.length > 0) await floor.completeMany?.(jobs)
        hooks.finished(jobs.length)
        return jobs.length > 0
      },
    }
  }

  async #steps(hooks: Hooks): Promise<boolean> {
    const job: FloorJob | undefined = await this.#floor.claim(this.#workerId)
    if (job === undefined) return false
    const outputs: string[] = []
    for (let step = 1; step <= STEPS; step += 1) {
      hooks.started(job.payload)
      outputs.push(outputOf('instance', step))
      await this.#floor.checkpoint(job, outputs)
      if (step === STEPS) await this.#floor.complete(job)
      hooks.finished(1)
    }
    return true
  }

  /** One dispatcher, as a worker has it: wait, claim, start the handler, claim on. */
  async #awaitWork(hooks: Hooks, signal: AbortSignal): Promise<void> {
    let wake = (): void => {}
    let woken = false
    await this.#floor.listen?.(() => {
      woken = true
      wake()
    })
    signal.addEventListener('abort', () => wake())
    const completing = new Set<Promise<unknown>>()
    while (!signal.aborted) {
      woken = false
      const job = await this.#floor.claim(this.#workerId)
      if (job !== undefined) {
        hooks.started(job.payload)
        const done = this.#floor.complete(job).then(() => {
          completing.delete(done)
          hooks.finished(1)
        })
        completing.add(done)
      } else if (!woken && !signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
    await Promise.all(completing)
  }
}

type Turn = (hooks: Hooks, signal: AbortSignal) => Promise<boolean>
type Turns = Readonly<Record<'one' | 'fused' | 'batch50', Turn>>
