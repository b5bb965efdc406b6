import type { CheckedListFilter, CheckedSaveOptions } from './check-params.ts'
import type { TakeResult } from './check-snapshot.ts'
import type { Prolongation } from './dispatch.ts'
import type { BackendStats, PruneParams, PruneResult } from './maintenance.ts'
import type { CancelDetails, SignalDetails, SignalKind, SignalRequest } from './signal-store.ts'
import type { SnapshotSummary, WorkflowSnapshot } from './snapshot.ts'
import type {
  AvailableTask,
  ClaimedTask,
  ClaimTaskParams,
  ClaimTasksParams,
  CommitReceipt,
  CommitTaskParams,
  FindTasksParams,
  TaskClaim,
  TaskClaimRef,
  TaskWakeup,
  WaitForWakeupParams,
} from './task-claim-store.ts'
import type { SaveTaskResultParams } from './task-result-store.ts'

/** A reply, at once or later. */
export type Reply<T> = T | Promise<T>

/**
 * Runs a step of a call that goes on for long: refused once the backend is closed or the caller has
 * given up, and waited for by `close`.
 */
export type RunStep = <T>(work: () => Reply<T>) => Promise<T>

/** `SnapshotStore`, once its calls are checked. */
export interface SnapshotCalls {
  /** How results of a snapshot that is saved are checked and copied, where that is not as ever. */
  readonly takeResult?: TakeResult
  /**
   * What stands for every map of a snapshot that has nothing in it, where none that is saved is handed
   * out again without being copied.
   */
  readonly empty?: ReadonlyMap<string, never>
  saveSnapshot(snapshot: WorkflowSnapshot, conditions: CheckedSaveOptions): Reply<WorkflowSnapshot>
  loadSnapshot(instanceId: string): Reply<WorkflowSnapshot>
  deleteSnapshot(instanceId: string): Reply<void>
  /** What the filter lets through, in order; `limit` and giving up are seen to by whoever asks. */
  listSnapshots(filter: CheckedListFilter, run: RunStep): AsyncIterable<SnapshotSummary>
}

/** `TaskResultStore`, once its calls are checked. */
export interface TaskResultCalls {
  saveTaskResult(params: SaveTaskResultParams): Reply<void>
  loadTaskResult(instanceId: string, taskId: string): Reply<Uint8Array | null>
}

/** An event that was sent, with its payload copied. */
export interface SentEvent {
  readonly signalName: string
  readonly payload: Uint8Array
  /** Null: it was sent without one. */
  readonly eventId: string | null
}

/** `SignalStore`, once its calls are checked. */
export interface SignalCalls {
  storeSignal(instanceId: string, kind: SignalKind, details: Required<SignalDetails>): Reply<void>
  getSignal(instanceId: string, kind: SignalKind): Reply<SignalRequest | null>
  clearSignal(instanceId: string, kind: SignalKind): Reply<void>
  /**
   * Applies what is pending of these kinds, a cancel before a pause; a pending cancel holds a pause
   * back even where only pauses are asked for (rule G1).
   */
  applySignals(
    instanceId: string,
    kinds: readonly SignalKind[],
    details: Required<CancelDetails>,
  ): Reply<'cancelled' | 'paused' | null>
  unpause(instanceId: string): Reply<WorkflowSnapshot>
  sendEvent(instanceId: string, event: SentEvent): Reply<void>
  consumeEvent(instanceId: string, signalName: string): Reply<Uint8Array | null>
}

/** `TaskClaimStore`, once its calls are checked. */
export interface TaskClaimCalls {
  claimTask(params: ClaimTaskParams): Reply<TaskClaim | null>
  releaseTaskClaim(ref: TaskClaimRef): Reply<void>
  prolongTaskClaim(ref: TaskClaimRef, prolongation: Prolongation): Reply<TaskClaim>
  findAvailableTasks(params: FindTasksParams): Reply<AvailableTask[]>
  claimAvailableTasks(params: ClaimTasksParams): Reply<ClaimedTask[]>
  commitTask(params: CommitTaskParams): Reply<CommitReceipt>
  waitForWakeup(
    params: WaitForWakeupParams,
    signal: AbortSignal | undefined,
  ): Promise<TaskWakeup | null>
}

/** `Maintenance`, once its calls are checked. */
export interface MaintenanceCalls {
  /** Gives up between two steps when `signal` aborts. */
  prune(params: Required<PruneParams>, signal: AbortSignal | undefined): Reply<PruneResult>
  stats(): Reply<BackendStats>
  checkHealth(): Reply<void>
}

/** The parts of a backend that a {@link CheckedBackend} hands its calls to. */
export interface CheckedCalls {
  readonly snapshots: SnapshotCalls
  readonly results: TaskResultCalls
  readonly signals: SignalCalls
  readonly claims: TaskClaimCalls
  readonly maintenance: MaintenanceCalls
  /** Called once, when nothing runs any more. */
  disconnect(): Reply<void>
}
