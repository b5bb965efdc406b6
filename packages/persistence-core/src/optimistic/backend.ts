import type { Abortable, BackendOptions, Capabilities, PersistentBackend } from '../backend.ts'
import { checkBackendOptions } from '../check.ts'
import { checkAbortable, checkPruneParams } from '../check-params.ts'
import type { BackendStats, PruneParams, PruneResult } from '../maintenance.ts'
import type {
  CancelDetails,
  SendEventOptions,
  SignalDetails,
  SignalKind,
  SignalRequest,
} from '../signal-store.ts'
import type { SnapshotSummary, WorkflowSnapshot } from '../snapshot.ts'
import type { ListFilter, SaveOptions } from '../snapshot-store.ts'
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
} from '../task-claim-store.ts'
import type { SaveTaskResultParams } from '../task-result-store.ts'
import { Session, type SessionOptions } from './session.ts'
import { OptimisticSignalStore } from './signal-store.ts'
import { OptimisticSnapshotStore } from './snapshot-store.ts'
import type { OptimisticStore } from './store.ts'
import { OptimisticTaskClaimStore } from './task-claim-store.ts'
import { OptimisticTaskResultStore } from './task-result-store.ts'

/**
 * A whole backend on a store that keeps each instance in parts and can change it with a
 * compare-and-set: what a change comes to is worked out in this process by core's rules, and the
 * store writes it in one round trip, or refuses. An instance that a worker has claimed is known
 * here, so that its commit needs no read.
 *
 * What a store has to do stands at {@link OptimisticStore}; for one that is to be simple rather than
 * fast, see `BaseBackend`.
 */
export abstract class OptimisticBackend implements PersistentBackend {
  abstract readonly name: string
  abstract readonly capabilities: Capabilities
  readonly #options: SessionOptions
  #made: Parts | null = null

  constructor(options: BackendOptions = {}) {
    this.#options = checkBackendOptions(options)
  }

  protected abstract readonly store: OptimisticStore

  // Made late: `name` and `store` are fields of the class that extends this one.
  get #parts(): Parts {
    this.#made ??= partsOf(new Session(this.store, this.name, this.#options))
    return this.#made
  }

  saveSnapshot(snapshot: WorkflowSnapshot, options?: SaveOptions): Promise<WorkflowSnapshot> {
    return this.#parts.snapshots.saveSnapshot(snapshot, options)
  }

  loadSnapshot(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    return this.#parts.snapshots.loadSnapshot(instanceId, options)
  }

  deleteSnapshot(instanceId: string, options?: Abortable): Promise<void> {
    return this.#parts.snapshots.deleteSnapshot(instanceId, options)
  }

  listSnapshots(filter?: ListFilter): AsyncIterable<SnapshotSummary> {
    return this.#parts.snapshots.listSnapshots(filter)
  }

  saveTaskResult(params: SaveTaskResultParams, options?: Abortable): Promise<void> {
    return this.#parts.results.saveTaskResult(params, options)
  }

  loadTaskResult(
    instanceId: string,
    taskId: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    return this.#parts.results.loadTaskResult(instanceId, taskId, options)
  }

  storeSignal(
    instanceId: string,
    kind: SignalKind,
    request?: SignalDetails,
    options?: Abortable,
  ): Promise<void> {
    return this.#parts.signals.storeSignal(instanceId, kind, request, options)
  }

  getSignal(
    instanceId: string,
    kind: SignalKind,
    options?: Abortable,
  ): Promise<SignalRequest | null> {
    return this.#parts.signals.getSignal(instanceId, kind, options)
  }

  clearSignal(instanceId: string, kind: SignalKind, options?: Abortable): Promise<void> {
    return this.#parts.signals.clearSignal(instanceId, kind, options)
  }

  checkAndCancel(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<boolean> {
    return this.#parts.signals.checkAndCancel(instanceId, details, options)
  }

  checkAndPause(instanceId: string, options?: Abortable): Promise<boolean> {
    return this.#parts.signals.checkAndPause(instanceId, options)
  }

  checkControlSignals(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<'cancelled' | 'paused' | null> {
    return this.#parts.signals.checkControlSignals(instanceId, details, options)
  }

  unpause(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    return this.#parts.signals.unpause(instanceId, options)
  }

  sendEvent(
    instanceId: string,
    signalName: string,
    payload: Uint8Array,
    options?: SendEventOptions,
  ): Promise<void> {
    return this.#parts.signals.sendEvent(instanceId, signalName, payload, options)
  }

  consumeEvent(
    instanceId: string,
    signalName: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    return this.#parts.signals.consumeEvent(instanceId, signalName, options)
  }

  claimTask(params: ClaimTaskParams, options?: Abortable): Promise<TaskClaim | null> {
    return this.#parts.claims.claimTask(params, options)
  }

  releaseTaskClaim(claim: TaskClaimRef, options?: Abortable): Promise<void> {
    return this.#parts.claims.releaseTaskClaim(claim, options)
  }

  extendTaskClaim(
    claim: TaskClaimRef,
    additionalMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    return this.#parts.claims.extendTaskClaim(claim, additionalMs, options)
  }

  renewTaskClaim(claim: TaskClaimRef, ttlMs: number, options?: Abortable): Promise<TaskClaim> {
    return this.#parts.claims.renewTaskClaim(claim, ttlMs, options)
  }

  findAvailableTasks(params: FindTasksParams, options?: Abortable): Promise<AvailableTask[]> {
    return this.#parts.claims.findAvailableTasks(params, options)
  }

  claimAvailableTasks(params: ClaimTasksParams, options?: Abortable): Promise<ClaimedTask[]> {
    return this.#parts.claims.claimAvailableTasks(params, options)
  }

  commitTask(params: CommitTaskParams, options?: Abortable): Promise<CommitReceipt> {
    return this.#parts.claims.commitTask(params, options)
  }

  waitForWakeup(params: WaitForWakeupParams, options?: Abortable): Promise<TaskWakeup | null> {
    return this.#parts.claims.waitForWakeup(params, options)
  }

  async prune(params: PruneParams, options?: Abortable): Promise<PruneResult> {
    const checked = checkPruneParams(params)
    const signal = checkAbortable(options)
    const { lifecycle, store } = this.#parts.session
    return lifecycle.run(signal, () => store.prune(checked, signal))
  }

  async stats(options?: Abortable): Promise<BackendStats> {
    const { lifecycle, store } = this.#parts.session
    return lifecycle.run(checkAbortable(options), () => store.stats())
  }

  async checkHealth(options?: Abortable): Promise<void> {
    const { lifecycle, store } = this.#parts.session
    return lifecycle.run(checkAbortable(options), () => store.checkHealth())
  }

  close(): Promise<void> {
    const { lifecycle, store } = this.#parts.session
    return lifecycle.close(() => store.disconnect())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

interface Parts {
  readonly session: Session
  readonly snapshots: OptimisticSnapshotStore
  readonly results: OptimisticTaskResultStore
  readonly signals: OptimisticSignalStore
  readonly claims: OptimisticTaskClaimStore
}

function partsOf(session: Session): Parts {
  return {
    session,
    snapshots: new OptimisticSnapshotStore(session),
    results: new OptimisticTaskResultStore(session),
    signals: new OptimisticSignalStore(session),
    claims: new OptimisticTaskClaimStore(session),
  }
}
