import type { Abortable } from './backend.ts'
import type { Branches, NextPendingTask, NextPosition } from './position.ts'
import type { InstanceStatus, SnapshotHead, TaskDeadline } from './snapshot.ts'

/** Names a claim. Without a token the worker id alone must match. */
export interface TaskClaimRef {
  readonly instanceId: string
  readonly taskId: string
  readonly workerId: string
  readonly token?: number
}

/** A worker's exclusive, expiring right to execute one task of one instance. */
export interface TaskClaim extends TaskClaimRef {
  /** Fencing token: grows strictly for a given instance and task, for ever (rule C3). */
  readonly token: number
  /** Epoch milliseconds by the store's clock. */
  readonly claimedAt: number
  /** Epoch milliseconds by the store's clock; null never expires. */
  readonly expiresAt: number | null
}

/** Which task to claim, for whom, and for how long. */
export interface ClaimTaskParams {
  readonly instanceId: string
  readonly taskId: string
  readonly workerId: string
  /**
   * Milliseconds, more than 0; null never expires. Rather give some, and renew them with `holdClaim`:
   * then a task whose worker died, or never got the reply, comes back by itself. What is claimed with
   * null stays claimed, whatever becomes of its worker, until somebody releases it under the same
   * `workerId` (a reference without a `token` will do), the position moves, or the instance ends or
   * is deleted. So a worker that claims so must have a `workerId` of its own that outlives a restart,
   * and after a claim that was not answered (`UNAVAILABLE`, aborted, a crash) release that task.
   */
  readonly ttlMs: number | null
}

/** What a worker serves. */
export interface WorkerFilter {
  /** The worker's tags: it gets untagged tasks and those whose tags are all among these. Left out: all; `[]`: untagged ones only. */
  readonly tags?: readonly string[]
  /** Only tasks of these definitions. Left out: all; `[]`: none. */
  readonly definitionHashes?: readonly string[]
}

/** Parameters of `findAvailableTasks`. */
export interface FindTasksParams extends WorkerFilter {
  readonly workerId: string
  /** 1 to 1,000. */
  readonly limit: number
}

/** Parameters of `claimAvailableTasks`. */
export interface ClaimTasksParams extends FindTasksParams {
  /**
   * Milliseconds, more than 0; null never expires, as for {@link ClaimTaskParams.ttlMs}. Give null
   * here only where no reply can be lost: nothing tells which tasks those were.
   */
  readonly ttlMs: number | null
}

/** A task that may run now, with what a worker needs to execute it without loading. */
export interface AvailableTask {
  readonly instanceId: string
  readonly taskId: string
  readonly definitionHash: string
  /**
   * The output of the task before it on its path; for the first one the initial input (0 bytes
   * without one); after a signal its payload; for a join 0 bytes.
   */
  readonly input: Uint8Array
  /** For a join: each finished branch's last result. Else empty. */
  readonly branches: Branches
  /** 1 (most urgent) to 5. */
  readonly priority: number
  readonly tags: readonly string[]
  /** 1 for the first run; only a `retry` raises it. */
  readonly attempt: number
  /** How often it has been claimed since it became runnable here: a task that kills its workers shows here. */
  readonly deliveries: number
  /** When it last became due at this position; epoch milliseconds by the store's clock. */
  readonly availableSince: number
  readonly traceParent: string | null
}

/** A task found and claimed in one step. */
export interface ClaimedTask {
  readonly task: AvailableTask
  readonly claim: TaskClaim
  /** Enough to compute the next position. */
  readonly head: SnapshotHead
}

/** What follows a completed task. */
export type Next =
  | {
      readonly position: NextPosition
      /** Of the next task; left out: 3. */
      readonly priority?: number | null
      /** Of the next task; left out: none. */
      readonly tags?: readonly string[]
      /** Left out: none. */
      readonly deadline?: TaskDeadline | null
    }
  /** Inside a fork: what follows on this branch, its input being this output, or null: the branch is finished. */
  | { readonly branch: NextPendingTask | null }
  | { readonly finalOutput: Uint8Array }

/** How a task ended. */
export type TaskOutcome =
  | { readonly kind: 'completed'; readonly output: Uint8Array; readonly next: Next }
  | {
      readonly kind: 'retry'
      readonly error: string
      /** Milliseconds, 0 or more, until it is available again. */
      readonly delayMs: number
      /** Runs in all, 1 or more: when it has run so often, the instance fails with `error`. Left out: no bound. */
      readonly maxAttempts?: number
    }
  | { readonly kind: 'failed'; readonly error: string }

