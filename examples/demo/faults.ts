import { once } from 'node:events'
import { BackendError, type PersistentBackend } from '@sayiir/persistence-core'
import type { WorkerEvent } from './worker-loop.ts'
import type { Worker } from './workers.ts'

/** A worker that was stopped while it held a task. */
export interface StoppedInTask {
  readonly worker: Worker
  readonly instanceId: string
  readonly taskId: string
}

/**
 * Freezes a worker in mid-task (SIGSTOP): a task that it reports as begun and that has no result
 * once the worker stands still. Tries again with its next task until that is so.
 *
 * @param nextStart Resolves with the next task that this worker begins.
 */
export async function freezeInTask(
  backend: PersistentBackend,
  worker: Worker,
  nextStart: () => Promise<WorkerEvent>,
): Promise<StoppedInTask> {
  for (;;) {
    const { instanceId, taskId } = await nextStart()
    worker.process?.kill('SIGSTOP')
    if (await isHeld(backend, instanceId, taskId)) return { worker, instanceId, taskId }
    worker.process?.kill('SIGCONT')
  }
}

async function isHeld(
  backend: PersistentBackend,
  instanceId: string,
  taskId: string,
): Promise<boolean> {
  // A retried task has no result either way, so it would prove nothing.
  if (taskId === 'publish') return false
  try {
    // Also a write, which a worker that stands still in the middle of its own would hold up.
    const signal = AbortSignal.timeout(500)
    const claim = await backend.claimTask(
      { instanceId, taskId, workerId: 'demo', ttlMs: 1 },
      { signal },
    )
    if (claim !== null) await backend.releaseTaskClaim(claim)
    return claim === null && (await backend.loadTaskResult(instanceId, taskId)) === null
  } catch (error) {
    if (BackendError.is(error)) throw error
    return false
  }
}

/** Ends a worker as a crash would: no chance to clean up. */
export async function kill(worker: Worker): Promise<void> {
  if (worker.process === null) return
  worker.process.kill('SIGKILL')
  if (worker.process.exitCode === null && worker.process.signalCode === null)
    await once(worker.process, 'exit')
}

/** Lets a frozen worker go on, unaware of the time that has passed. */
export function thaw(worker: Worker): void {
  worker.process?.kill('SIGCONT')
}
