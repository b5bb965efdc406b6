import type { Abortable, BackendOptions, Capabilities, PersistentBackend } from './backend.ts'
import { commitAndClaim } from './base-commit.ts'
import { candidates, claimBest, nextDueAt, scan, toTask } from './base-dispatch.ts'
import {
  checkBackendOptions,
  checkId,
  checkIdOrNull,
  checkPayload,
  checkTtl,
  later,
} from './check.ts'
import * as check from './check-params.ts'
import { checkSnapshot } from './check-snapshot.ts'
import { compareIds } from './compare-ids.ts'
import { isLive } from './dispatch.ts'
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
import { Lifecycle } from './lifecycle.ts'
import type { BackendStats, PruneParams, PruneResult } from './maintenance.ts'
import { pollForWakeup } from './poll.ts'
import type {
  CancelDetails,
  SendEventOptions,
  SignalDetails,
  SignalKind,
  SignalRequest,
} from './signal-store.ts'
import { isEnded, type SnapshotSummary, type WorkflowSnapshot } from './snapshot.ts'
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

/** What a {@link BaseBackend} is told at its making. */
export interface BaseBackendOptions extends BackendOptions {
  /** Milliseconds between two looks of `waitForWakeup`, by default 100. */
  readonly pollIntervalMs?: number
}

/**
 * A whole backend from seven primitives: right for any store that has a compare-and-set, in an
 * afternoon. It keeps each instance as one value and looks at all of them to find work, so it does
 * not keep the promises about cost (rules S6 and D8), nor those of one round trip; override what
 * your store can do at once. See docs/adapter-guide.md.
 */
export abstract class BaseBackend implements PersistentBackend {
  abstract readonly name: string
  abstract readonly capabilities: Capabilities
  readonly #options: { readonly agingIntervalMs: number; readonly maxPayloadBytes: number }
  readonly #pollIntervalMs: number
  #life: Lifecycle | null = null

  constructor(options: BaseBackendOptions = {}) {
    this.#options = checkBackendOptions(options)
    this.#pollIntervalMs = checkTtl(options.pollIntervalMs ?? 100, 'pollIntervalMs')
  }

  /** The store's seven primitives. */
  protected abstract readonly store: InstanceStore

