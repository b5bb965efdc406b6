import { isDeepStrictEqual } from 'node:util'
import {
  type CreateSnapshotParams,
  createSnapshot,
  type PersistentBackend,
  type WorkerFilter,
  type WorkflowSnapshot,
} from '@sayiir/persistence-core'
import { work } from './backend-work.ts'
import type { BackendModule, Place } from './definition.ts'
import { inFlight, now } from './numbers.ts'
import { outputOf, payload } from './payload.ts'
import { STEPS } from './sizes.ts'
import type { CrowdName, Hooks, Subject, Work, WorkKind } from './subject.ts'

const CHUNK = 500
const AT_TASK = { kind: 'at-task', taskId: 'step-1' } as const
const BASE = { definitionHash: 'definition', position: AT_TASK }
const FAR_MS = 86_400_000
/** The instance of `LOAD`. */
const LONG = 'long'

interface Crowd {
  /** What most instances are. */
  readonly most: Partial<CreateSnapshotParams>
  readonly filter: WorkerFilter
}

const CROWDS: Readonly<Record<CrowdName, Crowd>> = {
  'all alike': { most: {}, filter: {} },
  'other tags': { most: { tags: ['gpu'] }, filter: { tags: [] } },
  'other definitions': {
    most: { definitionHash: 'other' },
    filter: { definitionHashes: ['definition'] },
  },
  'not yet due': {
    most: {
      position: {
        kind: 'at-delay',
        delayId: 'delay',
        enteredAt: Date.now(),
        wakeAt: Date.now() + FAR_MS,
        nextTaskId: 'step-1',
      },
    },
    filter: {},
  },
}

/** Any backend of the contract. */
export class BackendSubject implements Subject {
  readonly modes: readonly string[] = ['one', 'claimNext', 'batch50', 'wakeups', 'claims', 'loads']
  readonly #backend: PersistentBackend
  readonly #module: BackendModule
  readonly #place: Place
  #sent = 0

  constructor(backend: PersistentBackend, module: BackendModule, place: Place) {
    this.#backend = backend
    this.#module = module
    this.#place = place
  }

  /** Connecting has done it. */
  async create(): Promise<void> {}

  async warm(): Promise<void> {
    const look = { workerId: 'nobody', limit: 1 }
    await inFlight(this.#place.concurrency, this.#place.concurrency, () =>
      this.#backend.findAvailableTasks(look),
    )
  }

  async fill(_kind: WorkKind, count: number): Promise<void> {
    for (let from = 0; from < count; from += CHUNK) {
      const size = Math.min(CHUNK, count - from)
      await this.sendMany(Array.from({ length: size }, () => payload(now())))
    }
  }

  async settle(): Promise<void> {
    await this.#module.settle?.(this.#place)
  }

  work(plan: Work, hooks: Hooks, signal: AbortSignal): Promise<void> {
    return work(this.#backend, plan, hooks, signal)
  }

  send(text: string): Promise<unknown> {
    return this.#backend.saveSnapshot(this.#job(text))
  }

  sendMany(payloads: readonly string[]): Promise<unknown> {
    return Promise.all(payloads.map((text) => this.send(text)))
  }

  async verify(kind: WorkKind, count: number): Promise<void> {
    const completed: string[] = []
    for await (const { instanceId, status } of this.#backend.listSnapshots()) {
      if (status !== 'completed') throw new Error(`${instanceId} is ${status}`)
      completed.push(instanceId)
    }
    if (completed.length !== count) {
      throw new Error(`${completed.length} instances instead of ${count}`)
    }
    if (kind !== 'steps') return
    const expected = (id: string): [string, string][] =>
      Array.from({ length: STEPS }, (_, at) => [`step-${at + 1}`, outputOf(id, at + 1)])
    await inFlight(count, 10, async (index) => {
      const id = completed[index] as string
      const { state } = await this.#backend.loadSnapshot(id)
      const outputs = [...state.completedTasks].map(([taskId, { output }]) => [
        taskId,
        new TextDecoder().decode(output),
      ])
      if (!isDeepStrictEqual(outputs, expected(id))) throw new Error(`${id} lost an output`)
    })
  }

  async deepen(crowd: CrowdName, count: number, own: number): Promise<void> {
    const { most } = CROWDS[crowd]
    await this.#copies(createSnapshot({ instanceId: 'most', ...BASE, ...most }), count - own)
    await this.#copies(createSnapshot({ instanceId: 'own', ...BASE }), own)
    await this.settle()
  }

  async claimOne(crowd: CrowdName): Promise<void> {
    const claimed = await this.#backend.claimAvailableTasks({
      workerId: 'worker',
      limit: 1,
      ttlMs: FAR_MS,
      ...CROWDS[crowd].filter,
    })
    if (claimed.length !== 1) throw new Error('nothing to claim')
  }

  /** Step by step, as an instance becomes long. */
  async lengthen(steps: number): Promise<void> {
    await this.#backend.saveSnapshot(createSnapshot({ instanceId: LONG, ...BASE }))
    const worker = { workerId: 'worker', limit: 1, ttlMs: FAR_MS }
    let [task] = await this.#backend.claimAvailableTasks(worker)
    for (let step = 1; step <= steps; step += 1) {
      if (task === undefined) throw new Error(`step ${step} is not available`)
      const { next } = await this.#backend.commitTask({
        claim: task.claim,
        outcome: {
          kind: 'completed',
          output: new TextEncoder().encode(outputOf(LONG, step)),
          next: { position: { kind: 'at-task', taskId: `step-${step + 1}` } },
        },
        claimNext: { ttlMs: FAR_MS },
      })
      task = next ?? undefined
    }
  }

  async loadOne(): Promise<number> {
    const { state } = await this.#backend.loadSnapshot(LONG)
    return state.completedTasks.size
  }

  async drop(): Promise<void> {
    await this.#module.drop?.(this.#place)
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#backend[Symbol.asyncDispose]()
  }

  #job(text: string): WorkflowSnapshot {
    this.#sent += 1
    return createSnapshot({
      instanceId: `instance-${process.pid}-${String(this.#sent).padStart(7, '0')}`,
      initialInput: new TextEncoder().encode(text),
      ...BASE,
    })
  }

  async #copies(original: WorkflowSnapshot, count: number): Promise<void> {
    const { clone } = this.#module
    if (clone !== undefined) {
      await this.#backend.saveSnapshot(original)
      return clone(this.#place, original.instanceId, count - 1)
    }
    for (let from = 0; from < count; from += CHUNK) {
      const size = Math.min(CHUNK, count - from)
      await Promise.all(
        Array.from({ length: size }, (_, index) =>
          this.#backend.saveSnapshot({
            ...original,
            instanceId: `${original.instanceId}-${String(from + index).padStart(7, '0')}`,
          }),
        ),
      )
    }
  }
}
