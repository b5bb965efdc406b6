import type { Abortable } from './backend.ts'
import type { TaskClaimRef } from './task-claim-store.ts'

/** What `saveTaskResult` stores. */
export interface SaveTaskResultParams {
  readonly instanceId: string
  readonly taskId: string
  readonly output: Uint8Array
  /** Lands only while this claim is held, else `CLAIM_LOST`. */
  readonly claim?: TaskClaimRef
}

/** Single outputs, without loading or saving the whole. Rule S10. */
export interface TaskResultStore {
  /**
   * Stores one output and makes its task the last completed one. What is runnable does not change:
   * the position decides that.
   *
   * @throws `PAYLOAD_TOO_LARGE`, `NOT_FOUND`, `TERMINAL`, `CLAIM_LOST`.
   */
  saveTaskResult(params: SaveTaskResultParams, options?: Abortable): Promise<void>
  /**
   * One output, or null if that task has none. Readable after the instance has ended, until it is
   * deleted or pruned.
   *
   * @throws `NOT_FOUND` for an unknown instance.
   */
  loadTaskResult(
    instanceId: string,
    taskId: string,
    options?: Abortable,
  ): Promise<Uint8Array | null>
}
