import type { Abortable, Capabilities, PersistentBackend } from './backend.ts'
import { checkId, checkIdOrNull, checkPayload, checkTtl } from './check.ts'
import {
  checkAbortable,
  checkCancelDetails,
  checkClaimRef,
  checkClaimTaskParams,
  checkClaimTasksParams,
  checkCommitParams,
  checkFindParams,
  checkListFilter,
  checkPruneParams,
  checkSaveOptions,
  checkSignalDetails,
  checkSignalKind,
  checkTaskResultParams,
  checkWaitParams,
} from './check-params.ts'
import { checkSnapshot } from './check-snapshot.ts'
import type { CheckedCalls, Reply } from './checked-calls.ts'
import { Lifecycle } from './lifecycle.ts'
import type { BackendStats, PruneParams, PruneResult } from './maintenance.ts'
import type {
  CancelDetails,
  SendEventOptions,
  SignalDetails,
  SignalKind,
  SignalRequest,
} from './signal-store.ts'
import type { SnapshotSummary, WorkflowSnapshot } from './snapshot.ts'
import type { ListFilter, SaveOptions } from './snapshot-store.ts'
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

/**
 * What all backends have in common: arguments are checked and copied (rules A1–A3), calls refused
 * once it is closed, given up when their signal aborts, and waited for by `close` (rule M2). The
 * parts get what is right, and never see a caller's own object.
 */
export abstract class CheckedBackend implements PersistentBackend {
  abstract readonly name: string
  abstract readonly capabilities: Capabilities
  readonly #maxPayloadBytes: number
  #life: Lifecycle | null = null

  constructor(maxPayloadBytes: number) {
    this.#maxPayloadBytes = maxPayloadBytes
  }

  protected abstract readonly calls: CheckedCalls

  // Made late: `name` is a field of the class that extends this one.
  protected get lifecycle(): Lifecycle {
    this.#life ??= new Lifecycle(this.name)
    return this.#life
  }

