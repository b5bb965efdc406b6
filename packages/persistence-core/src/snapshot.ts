import type { Position, TaskResult } from './position.ts'

/** Every status that an instance can have. */
export type InstanceStatus = WorkflowState['status']

/** The statuses from which nothing changes any more (rule S4). */
export type EndedStatus = 'completed' | 'failed' | 'cancelled'

/** Every {@link EndedStatus}, in the order in which they are always listed. */
export const ENDED_STATUSES: readonly EndedStatus[] = ['completed', 'failed', 'cancelled']

/** Outputs by task id, in order of completion; a task completed again is replaced and moves to the end. */
export type CompletedTasks = ReadonlyMap<string, TaskResult>

/** What an instance is doing, or how it ended. `Results` is what a {@link SnapshotHead} leaves out. */
export type StateOf<Results> =
  | ({
      readonly status: 'in-progress'
      readonly position: Position
      /** The task whose output is the newest, or null while there is none. */
      readonly lastCompletedTaskId: string | null
    } & Results)
  | ({ readonly status: 'completed'; readonly finalOutput: Uint8Array } & Results)
  | ({ readonly status: 'failed'; readonly error: string } & Results)
  | ({
      readonly status: 'cancelled'
      readonly reason: string | null
      readonly cancelledBy: string | null
      /** Epoch milliseconds by the store's clock. */
      readonly cancelledAt: number
      readonly interruptedAtTask: string | null
    } & Results)
  | ({
      readonly status: 'paused'
      readonly reason: string | null
      readonly pausedBy: string | null
      /** Epoch milliseconds by the store's clock. */
      readonly pausedAt: number
      /** Where `unpause` goes on, exactly (rule G3). */
      readonly position: Position
      readonly lastCompletedTaskId: string | null
    } & Results)

/** The state of a whole snapshot, with every output. */
export type WorkflowState = StateOf<{ readonly completedTasks: CompletedTasks }>

/** The state of a head: no outputs of completed tasks. */
export type HeadState = StateOf<{ readonly completedTasks?: never }>

/** A deadline that an engine keeps with the current task; stored, never judged, by the store. */
export interface TaskDeadline {
  readonly taskId: string
  /** Epoch milliseconds. */
  readonly deadlineAt: number
  /** Milliseconds. */
  readonly timeoutMs: number
}

/** An engine's retry policy, kept beside a task's retry state so that it moves with the instance. */
export interface RetryPolicy {
  /** Whole number, 0 or more. */
  readonly maxRetries: number
  /** Milliseconds before the first retry. */
  readonly initialDelayMs: number
  readonly backoffMultiplier: number
  /** Milliseconds at most between two tries, or null for no bound. */
  readonly maxDelayMs: number | null
}

/** How often a task has failed, and when it may run again. */
export interface TaskRetry {
  /** Runs that failed so far, 1 or more. */
  readonly attempts: number
  readonly lastError: string
  /** Who failed it last: for this worker the retry comes after all other work (rule D4). */
  readonly lastFailedWorker: string | null
  /** Epoch milliseconds by the store's clock. */
  readonly nextRetryAt: number
  readonly policy?: RetryPolicy
}

interface SnapshotOf<State> {
  readonly instanceId: string
  readonly definitionHash: string
  /** 0 until first stored, one more with every stored change. */
  readonly revision: number
  /** Epoch milliseconds: the store's at the first save, kept after. */
  readonly createdAt: number
  /** Epoch milliseconds: the store's at the last change. */
  readonly updatedAt: number
  readonly initialInput: Uint8Array | null
  readonly state: State
  /** Of the current task: 1 (most urgent) to 5; null means 3. */
  readonly priority: number | null
  /** Of the current task: a worker with tags takes it only if it has all of these (rule D3). */
  readonly tags: readonly string[]
  readonly deadline: TaskDeadline | null
  /** By task id. */
  readonly retries: ReadonlyMap<string, TaskRetry>
  /** By loop id. */
  readonly loopIterations: ReadonlyMap<string, number>
  /** W3C traceparent. */
  readonly traceParent: string | null
}

/**
 * The complete state of one instance: which tasks have completed, their outputs, the current
 * position, the initial input. A plain readonly object: change it with the transitions
 * (`completeTask`, `moveTo`, …), which return a new one, and never write into its arrays.
 *
 * @example
 * ```ts
 * import { createSnapshot } from '@sayiir/persistence-core'
 *
 * const snapshot = createSnapshot({
 *   instanceId: 'order-1',
 *   definitionHash: 'checkout-v1',
 *   initialInput: new TextEncoder().encode('{"total":12}'),
 *   position: { kind: 'at-task', taskId: 'charge' },
 * })
 * ```
 */
export interface WorkflowSnapshot extends SnapshotOf<WorkflowState> {}

/**
 * A snapshot without the outputs of its completed tasks: small, and enough to compute the next
 * position. `saveSnapshot` refuses it, because saving it would drop those outputs.
 */
export interface SnapshotHead extends SnapshotOf<HeadState> {}

/** What a transition accepts: it keeps the outputs where there are any. */
export type AnySnapshot = WorkflowSnapshot | SnapshotHead

/** A line of a listing. */
export interface SnapshotSummary {
  readonly instanceId: string
  readonly definitionHash: string
  readonly status: InstanceStatus
  readonly revision: number
  /** Epoch milliseconds. */
  readonly createdAt: number
  /** Epoch milliseconds. */
  readonly updatedAt: number
}

/** The snapshot without its completed tasks' outputs. */
export function toHead(snapshot: AnySnapshot): SnapshotHead {
  const { completedTasks: _, ...state } = snapshot.state
  return { ...snapshot, state } as SnapshotHead
}

/** The head with its outputs joined on. */
export function withCompletedTasks(
  head: SnapshotHead,
  completedTasks: CompletedTasks,
): WorkflowSnapshot {
  return { ...head, state: { ...head.state, completedTasks } } as WorkflowSnapshot
}

/** Whether nothing may change this instance any more. */
export function isEnded(status: InstanceStatus): status is EndedStatus {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

/** Where the instance stands, or null when it has ended. */
export function positionOf(snapshot: AnySnapshot): Position | null {
  const { state } = snapshot
  return state.status === 'in-progress' || state.status === 'paused' ? state.position : null
}
