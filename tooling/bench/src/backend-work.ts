import { setTimeout as sleep } from 'node:timers/promises'
import type {
  ClaimedTask,
  CommitReceipt,
  CommitTaskParams,
  PersistentBackend,
  TaskOutcome,
} from '@sayiir/persistence-core'
import { outputOf } from './payload.ts'
import { STEPS } from './sizes.ts'
import type { Hooks, Work } from './subject.ts'

const TTL_MS = 30_000
const BATCH = 50
/** How long a slot that found nothing waits. */
const IDLE_MS = 5
const DONE: Uint8Array = new TextEncoder().encode('null')

/** Works off a backend's tasks as a worker does, until the signal aborts. */
export async function work(
  backend: PersistentBackend,
  { kind, mode, concurrency }: Work,
  hooks: Hooks,
  signal: AbortSignal,
): Promise<void> {
  const worker = new BackendWorker(backend, kind === 'steps' ? stepOutcome : jobOutcome, hooks)
  if (kind === 'wakeups') return worker.awaitWork(signal)
  if (kind === 'idle') return worker.idle(signal)
  const turn = {
    one: () => worker.one(),
    claimNext: () => worker.chain(signal),
    batch50: () => worker.batch(),
  }[mode]
  if (turn === undefined) throw new Error(`there is no mode ${mode}`)
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (!signal.aborted) if (!(await turn())) await sleep(IDLE_MS)
    }),
  )
}

type OutcomeOf = (claimed: ClaimedTask) => TaskOutcome

const jobOutcome: OutcomeOf = () => ({
  kind: 'completed',
  output: DONE,
  next: { finalOutput: DONE },
})

const stepOutcome: OutcomeOf = ({ task: { instanceId, taskId } }) => {
  const step = Number(taskId.slice('step-'.length))
  const output = new TextEncoder().encode(outputOf(instanceId, step))
  const next =
    step === STEPS
      ? { finalOutput: DONE }
      : { position: { kind: 'at-task' as const, taskId: `step-${step + 1}` } }
  return { kind: 'completed', output, next }
}

class BackendWorker {
  readonly #backend: PersistentBackend
  readonly #outcomeOf: OutcomeOf
  readonly #hooks: Hooks
  readonly #workerId = `worker-${process.pid}`

  constructor(backend: PersistentBackend, outcomeOf: OutcomeOf, hooks: Hooks) {
    this.#backend = backend
    this.#outcomeOf = outcomeOf
    this.#hooks = hooks
  }

  async one(): Promise<boolean> {
    const [claimed] = await this.#claim(1)
    if (claimed === undefined) return false
    await this.#run(claimed)
    return true
  }

  async chain(signal: AbortSignal): Promise<boolean> {
    let [claimed] = await this.#claim(1)
    if (claimed === undefined) return false
    while (claimed !== undefined && !signal.aborted) {
      const { next } = await this.#run(claimed, { claimNext: { ttlMs: TTL_MS } })
      claimed = next ?? undefined
    }
    return true
  }

  async batch(): Promise<boolean> {
    const tasks = await this.#claim(BATCH)
    await Promise.all(tasks.map((claimed) => this.#run(claimed)))
    return tasks.length > 0
  }

  /** Waits, is woken, is busy for a moment, waits again: as often as a worker may be notified. */
  async idle(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#backend.waitForWakeup({ timeoutMs: 10_000 }, { signal }).catch((error) => {
        if (!signal.aborted) throw error
      })
      await sleep(IDLE_MS)
    }
  }

  /** One dispatcher: wait, claim what is there, start the handlers, wait again. */
  async awaitWork(signal: AbortSignal): Promise<void> {
    const running = new Set<Promise<unknown>>()
    while (!signal.aborted) {
      const tasks = await this.#claim(10)
      for (const claimed of tasks) {
        const run: Promise<unknown> = this.#run(claimed).then(() => running.delete(run))
        running.add(run)
      }
      if (tasks.length > 0) continue
      try {
        await this.#backend.waitForWakeup({ timeoutMs: 10_000 }, { signal })
      } catch (error) {
        if (!signal.aborted) throw error
      }
    }
    await Promise.all(running)
  }

  async #run(
    claimed: ClaimedTask,
    options?: Pick<CommitTaskParams, 'claimNext'>,
  ): Promise<CommitReceipt> {
    this.#hooks.started(new TextDecoder().decode(claimed.task.input))
    const outcome = this.#outcomeOf(claimed)
    const receipt = await this.#backend.commitTask({ claim: claimed.claim, outcome, ...options })
    this.#hooks.finished(1)
    return receipt
  }

  #claim(limit: number): Promise<ClaimedTask[]> {
    return this.#backend.claimAvailableTasks({ workerId: this.#workerId, limit, ttlMs: TTL_MS })
  }
}
