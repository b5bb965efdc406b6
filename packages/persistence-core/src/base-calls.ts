import { commitAndClaim } from './base-commit.ts'
import {
  candidates,
  claimBest,
  nextDueAt,
  readable,
  scan,
  scanReadable,
  toTask,
} from './base-dispatch.ts'
import type { CheckedListFilter, CheckedSaveOptions } from './check-params.ts'
import type {
  CheckedCalls,
  MaintenanceCalls,
  SentEvent,
  SignalCalls,
  SnapshotCalls,
  TaskClaimCalls,
  TaskResultCalls,
} from './checked-calls.ts'
import { compareIds } from './compare-ids.ts'
import { isLive, type Prolongation } from './dispatch.ts'
import { BackendError, notFound, terminal } from './errors.ts'
import * as instance from './instance.ts'
import {
  claimWith,
  type InstanceStore,
  type Step,
  update,
  upsert,
  type Versioned,
} from './instance-store.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { BackendStats, PruneParams, PruneResult } from './maintenance.ts'
import { pollForWakeup } from './poll.ts'
import type { CancelDetails, SignalDetails, SignalKind, SignalRequest } from './signal-store.ts'
import { isEnded, type SnapshotSummary, type WorkflowSnapshot } from './snapshot.ts'
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

/** What {@link BaseCalls} needs beside the store. */
export interface BaseCallsOptions {
  readonly lifecycle: Lifecycle
  readonly agingIntervalMs: number
  readonly pollIntervalMs: number
}