/** What to claim in the same step as a commit. */
export interface ClaimNext extends WorkerFilter {
  /**
   * Milliseconds, more than 0; null never expires, as for {@link ClaimTaskParams.ttlMs}. Whose reply
   * was lost repeats the commit, and gets the same task.
   */
  readonly ttlMs: number | null
}

/** Parameters of `commitTask`. */
export interface CommitTaskParams {
  readonly claim: TaskClaimRef
  readonly outcome: TaskOutcome
  /** Claims for the same worker the following task of this instance if it is available to it, else the best of any. */
  readonly claimNext?: ClaimNext
}

/** What a commit did. */
export interface CommitReceipt {
  /** The instance's revision after it. */
  readonly revision: number
  /** The instance's status after it, a pending signal applied. */
  readonly status: InstanceStatus
  /** The task claimed with `claimNext`, or null. */
  readonly next: ClaimedTask | null
}

/** A hint that something became available; where a store can't tell what, the fields are missing. */
export interface TaskWakeup {
  readonly instanceId?: string
  readonly taskId?: string
  readonly definitionHash?: string
}

/** Parameters of `waitForWakeup`. */
export interface WaitForWakeupParams extends WorkerFilter {
  /** Milliseconds, 0 or more. */
  readonly timeoutMs: number
}

/** Hands out tasks to workers. Rules C1–C7, D1–D10 and F1–F3. */
export interface TaskClaimStore {
  /**
   * Claims one task. Of any number of racing claims exactly one wins.
   *
   * @returns the claim, or null if the task is held, not runnable, not yet due, or its instance is
   * not in progress or has a pending control signal.
   * @throws `NOT_FOUND` for an unknown instance.
   */
  claimTask(params: ClaimTaskParams, options?: Abortable): Promise<TaskClaim | null>
  /**
   * Gives a claim up. No error if nobody holds the task or the instance has ended.
   *
   * @throws `NOT_FOUND`; `CLAIM_LOST` if somebody else holds it.
   */
  releaseTaskClaim(claim: TaskClaimRef, options?: Abortable): Promise<void>
  /**
   * Makes a claim expire `additionalMs` later (counted from now if it has expired).
   *
   * @throws `NOT_FOUND`, `TERMINAL`, `CLAIM_LOST`.
   */
  extendTaskClaim(
    claim: TaskClaimRef,
    additionalMs: number,
    options?: Abortable,
  ): Promise<TaskClaim>
  /**
   * The heartbeat: makes a claim expire `ttlMs` from now. `holdClaim` does it for you.
   *
   * @throws `NOT_FOUND`, `TERMINAL`, `CLAIM_LOST`.
   */
  renewTaskClaim(claim: TaskClaimRef, ttlMs: number, options?: Abortable): Promise<TaskClaim>
  /** The available tasks that this worker may take, best first (rules D2–D4), unclaimed. */
  findAvailableTasks(params: FindTasksParams, options?: Abortable): Promise<AvailableTask[]>
  /**
   * Finds and claims in one atomic step and one round trip: never the same task to two callers.
   *
   * @example
   * ```ts
   * import { type PersistentBackend } from '@sayiir/persistence-core'
   *
   * async function workOnce(backend: PersistentBackend): Promise<void> {
   *   const claimed = await backend.claimAvailableTasks({ workerId: 'w1', limit: 50, ttlMs: 30_000 })
   *   await Promise.all(
   *     claimed.map(({ task, claim }) =>
   *       backend.commitTask({
   *         claim,
   *         outcome: { kind: 'completed', output: task.input, next: { finalOutput: task.input } },
   *       }),
   *     ),
   *   )
   * }
   * ```
   */
  claimAvailableTasks(params: ClaimTasksParams, options?: Abortable): Promise<ClaimedTask[]>
  /**
   * Ends a task in one atomic step: checks the claim, stores the output, moves the position,
   * releases the claim and, with `claimNext`, claims the next task. Repeating a commit returns the
   * first receipt and changes nothing.
   *
   * @throws `TypeError`/`RangeError`, `PAYLOAD_TOO_LARGE`, `NOT_FOUND`, `TERMINAL`, `CLAIM_LOST`.
   */
  commitTask(params: CommitTaskParams, options?: Abortable): Promise<CommitReceipt>
  /**
   * Resolves soon after a task became available to such a worker, at once if one is already, and
   * with null at the timeout. A hint: another worker may take the task first. Waiting does not keep
   * a process alive: a worker that has nothing else open (a server, a channel to its parent) ends.
   */
  waitForWakeup(params: WaitForWakeupParams, options?: Abortable): Promise<TaskWakeup | null>
}