  // Made late: `name` is a field of the class that extends this one.
  get #lifecycle(): Lifecycle {
    this.#life ??= new Lifecycle(this.name)
    return this.#life
  }

  async saveSnapshot(snapshot: WorkflowSnapshot, options?: SaveOptions): Promise<WorkflowSnapshot> {
    const checked = checkSnapshot(snapshot, this.#options.maxPayloadBytes)
    const conditions = check.checkSaveOptions(options, checked)
    return this.#lifecycle.run(options?.signal, () =>
      upsert(this.store, checked.instanceId, (before, at) => {
        const after = instance.save(before, checked, conditions, at)
        return { after, reply: after.snapshot }
      }),
    )
  }

  async loadSnapshot(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    checkId(instanceId, 'instanceId')
    return this.#lifecycle.run(
      check.checkAbortable(options),
      async () => (await this.#read(instanceId)).snapshot,
    )
  }

  async deleteSnapshot(instanceId: string, options?: Abortable): Promise<void> {
    checkId(instanceId, 'instanceId')
    return this.#lifecycle.run(check.checkAbortable(options), async () => {
      for (let read: Versioned | null; ; ) {
        read = await this.store.readInstance(instanceId)
        if (read === null) throw notFound(instanceId)
        if (await this.store.removeInstance(instanceId, read.version)) return
      }
    })
  }

  async *listSnapshots(filter?: ListFilter): AsyncGenerator<SnapshotSummary> {
    const { statuses, definitionHashes, prefix, after, limit, signal } =
      check.checkListFilter(filter)
    this.#lifecycle.check(signal)
    let left = limit
    // Where ids of that prefix start, by bytes; `after` may be further on.
    const from = prefix !== null && (after === null || compareIds(prefix, after) > 0) ? null : after
    for await (const { snapshot } of scan(this.store, from)) {
      this.#lifecycle.check(signal)
      const { instanceId, definitionHash, revision, createdAt, updatedAt, state } = snapshot
      if (prefix !== null && !instanceId.startsWith(prefix)) {
        if (compareIds(instanceId, prefix) > 0) return
        continue
      }
      if (statuses?.includes(state.status) === false) continue
      if (definitionHashes?.includes(definitionHash) === false) continue
      yield { instanceId, definitionHash, status: state.status, revision, createdAt, updatedAt }
      this.#lifecycle.check(signal)
      left -= 1
      if (left === 0) return
    }
  }

  async saveTaskResult(params: SaveTaskResultParams, options?: Abortable): Promise<void> {
    const { instanceId, taskId, output, claim } = check.checkTaskResultParams(
      params,
      this.#options.maxPayloadBytes,
    )
    return this.#update(instanceId, options, (before, at) => ({
      after: instance.saveResult(before, taskId, output, claim, at),
      reply: undefined,
    }))
  }

  async loadTaskResult(
    instanceId: string,
    taskId: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    checkId(instanceId, 'instanceId')
    checkId(taskId, 'taskId')
    return this.#lifecycle.run(check.checkAbortable(options), async () => {
      const { snapshot } = await this.#read(instanceId)
      return snapshot.state.completedTasks.get(taskId)?.output ?? null
    })
  }

  async storeSignal(
    instanceId: string,
    kind: SignalKind,
    request?: SignalDetails,
    options?: Abortable,
  ): Promise<void> {
    checkId(instanceId, 'instanceId')
    const known = check.checkSignalKind(kind)
    const details = check.checkSignalDetails(request)
    return this.#update(instanceId, options, (before, at) => ({
      after: instance.storeSignal(before, known, details, at),
      reply: undefined,
    }))
  }

  async getSignal(
    instanceId: string,
    kind: SignalKind,
    options?: Abortable,
  ): Promise<SignalRequest | null> {
    checkId(instanceId, 'instanceId')
    const known = check.checkSignalKind(kind)
    return this.#lifecycle.run(check.checkAbortable(options), async () => {
      return (await this.store.readInstance(instanceId))?.record[known] ?? null
    })
  }

  async clearSignal(instanceId: string, kind: SignalKind, options?: Abortable): Promise<void> {
    checkId(instanceId, 'instanceId')
    const known = check.checkSignalKind(kind)
    return this.#updateIfThere(instanceId, options, undefined, (before) => ({
      after: before[known] === null ? before : { ...before, [known]: null },
      reply: undefined,
    }))
  }

  async checkAndCancel(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<boolean> {
    return (await this.#control(instanceId, ['cancel'], details, options)) !== null
  }

  async checkAndPause(instanceId: string, options?: Abortable): Promise<boolean> {
    return (await this.#control(instanceId, ['pause'], undefined, options)) !== null
  }

  async checkControlSignals(
    instanceId: string,
    details?: CancelDetails,
    options?: Abortable,
  ): Promise<'cancelled' | 'paused' | null> {
    return this.#control(instanceId, ['cancel', 'pause'], details, options)
  }

  async unpause(instanceId: string, options?: Abortable): Promise<WorkflowSnapshot> {
    checkId(instanceId, 'instanceId')
    return this.#update(instanceId, options, (before, at) => {
      const after = instance.unpause(before, at)
      return { after, reply: after.snapshot }
    })
  }

  async sendEvent(
    instanceId: string,
    signalName: string,
    payload: Uint8Array,
    options?: SendEventOptions,
  ): Promise<void> {
    checkId(instanceId, 'instanceId')
    const event = {
      signalName: checkId(signalName, 'signalName'),
      payload: checkPayload(payload, 'payload', this.#options.maxPayloadBytes),
    }
    const eventId = checkIdOrNull(options?.eventId, 'eventId') ?? undefined
    const ended = await this.#update(instanceId, options, (before, at) => {
      const { after, rejected } = instance.sendEvent(before, event, eventId, at)
      return { after, reply: rejected ? after.snapshot.state.status : null }
    })
    if (ended !== null) throw terminal(instanceId, ended)
  }

  async consumeEvent(
    instanceId: string,
    signalName: string,
    options?: Abortable,
  ): Promise<Uint8Array | null> {
    checkId(instanceId, 'instanceId')
    checkId(signalName, 'signalName')
    return this.#updateIfThere(instanceId, options, null, (before) => {
      const { after, payload } = instance.consumeEvent(before, signalName)
      return { after, reply: payload }
    })
  }

  async claimTask(params: ClaimTaskParams, options?: Abortable): Promise<TaskClaim | null> {
    const { instanceId, taskId, ...worker } = check.checkClaimTaskParams(params)
    return this.#update(instanceId, options, async (before, at) => {
      const { after, reply } = await claimWith(this.store, before, taskId, worker, at)
      return { after, reply: reply === null ? null : { instanceId, taskId, ...reply } }
    })
  }

  async releaseTaskClaim(claim: TaskClaimRef, options?: Abortable): Promise<void> {
    const ref = check.checkClaimRef(claim)
    return this.#update(ref.instanceId, options, (before) => ({
      after: instance.releaseClaim(before, ref),
      reply: undefined,
    }))
  }

  async extendTaskClaim(
    claim: TaskClaimRef,
    additionalMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    const ref = check.checkClaimRef(claim)
    const ms = checkTtl(additionalMs, 'additionalMs')
    return this.#moveExpiry(ref, options, (expiresAt, at) => later(Math.max(expiresAt, at), ms))
  }

  async renewTaskClaim(
    claim: TaskClaimRef,
    ttlMs: number,
    options?: Abortable,
  ): Promise<TaskClaim> {
    const ref = check.checkClaimRef(claim)
    const ms = checkTtl(ttlMs, 'ttlMs')
    return this.#moveExpiry(ref, options, (_, at) => later(at, ms))
  }

  async findAvailableTasks(params: FindTasksParams, options?: Abortable): Promise<AvailableTask[]> {
    const { workerId, limit, ...filter } = check.checkFindParams(params)
    return this.#lifecycle.run(check.checkAbortable(options), async () => {
      const found = await candidates(this.store, filter, workerId, this.#options.agingIntervalMs)
      return found.slice(0, limit).map(({ record, entry }) => toTask(record, entry))
    })
  }

  async claimAvailableTasks(params: ClaimTasksParams, options?: Abortable): Promise<ClaimedTask[]> {
    const { workerId, ttlMs, limit, ...filter } = check.checkClaimTasksParams(params)
    return this.#lifecycle.run(check.checkAbortable(options), async () => {
      const found = await candidates(this.store, filter, workerId, this.#options.agingIntervalMs)
      return claimBest(this.store, found, limit, { workerId, ttlMs })
    })
  }

  async commitTask(params: CommitTaskParams, options?: Abortable): Promise<CommitReceipt> {
    const { claim, outcome, claimNext } = check.checkCommitParams(
      params,
      this.#options.maxPayloadBytes,
    )
    return this.#lifecycle.run(check.checkAbortable(options), () =>
      commitAndClaim(this.store, claim, outcome, claimNext, this.#options.agingIntervalMs),
    )
  }

  async waitForWakeup(
    params: WaitForWakeupParams,
    options?: Abortable,
  ): Promise<TaskWakeup | null> {
    const { timeoutMs, ...filter } = check.checkWaitParams(params)
    const signal = check.checkAbortable(options)
    return this.#lifecycle.run(signal, () =>
      pollForWakeup({
        lifecycle: this.#lifecycle,
        signal,
        timeoutMs,
        intervalMs: this.#pollIntervalMs,
        peek: async () => {
          const [best] = await candidates(this.store, filter, null, this.#options.agingIntervalMs)
          if (best === undefined) {
            const at = await this.store.now()
            const due = await nextDueAt(this.store, at)
            return { wakeup: null, dueInMs: due === null ? null : due - at }
          }
          const { instanceId, definitionHash } = best.record.snapshot
          return { wakeup: { instanceId, taskId: best.entry.taskId, definitionHash } }
        },
      }),
    )
  }

  async prune(params: PruneParams, options?: Abortable): Promise<PruneResult> {
    const { endedBefore, statuses, limit, dryRun } = check.checkPruneParams(params)
    const signal = check.checkAbortable(options)
    return this.#lifecycle.run(signal, async () => {
      let deleted = 0
      for await (const { snapshot } of scan(this.store)) {
        signal?.throwIfAborted()
        const { instanceId, updatedAt, state } = snapshot
        const ended = isEnded(state.status) && statuses.includes(state.status)
        if (!ended || updatedAt >= endedBefore) continue
        if (deleted === limit) return { deleted, more: true }
        if (dryRun || (await this.#removeUnchanged(instanceId, snapshot.revision))) deleted += 1
      }
      return { deleted, more: false }
    })
  }

  async stats(options?: Abortable): Promise<BackendStats> {
    return this.#lifecycle.run(check.checkAbortable(options), async () => {
      const at = await this.store.now()
      const byStatus = { 'in-progress': 0, completed: 0, failed: 0, cancelled: 0, paused: 0 }
      let available = 0
      let claimed = 0
      let oldest = Infinity
      for await (const record of scan(this.store)) {
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
    })
  }

  async checkHealth(options?: Abortable): Promise<void> {
    return this.#lifecycle.run(check.checkAbortable(options), async () => {
      await this.store.listInstances(null, 1)
    })
  }

  close(): Promise<void> {
    return this.#lifecycle.close(() => this.store.disconnect())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #read(instanceId: string): Promise<instance.InstanceRecord> {
    const read = await this.store.readInstance(instanceId)
    if (read === null) throw notFound(instanceId)
    return read.record
  }

  async #update<T>(
    instanceId: string,
    options: Abortable | undefined,
    step: (before: instance.InstanceRecord, at: number) => Step<T> | Promise<Step<T>>,
  ): Promise<T> {
    return this.#lifecycle.run(check.checkAbortable(options), () =>
      update(this.store, instanceId, step),
    )
  }

  /** As `#update`, but an unknown instance is no error. */
  async #updateIfThere<T>(
    instanceId: string,
    options: Abortable | undefined,
    missing: T,
    step: (before: instance.InstanceRecord, at: number) => Step<T>,
  ): Promise<T> {
    return this.#update(instanceId, options, step).catch((error: unknown) => {
      if (BackendError.is(error, 'NOT_FOUND')) return missing
      throw error
    })
  }

  async #control(
    instanceId: string,
    kinds: readonly SignalKind[],
    details: CancelDetails | undefined,
    options: Abortable | undefined,
  ): Promise<'cancelled' | 'paused' | null> {
    checkId(instanceId, 'instanceId')
    const given = check.checkCancelDetails(details)
    return this.#updateIfThere(instanceId, options, null, (before, at) => {
      const after = instance.control(before, kinds, at, given)
      if (after === before) return { after, reply: null }
      return { after, reply: after.snapshot.state.status === 'cancelled' ? 'cancelled' : 'paused' }
    })
  }

  #moveExpiry(
    ref: TaskClaimRef,
    options: Abortable | undefined,
    expiry: (expiresAt: number, at: number) => number,
  ): Promise<TaskClaim> {
    const { instanceId, taskId } = ref
    return this.#update(instanceId, options, (before, at) => {
      const { after, claim } = instance.moveExpiry(before, ref, (expiresAt) =>
        expiry(expiresAt, at),
      )
      return { after, reply: { instanceId, taskId, ...claim } }
    })
  }

  /** An ended instance changes no more, but it may be deleted and created anew meanwhile. */
  async #removeUnchanged(instanceId: string, revision: number): Promise<boolean> {
    const read = await this.store.readInstance(instanceId)
    if (read === null || read.record.snapshot.revision !== revision) return false
    return (
      isEnded(read.record.snapshot.state.status) &&
      this.store.removeInstance(instanceId, read.version)
    )
  }
}