/** Every call of a backend, on the seven primitives of an {@link InstanceStore}. */
export class BaseCalls
  implements
    CheckedCalls,
    SnapshotCalls,
    TaskResultCalls,
    SignalCalls,
    TaskClaimCalls,
    MaintenanceCalls
{
  readonly snapshots: SnapshotCalls = this
  readonly results: TaskResultCalls = this
  readonly signals: SignalCalls = this
  readonly claims: TaskClaimCalls = this
  readonly maintenance: MaintenanceCalls = this
  readonly #store: InstanceStore
  readonly #options: BaseCallsOptions

  constructor(store: InstanceStore, options: BaseCallsOptions) {
    this.#store = store
    this.#options = options
  }

  saveSnapshot(
    snapshot: WorkflowSnapshot,
    conditions: CheckedSaveOptions,
  ): Promise<WorkflowSnapshot> {
    return upsert(this.#store, snapshot.instanceId, (before, at) => {
      const after = instance.save(before, snapshot, conditions, at)
      return { after, reply: after.snapshot }
    })
  }

  async loadSnapshot(instanceId: string): Promise<WorkflowSnapshot> {
    return (await this.#read(instanceId)).snapshot
  }

  async deleteSnapshot(instanceId: string): Promise<void> {
    for (let read: Versioned | null; ; ) {
      read = await this.#store.readInstance(instanceId)
      if (read === null) throw notFound(instanceId)
      if (await this.#store.removeInstance(instanceId, read.version)) return
    }
  }

  async *listSnapshots({
    statuses,
    definitionHashes,
    prefix,
    after,
  }: CheckedListFilter): AsyncGenerator<SnapshotSummary> {
    // Where ids of that prefix start, by bytes; `after` may be further on.
    const from = prefix !== null && (after === null || compareIds(prefix, after) > 0) ? null : after
    for await (const stored of scan(this.#store, from)) {
      const { instanceId } = stored
      if (prefix !== null && !instanceId.startsWith(prefix)) {
        if (compareIds(instanceId, prefix) > 0) return
        continue
      }
      // Throws where it can not be read: a listing must not leave out what is there.
      const { definitionHash, revision, createdAt, updatedAt, state } = stored.record.snapshot
      if (statuses?.includes(state.status) === false) continue
      if (definitionHashes?.includes(definitionHash) === false) continue
      yield { instanceId, definitionHash, status: state.status, revision, createdAt, updatedAt }
    }
  }

  saveTaskResult({ instanceId, taskId, output, claim }: SaveTaskResultParams): Promise<void> {
    return this.#update(instanceId, (before, at) => ({
      after: instance.saveResult(before, taskId, output, claim, at),
      reply: undefined,
    }))
  }

  async loadTaskResult(instanceId: string, taskId: string): Promise<Uint8Array | null> {
    const { snapshot } = await this.#read(instanceId)
    return snapshot.state.completedTasks.get(taskId)?.output ?? null
  }

  storeSignal(
    instanceId: string,
    kind: SignalKind,
    details: Required<SignalDetails>,
  ): Promise<void> {
    return this.#update(instanceId, (before, at) => ({
      after: instance.storeSignal(before, kind, details, at),
      reply: undefined,
    }))
  }

  async getSignal(instanceId: string, kind: SignalKind): Promise<SignalRequest | null> {
    return (await this.#store.readInstance(instanceId))?.record[kind] ?? null
  }

  clearSignal(instanceId: string, kind: SignalKind): Promise<void> {
    return this.#updateIfThere(instanceId, undefined, (before) => ({
      after: before[kind] === null ? before : { ...before, [kind]: null },
      reply: undefined,
    }))
  }

  applySignals(
    instanceId: string,
    kinds: readonly SignalKind[],
    details: Required<CancelDetails>,
  ): Promise<'cancelled' | 'paused' | null> {
    return this.#updateIfThere(instanceId, null, (before, at) => {
      const after = instance.control(before, kinds, at, details)
      if (after === before) return { after, reply: null }
      return { after, reply: after.snapshot.state.status === 'cancelled' ? 'cancelled' : 'paused' }
    })
  }

  unpause(instanceId: string): Promise<WorkflowSnapshot> {
    return this.#update(instanceId, (before, at) => {
      const after = instance.unpause(before, at)
      return { after, reply: after.snapshot }
    })
  }

  async sendEvent(instanceId: string, { eventId, ...event }: SentEvent): Promise<void> {
    const ended = await this.#update(instanceId, (before, at) => {
      const { after, rejected } = instance.sendEvent(before, event, eventId ?? undefined, at)
      return { after, reply: rejected ? after.snapshot.state.status : null }
    })
    if (ended !== null) throw terminal(instanceId, ended)
  }

  consumeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#updateIfThere(instanceId, null, (before) => {
      const { after, payload } = instance.consumeEvent(before, signalName)
      return { after, reply: payload }
    })
  }

  claimTask({ instanceId, taskId, ...worker }: ClaimTaskParams): Promise<TaskClaim | null> {
    return this.#update(instanceId, async (before, at) => {
      const { after, reply } = await claimWith(this.#store, before, taskId, worker, at)
      return { after, reply: reply === null ? null : { instanceId, taskId, ...reply } }
    })
  }

  releaseTaskClaim(ref: TaskClaimRef): Promise<void> {
    return this.#update(ref.instanceId, (before) => ({
      after: instance.releaseClaim(before, ref),
      reply: undefined,
    }))
  }

  prolongTaskClaim(ref: TaskClaimRef, prolongation: Prolongation): Promise<TaskClaim> {
    const { instanceId, taskId } = ref
    return this.#update(instanceId, (before, at) => {
      const { after, claim } = instance.prolongClaim(before, ref, prolongation, at)
      return { after, reply: { instanceId, taskId, ...claim } }
    })
  }

  async findAvailableTasks({
    workerId,
    limit,
    ...filter
  }: FindTasksParams): Promise<AvailableTask[]> {
    const { agingIntervalMs } = this.#options
    const found = await candidates(this.#store, filter, workerId, agingIntervalMs)
    return found.slice(0, limit).map(({ record, entry }) => toTask(record, entry))
  }

  async claimAvailableTasks({
    workerId,
    ttlMs,
    limit,
    ...filter
  }: ClaimTasksParams): Promise<ClaimedTask[]> {
    const { agingIntervalMs } = this.#options
    const found = await candidates(this.#store, filter, workerId, agingIntervalMs)
    return claimBest(this.#store, found, limit, { workerId, ttlMs })
  }

  commitTask({ claim, outcome, claimNext }: CommitTaskParams): Promise<CommitReceipt> {
    const { agingIntervalMs } = this.#options
    return commitAndClaim(this.#store, claim, outcome, claimNext, agingIntervalMs)
  }

  waitForWakeup(
    { timeoutMs, ...filter }: WaitForWakeupParams,
    signal: AbortSignal | undefined,
  ): Promise<TaskWakeup | null> {
    const { lifecycle, agingIntervalMs, pollIntervalMs } = this.#options
    return pollForWakeup({
      lifecycle,
      signal,
      timeoutMs,
      intervalMs: pollIntervalMs,
      peek: async () => {
        const [best] = await candidates(this.#store, filter, null, agingIntervalMs)
        if (best === undefined) {
          const at = await this.#store.now()
          const due = await nextDueAt(this.#store, at)
          return { wakeup: null, dueInMs: due === null ? null : due - at }
        }
        const { instanceId, definitionHash } = best.record.snapshot
        return { wakeup: { instanceId, taskId: best.entry.taskId, definitionHash } }
      },
    })
  }

  async prune(
    { endedBefore, statuses, limit, dryRun }: Required<PruneParams>,
    signal: AbortSignal | undefined,
  ): Promise<PruneResult> {
    let deleted = 0
    for await (const stored of scan(this.#store)) {
      signal?.throwIfAborted()
      const record = readable(stored)
      if (record === null) continue
      const { updatedAt, state } = record.snapshot
      const ended = isEnded(state.status) && statuses.includes(state.status)
      if (!ended || updatedAt >= endedBefore) continue
      if (deleted === limit) return { deleted, more: true }
      // It changes no more, but may be deleted and created anew meanwhile.
      const { instanceId, version } = stored
      if (dryRun || (await this.#store.removeInstance(instanceId, version))) deleted += 1
    }
    return { deleted, more: false }
  }

  async stats(): Promise<BackendStats> {
    const at = await this.#store.now()
    const byStatus = { 'in-progress': 0, completed: 0, failed: 0, cancelled: 0, paused: 0 }
    let available = 0
    let claimed = 0
    let oldest = Infinity
    for await (const record of scanReadable(this.#store)) {
      byStatus[record.snapshot.state.status] += 1
      claimed += record.entries.filter(({ claim }) => isLive(claim, at)).length
      for (const { availableSince } of instance.availableEntries(record, at)) {
        available += 1
        oldest = Math.min(oldest, availableSince)
      }
    }
    return {
      byStatus,
      available,
      claimed,
      oldestAvailableAgeMs: available === 0 ? null : at - oldest,
    }
  }

  async checkHealth(): Promise<void> {
    await this.#store.listInstances(null, 1)
  }

  disconnect(): Promise<void> {
    return this.#store.disconnect()
  }

  async #read(instanceId: string): Promise<instance.InstanceRecord> {
    const read = await this.#store.readInstance(instanceId)
    if (read === null) throw notFound(instanceId)
    return read.record
  }

  #update<T>(
    instanceId: string,
    step: (before: instance.InstanceRecord, at: number) => Step<T> | Promise<Step<T>>,
  ): Promise<T> {
    return update(this.#store, instanceId, step)
  }

  /** As `#update`, but an unknown instance is no error. */
  #updateIfThere<T>(
    instanceId: string,
    missing: T,
    step: (before: instance.InstanceRecord, at: number) => Step<T>,
  ): Promise<T> {
    return this.#update(instanceId, step).catch((error: unknown) => {
      if (BackendError.is(error, 'NOT_FOUND')) return missing
      throw error
    })
  }
}
