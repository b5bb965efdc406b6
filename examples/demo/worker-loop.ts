import { setTimeout } from 'node:timers/promises'
import {
  type AvailableTask,
  BackendError,
  type ClaimedTask,
  holdClaim,
  type PersistentBackend,
  type TaskOutcome,
} from '@sayiir/persistence-core'

/** What a worker does, and for whom. */
export interface WorkerOptions {
  readonly backend: PersistentBackend
  readonly workerId: string
  /** Only runs of this definition. */
  readonly definitionHash: string
  /** Tasks at a time. */
  readonly concurrency: number
  /** Milliseconds after which the tasks of a worker that fell silent go to others. */
  readonly ttlMs: number
  /** What it throws ends the worker, unless the claim was lost: of a task that failed it tells with `retry` or `failed`. */
  readonly execute: (task: AvailableTask, signal: AbortSignal) => Promise<TaskOutcome>
  /** Aborts to drain: what was begun is finished, nothing new is taken. */
  readonly drain: AbortSignal
  readonly onEvent?: (event: WorkerEvent) => void
  /** A run that can not be read, damaged or of a newer version, which keeps nobody from the others. */
  readonly onUnreadable?: (error: BackendError) => void
}

/** What a worker tells of its work. `lost`: it was too late, another worker has the task. */
export interface WorkerEvent {
  readonly kind: 'started' | 'committed' | 'retried' | 'lost'
  readonly workerId: string
  readonly instanceId: string
  readonly taskId: string
  readonly deliveries: number
  readonly token: number
}

/**
 * Works until it is drained: this is the loop to copy. Waiting for work does not keep a process
 * alive; here the channel to the parent does, elsewhere it may be a server or a timer.
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const { backend, drain } = options
  const filter = { definitionHashes: [options.definitionHash] }
  const slots = Array.from({ length: options.concurrency }, async () => {
    while (!drain.aborted) {
      let claimed = await claimOne(options)
      if (claimed === null) {
        await untilReached(
          () => backend.waitForWakeup({ timeoutMs: 5_000, ...filter }, { signal: drain }),
          drain,
        )
      }
      // Each commit brings the next task along: no asking while there is work.
      while (claimed !== null) claimed = await runTask(claimed, options)
    }
  })
  await Promise.all(slots)
}

async function claimOne(options: WorkerOptions): Promise<ClaimedTask | null> {
  const { backend, workerId, ttlMs, definitionHash, drain } = options
  const request = { workerId, limit: 1, ttlMs, definitionHashes: [definitionHash] }
  try {
    const claimed = await untilReached(() => backend.claimAvailableTasks(request), drain)
    return claimed?.at(0) ?? null
  } catch (error) {
    // It was claimed like any other, and so is out of everybody's way for a while.
    if (!BackendError.is(error, 'SERIALIZATION') && !BackendError.is(error, 'SCHEMA')) throw error
    options.onUnreadable?.(error)
    return null
  }
}

/**
 * Makes a call, again and again while the store can not be reached: it may be restarting. Null where
 * `signal` aborts before.
 */
async function untilReached<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
  for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, 5_000)) {
    try {
      return await call()
    } catch (error) {
      if (signal.aborted && (error === signal.reason || isUnavailable(error))) return null
      if (!isUnavailable(error)) throw error
      const pauseMs = waitMs * (0.5 + Math.random() / 2)
      await setTimeout(pauseMs, undefined, { signal }).catch(() => undefined)
    }
  }
}

/** Executes one task and commits it, with the next one in return. */
async function runTask(
  { task, claim }: ClaimedTask,
  options: WorkerOptions,
): Promise<ClaimedTask | null> {
  const { backend, execute, drain, ttlMs, definitionHash } = options
  const tell = (kind: WorkerEvent['kind']): void => {
    const { instanceId, taskId, deliveries } = task
    options.onEvent?.({
      kind,
      workerId: claim.workerId,
      instanceId,
      taskId,
      deliveries,
      token: claim.token,
    })
  }
  tell('started')
  try {
    // The heartbeat: it renews the claim while `execute` runs, and aborts `signal` when the claim is lost.
    const outcome = await holdClaim(backend, claim, { ttlMs }, (signal) => execute(task, signal))
    const claimNext = { ttlMs, definitionHashes: [definitionHash] }
    const commit = { claim, outcome, ...(drain.aborted ? undefined : { claimNext }) }
    // Whether it landed before its reply was lost need not be known: it lands once. After that time
    // the task is another worker's.
    const receipt = await untilReached(() => backend.commitTask(commit), AbortSignal.timeout(ttlMs))
    if (receipt === null) return null
    tell(outcome.kind === 'retry' ? 'retried' : 'committed')
    return receipt.next
  } catch (error) {
    // Another worker has taken over, or the run has ended or was deleted: nothing is ours any more.
    if (!LOST.some((code) => BackendError.is(error, code))) throw error
    tell('lost')
    return null
  }
}

function isUnavailable(error: unknown): boolean {
  return BackendError.is(error, 'UNAVAILABLE')
}

const LOST = ['CLAIM_LOST', 'TERMINAL', 'NOT_FOUND'] as const
