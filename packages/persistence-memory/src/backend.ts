import type {
  Abortable,
  AvailableTask,
  BackendStats,
  CancelDetails,
  Capabilities,
  ClaimedTask,
  ClaimTaskParams,
  ClaimTasksParams,
  CommitReceipt,
  CommitTaskParams,
  FindTasksParams,
  ListFilter,
  PersistentBackend,
  PruneParams,
  PruneResult,
  SaveOptions,
  SaveTaskResultParams,
  SendEventOptions,
  SignalDetails,
  SignalKind,
  SignalRequest,
  SnapshotSummary,
  TaskClaim,
  TaskClaimRef,
  TaskWakeup,
  WaitForWakeupParams,
  WorkflowSnapshot,
} from '@sayiir/persistence-core'
import { Lifecycle } from '@sayiir/persistence-core/adapter'
import { MemoryCommits } from './commit.ts'
import { Dispatch } from './dispatch.ts'
import { DispatchQueue } from './dispatch-queue.ts'
import { MemoryMaintenance } from './maintenance.ts'
import { checkOptions, type InMemoryBackendOptions } from './options.ts'
import { Records } from './records.ts'
import { MemorySignalStore } from './signal-store.ts'
import { MemorySnapshotStore } from './snapshot-store.ts'
import type { StoreContext } from './store-context.ts'
import { MemoryTaskClaimStore } from './task-claim-store.ts'
import { MemoryTaskResultStore } from './task-result-store.ts'
import { Nudges, waitForWakeup } from './wakeup.ts'

/**
 * Every rule of the contract, in the memory of one process: the reference that other backends are
 * compared with, and the double for tests of code that works on a `PersistentBackend`. Nothing
 * survives the process, and no other process sees it.
 *
 * @throws (the constructor) `TypeError`/`RangeError` for a wrong option.
 *
 * @example
 * ```ts
 * import { createSnapshot } from '@sayiir/persistence-core'
 * import { InMemoryBackend } from '@sayiir/persistence-memory'
 *
 * let now = Date.parse('2030-01-01')
 * await using backend = new InMemoryBackend({ now: () => now })
 * await backend.saveSnapshot(
 *   createSnapshot({
 *     instanceId: 'order-1',
 *     definitionHash: 'checkout-v1',
 *     position: { kind: 'at-task', taskId: 'charge' },
 *   }),
 * )
 * await backend.claimAvailableTasks({ workerId: 'w1', limit: 1, ttlMs: 30_000 })
 *
 * // A worker that died: half a minute later the task is another's.
 * now += 30_000
 * backend.clockMoved()
 * await backend.claimAvailableTasks({ workerId: 'w2', limit: 1, ttlMs: 30_000 })
 * ```
 */
export class InMemoryBackend implements PersistentBackend {
  readonly name = 'memory'
  readonly capabilities: Capabilities = {
    durable: false,
    shared: false,
    wakeups: 'push',
    clock: 'store',
    order: 'global',
  }
  readonly #nudges = new Nudges()
  readonly #context: StoreContext
  readonly #snapshots: MemorySnapshotStore
  readonly #results: MemoryTaskResultStore
  readonly #signals: MemorySignalStore
  readonly #claims: MemoryTaskClaimStore
  readonly #commits: MemoryCommits
  readonly #maintenance: MemoryMaintenance