  saveSnapshot(snapshot: WorkflowSnapshot, options?: SaveOptions): Promise<WorkflowSnapshot> {
    return promised(() => {
      const { snapshots } = this.calls
      const { takeResult, empty } = snapshots
      const checked = checkSnapshot(snapshot, this.#maxPayloadBytes, takeResult, empty)
      const conditions = checkSaveOptions(options, checked)
      return this.#run(options, () => snapshots.saveSnapshot(checked, conditions))
    })
  }

  async loadSnapshot(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    checkId(instanceId, 'instanceId')
    return this.#run(options, () => this.calls.snapshots.loadSnapshot(instanceId))
  }

  async deleteSnapshot(instanceId: string, options?: Abortable): Promise<void> {
    checkId(instanceId, 'instanceId')
    return this.#run(options, () => this.calls.snapshots.deleteSnapshot(instanceId))
  }

  async *listSnapshots(filter?: ListFilter): AsyncGenerator<SnapshotSummary, void, undefined> {
    const checked = checkListFilter(filter)
    const { lifecycle } = this
    const { signal } = checked
    lifecycle.check(signal)
    if (checked.statuses?.length === 0 || checked.definitionHashes?.length === 0) return
    let left = checked.limit
    const summaries = this.calls.snapshots.listSnapshots(checked, (work) =>
      lifecycle.run(signal, work),
    )
    for await (const summary of summaries) {
      lifecycle.check(signal)
      yield summary
      left -= 1
      if (left === 0) return
    }
    lifecycle.check(signal)
  }

  async saveTaskResult(params: SaveTaskResultParams, options?: Abortable): Promise<void> {
    const checked = checkTaskResultParams(params, this.#maxPayloadBytes)
    return this.#run(options, () => this.calls.results.saveTaskResult(checked))
  }

  async loadTaskResult(
    instanceId: string,
    taskId: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    checkId(instanceId, 'instanceId')
    checkId(taskId, 'taskId')
    return this.#run(options, () => this.calls.results.loadTaskResult(instanceId, taskId))
  }

  async storeSignal(
    instanceId: string,
    kind: SignalKind,
    request?: SignalDetails,
    options?: Abortable,
  ): Promise<void> {
    checkId(instanceId, 'instanceId')
    checkSignalKind(kind)
    const details = checkSignalDetails(request)
    return this.#run(options, () => this.calls.signals.storeSignal(instanceId, kind, details))
  }

  async getSignal(
    instanceId: string,
    kind: SignalKind,
    options?: Abortable,
  ): Promise<SignalRequest | null> {
    checkId(instanceId, 'instanceId')
    checkSignalKind(kind)
    return this.#run(options, () => this.calls.signals.getSignal(instanceId, kind))
  }

  async clearSignal(instanceId: string, kind: SignalKind, options?: Abortable): Promise<void> {
    checkId(instanceId, 'instanceId')
    checkSignalKind(kind)
    return this.#run(options, () => this.calls.signals.clearSignal(instanceId, kind))
  }

  async checkAndCancel(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<boolean> {
    return (await this.#applySignals(instanceId, ['cancel'], details, options)) !== null
  }

  async checkAndPause(instanceId: string, options?: Abortable): Promise<boolean> {
    return (await this.#applySignals(instanceId, ['pause'], undefined, options)) !== null
  }

  async checkControlSignals(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<'cancelled' | 'paused' | null> {
    return this.#applySignals(instanceId, ['cancel', 'pause'], details, options)
  }

  async unpause(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    checkId(instanceId, 'instanceId')
    return this.#run(options, () => this.calls.signals.unpause(instanceId))
  }

  async sendEvent(
    instanceId: string,
    signalName: string,
    payload: Uint8Array,
    options?: SendEventOptions,
  ): Promise<void> {
    checkId(instanceId, 'instanceId')
    checkId(signalName, 'signalName')
    const copy = checkPayload(payload, 'payload', this.#maxPayloadBytes)
    const eventId = checkIdOrNull(options?.eventId, 'eventId')
    const event = { signalName, payload: copy, eventId }
    return this.#run(options, () => this.calls.signals.sendEvent(instanceId, event))
  }

  async consumeEvent(
    instanceId: string,
    signalName: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    checkId(instanceId, 'instanceId')
    checkId(signalName, 'signalName')
    return this.#run(options, () => this.calls.signals.consumeEvent(instanceId, signalName))
  }

  async claimTask(params: ClaimTaskParams, options?: Abortable): Promise<TaskClaim | null> {
    const checked = checkClaimTaskParams(params)
    return this.#run(options, () => this.calls.claims.claimTask(checked))
  }

  async releaseTaskClaim(claim: TaskClaimRef, options?: Abortable): Promise<void> {
    const ref = checkClaimRef(claim)
    return this.#run(options, () => this.calls.claims.releaseTaskClaim(ref))
  }

  async extendTaskClaim(
    claim: TaskClaimRef,
    additionalMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    const ref = checkClaimRef(claim)
    const ms = checkTtl(additionalMs, 'additionalMs')
    return this.#run(options, () => this.calls.claims.prolongTaskClaim(ref, { kind: 'extend', ms }))
  }

  async renewTaskClaim(
    claim: TaskClaimRef,
    ttlMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    const ref = checkClaimRef(claim)
    const ms = checkTtl(ttlMs, 'ttlMs')
    return this.#run(options, () => this.calls.claims.prolongTaskClaim(ref, { kind: 'renew', ms }))
  }

  async findAvailableTasks(params: FindTasksParams, options?: Abortable): Promise<AvailableTask[]> {
    const checked = checkFindParams(params)
    return this.#run(options, () => this.calls.claims.findAvailableTasks(checked))
  }

  claimAvailableTasks(params: ClaimTasksParams, options?: Abortable): Promise<ClaimedTask[]> {
    return promised(() => {
      const checked = checkClaimTasksParams(params)
      return this.#run(options, () => this.calls.claims.claimAvailableTasks(checked))
    })
  }

  commitTask(params: CommitTaskParams, options?: Abortable): Promise<CommitReceipt> {
    return promised(() => {
      const checked = checkCommitParams(params, this.#maxPayloadBytes)
      return this.#run(options, () => this.calls.claims.commitTask(checked))
    })
  }

  async waitForWakeup(
    params: WaitForWakeupParams,
    options?: Abortable,
  ): Promise<TaskWakeup | null> {
    const checked = checkWaitParams(params)
    return this.#run(options, (signal) => this.calls.claims.waitForWakeup(checked, signal))
  }

  async prune(params: PruneParams, options?: Abortable): Promise<PruneResult> {
    const checked = checkPruneParams(params)
    return this.#run(options, (signal) => this.calls.maintenance.prune(checked, signal))
  }

  async stats(options?: Abortable): Promise<BackendStats> {
    return this.#run(options, () => this.calls.maintenance.stats())
  }

  async checkHealth(options?: Abortable): Promise<void> {
    return this.#run(options, () => this.calls.maintenance.checkHealth())
  }

  close(): Promise<void> {
    return this.lifecycle.close(() => this.calls.disconnect())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #applySignals(
    instanceId: string,
    kinds: readonly SignalKind[],
    details: CancelDetails | undefined,
    options: Abortable | undefined,
  ): Promise<'cancelled' | 'paused' | null> {
    checkId(instanceId, 'instanceId')
    const given = checkCancelDetails(details)
    return this.#run(options, () => this.calls.signals.applySignals(instanceId, kinds, given))
  }

  #run<T>(
    options: Abortable | undefined,
    work: (signal: AbortSignal | undefined) => Reply<T>,
  ): Promise<T> {
    const signal = checkAbortable(options)
    return this.lifecycle.run(signal, () => work(signal))
  }
}

/** As an async function, for the calls that are made most: without a promise of its own, and three turns until that is told. */
function promised<T>(call: () => Promise<T>): Promise<T> {
  try {
    return call()
  } catch (error) {
    return Promise.reject(error)
  }
}
