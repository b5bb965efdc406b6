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
  readonly execute: (task: AvailableTask, signal: AbortSignal) => Promise<TaskOutcome>
  /** Aborts to drain: what was begun is finished, nothing new is taken. */
  readonly drain: AbortSignal
  readonly onEvent?: (event: WorkerEvent) => void
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
  const { backend, workerId, drain, ttlMs } = options
  const filter = { definitionHashes: [options.definitionHash] }
  const slots = Array.from({ length: options.concurrency }, async () => {
    while (!drain.aborted) {
      const [first] = await backend.claimAvailableTasks({ workerId, limit: 1, ttlMs, ...filter })
      if (first === undefined)
        await backend
          .waitForWakeup({ timeoutMs: 5_000, ...filter }, { signal: drain })
          .catch(unlessDrained)
      // Each commit brings the next task along: no asking while there is work.
      for (let claimed = first ?? null; claimed !== null; )
        claimed = await runTask(claimed, options)
    }
  })
  await Promise.all(slots)

  function unlessDrained(error: unknown): void {
    if (!drain.aborted) throw error
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
    const receipt = await backend.commitTask({
      claim,
      outcome,
      ...(drain.aborted ? undefined : { claimNext: { ttlMs, definitionHashes: [definitionHash] } }),
    })
    tell(outcome.kind === 'retry' ? 'retried' : 'committed')
    return receipt.next
  } catch (error) {
    // Another worker has taken over, or the run has ended: nothing was changed, and nothing is ours any more.
    if (!BackendError.is(error, 'CLAIM_LOST') && !BackendError.is(error, 'TERMINAL')) throw error
    tell('lost')
    return null
  }
}