  constructor(options?: InMemoryBackendOptions) {
    const { agingIntervalMs, maxPayloadBytes, now } = checkOptions(options)
    const queue = new DispatchQueue(agingIntervalMs, () => this.#nudges.nudge())
    const records = new Records(queue)
    const dispatch = new Dispatch(records, queue)
    const lifecycle = new Lifecycle(this.name)
    this.#context = { records, dispatch, lifecycle, maxPayloadBytes, now }
    this.#snapshots = new MemorySnapshotStore(this.#context)
    this.#results = new MemoryTaskResultStore(this.#context)
    this.#signals = new MemorySignalStore(this.#context)
    this.#claims = new MemoryTaskClaimStore(this.#context)
    this.#commits = new MemoryCommits(this.#context)
    this.#maintenance = new MemoryMaintenance(this.#context)
  }

  /**
   * Tells those who wait in `waitForWakeup` that the clock given as `now` was moved: they look again
   * at once. All other calls read the clock anyway. A wait's own `timeoutMs` is real time, because
   * it is the caller who waits.
   */
  clockMoved(): void {
    this.#nudges.nudge()
  }

  saveSnapshot(snapshot: WorkflowSnapshot, options?: SaveOptions): Promise<WorkflowSnapshot> {
    return this.#snapshots.saveSnapshot(snapshot, options)
  }
  loadSnapshot(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    return this.#snapshots.loadSnapshot(instanceId, options)
  }
  deleteSnapshot(instanceId: string, options?: Abortable): Promise<void> {
    return this.#snapshots.deleteSnapshot(instanceId, options)
  }
  listSnapshots(filter?: ListFilter): AsyncIterable<SnapshotSummary> {
    return this.#snapshots.listSnapshots(filter)
  }

  saveTaskResult(params: SaveTaskResultParams, options?: Abortable): Promise<void> {
    return this.#results.saveTaskResult(params, options)
  }
  loadTaskResult(id: string, taskId: string, options?: Abortable): Promise<Uint8Array | null> {
    return this.#results.loadTaskResult(id, taskId, options)
  }

  storeSignal(
    instanceId: string,
    kind: SignalKind,
    request?: SignalDetails,
    options?: Abortable,
  ): Promise<void> {
    return this.#signals.storeSignal(instanceId, kind, request, options)
  }
  getSignal(id: string, kind: SignalKind, options?: Abortable): Promise<SignalRequest | null> {
    return this.#signals.getSignal(id, kind, options)
  }
  clearSignal(instanceId: string, kind: SignalKind, options?: Abortable): Promise<void> {
    return this.#signals.clearSignal(instanceId, kind, options)
  }
  checkAndCancel(id: string, details?: CancelDetails, options?: Abortable): Promise<boolean> {
    return this.#signals.checkAndCancel(id, details, options)
  }
  checkAndPause(instanceId: string, options?: Abortable): Promise<boolean> {
    return this.#signals.checkAndPause(instanceId, options)
  }
  checkControlSignals(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<'cancelled' | 'paused' | null> {
    return this.#signals.checkControlSignals(instanceId, details, options)
  }
  unpause(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    return this.#signals.unpause(instanceId, options)
  }
  sendEvent(
    instanceId: string,
    signalName: string,
    payload: Uint8Array,
    options?: SendEventOptions,
  ): Promise<void> {
    return this.#signals.sendEvent(instanceId, signalName, payload, options)
  }
  consumeEvent(id: string, signalName: string, options?: Abortable): Promise<Uint8Array | null> {
    return this.#signals.consumeEvent(id, signalName, options)
  }

  claimTask(params: ClaimTaskParams, options?: Abortable): Promise<TaskClaim | null> {
    return this.#claims.claimTask(params, options)
  }
  releaseTaskClaim(claim: TaskClaimRef, options?: Abortable): Promise<void> {
    return this.#claims.releaseTaskClaim(claim, options)
  }
  extendTaskClaim(claim: TaskClaimRef, ms: number, options?: Abortable): Promise<TaskClaim> {
    return this.#claims.extendTaskClaim(claim, ms, options)
  }
  renewTaskClaim(claim: TaskClaimRef, ttlMs: number, options?: Abortable): Promise<TaskClaim> {
    return this.#claims.renewTaskClaim(claim, ttlMs, options)
  }
  findAvailableTasks(params: FindTasksParams, options?: Abortable): Promise<AvailableTask[]> {
    return this.#claims.findAvailableTasks(params, options)
  }
  claimAvailableTasks(params: ClaimTasksParams, options?: Abortable): Promise<ClaimedTask[]> {
    return this.#claims.claimAvailableTasks(params, options)
  }
  commitTask(params: CommitTaskParams, options?: Abortable): Promise<CommitReceipt> {
    return this.#commits.commitTask(params, options)
  }
  waitForWakeup(params: WaitForWakeupParams, options?: Abortable): Promise<TaskWakeup | null> {
    return waitForWakeup(this.#context, this.#nudges, params, options)
  }

  prune(params: PruneParams, options?: Abortable): Promise<PruneResult> {
    return this.#maintenance.prune(params, options)
  }
  stats(options?: Abortable): Promise<BackendStats> {
    return this.#maintenance.stats(options)
  }
  checkHealth(options?: Abortable): Promise<void> {
    return this.#maintenance.checkHealth(options)
  }

  close(): Promise<void> {
    const { lifecycle, records } = this.#context
    return lifecycle.close(() => records.clear())
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
