import {
  checkDelay,
  checkFlag,
  checkId,
  checkIdOrNull,
  checkIds,
  checkInteger,
  checkObject,
  checkOneOf,
  checkPayload,
  checkTextOrNull,
  checkTime,
  checkTtlOrNull,
  MAX_TASK_LIMIT,
} from './check.ts'
import { checkOutcome } from './check-outcome.ts'
import type { PruneParams } from './maintenance.ts'
import type { CancelDetails, SignalDetails, SignalKind } from './signal-store.ts'
import { ENDED_STATUSES, type EndedStatus, type InstanceStatus } from './snapshot.ts'
import type { ListFilter, SaveOptions } from './snapshot-store.ts'
import type {
  ClaimTaskParams,
  ClaimTasksParams,
  CommitTaskParams,
  FindTasksParams,
  TaskClaimRef,
  WaitForWakeupParams,
  WorkerFilter,
} from './task-claim-store.ts'
import type { SaveTaskResultParams } from './task-result-store.ts'

const STATUSES: readonly InstanceStatus[] = ['in-progress', 'paused', ...ENDED_STATUSES]

/** Instances that `prune` deletes in one call unless told otherwise. */
export const DEFAULT_PRUNE_LIMIT = 1000

/** The signal of a call's options. Throws `TypeError` for a wrong one. */
export function checkAbortable(options: unknown): AbortSignal | undefined {
  if (options === undefined) return undefined
  const { signal } = checkObject(options, 'options')
  if (signal === undefined) return undefined
  if (typeof (signal as AbortSignal | null)?.throwIfAborted !== 'function') {
    throw new TypeError('signal must be an AbortSignal')
  }
  return signal as AbortSignal
}

/** A claim's name, copied. */
export function checkClaimRef(value: unknown, name = 'claim'): TaskClaimRef {
  const from = checkObject(value, name)
  const { token } = from
  return {
    instanceId: checkId(from.instanceId, `${name}.instanceId`),
    taskId: checkId(from.taskId, `${name}.taskId`),
    workerId: checkId(from.workerId, `${name}.workerId`),
    ...(token === undefined ? undefined : { token: checkInteger(token, `${name}.token`, 0) }),
  }
}

/** What a save's conditions come to: `expectedRevision` is null where it overwrites. */
export interface CheckedSaveOptions {
  readonly expectedRevision: number | null
  readonly claim: TaskClaimRef | null
  readonly release: boolean
}

/** A save's conditions, with the default that a claim brings (rule S3). */
export function checkSaveOptions(
  options: SaveOptions | undefined,
  snapshot: { readonly instanceId: string; readonly revision: number },
): CheckedSaveOptions {
  checkAbortable(options)
  const { expectedRevision, claim, release } = options ?? {}
  const held = claim === undefined ? null : checkClaimRef(claim)
  const releases = checkFlag(release, 'release')
  if (held !== null && held.instanceId !== snapshot.instanceId) {
    throw new TypeError('claim must be of the instance that is saved')
  }
  if (releases && held === null)
    throw new TypeError('release needs the claim that is to be released')
  const fallback = held === null ? null : snapshot.revision
  return {
    expectedRevision:
      expectedRevision === undefined
        ? fallback
        : checkInteger(expectedRevision, 'expectedRevision', 0),
    claim: held,
    release: releases,
  }
}

/** A listing's filter; null where a field does not filter. */
export interface CheckedListFilter {
  readonly statuses: readonly InstanceStatus[] | null
  readonly definitionHashes: readonly string[] | null
  readonly prefix: string | null
  readonly after: string | null
  readonly limit: number
  readonly signal: AbortSignal | undefined
}

/** A listing's filter, copied. */
export function checkListFilter(filter: ListFilter | undefined): CheckedListFilter {
  const from = checkObject(filter ?? {}, 'filter')
  const { status, definitionHash, prefix, after, limit } = from
  return {
    statuses:
      status === undefined
        ? null
        : (Array.isArray(status) ? status : [status]).map((one) =>
            checkOneOf(one, 'status', STATUSES),
          ),
    definitionHashes:
      definitionHash === undefined
        ? null
        : checkIds(
            Array.isArray(definitionHash) ? definitionHash : [definitionHash],
            'definitionHash',
          ),
    prefix: prefix === undefined ? null : checkId(prefix, 'prefix'),
    after: after === undefined ? null : checkId(after, 'after'),
    limit: limit === undefined ? Infinity : checkInteger(limit, 'limit', 1),
    signal: checkAbortable(from),
  }
}

/** A worker's filter, copied. */
export function checkWorkerFilter(from: Readonly<Record<string, unknown>>): WorkerFilter {
  const { tags, definitionHashes } = from
  return {
    ...(tags === undefined ? undefined : { tags: checkIds(tags, 'tags') }),
    ...(definitionHashes === undefined
      ? undefined
      : { definitionHashes: checkIds(definitionHashes, 'definitionHashes') }),
  }
}

/** Parameters of `findAvailableTasks`, copied. */
export function checkFindParams(value: unknown): FindTasksParams {
  const from = checkObject(value, 'params')
  return {
    workerId: checkId(from.workerId, 'workerId'),
    limit: checkInteger(from.limit, 'limit', 1, MAX_TASK_LIMIT),
    ...checkWorkerFilter(from),
  }
}

/** Parameters of `claimAvailableTasks`, copied. */
export function checkClaimTasksParams(value: unknown): ClaimTasksParams {
  const from = checkObject(value, 'params')
  return { ...checkFindParams(from), ttlMs: checkTtlOrNull(from.ttlMs, 'ttlMs') }
}

/** Parameters of `claimTask`, copied. */
export function checkClaimTaskParams(value: unknown): ClaimTaskParams {
  const from = checkObject(value, 'params')
  return {
    instanceId: checkId(from.instanceId, 'instanceId'),
    taskId: checkId(from.taskId, 'taskId'),
    workerId: checkId(from.workerId, 'workerId'),
    ttlMs: checkTtlOrNull(from.ttlMs, 'ttlMs'),
  }
}

/** Parameters of `commitTask`, copied. */
export function checkCommitParams(value: unknown, maxPayloadBytes: number): CommitTaskParams {
  const from = checkObject(value, 'params')
  const claim = checkClaimRef(from.claim)
  const outcome = checkOutcome(from.outcome, maxPayloadBytes)
  if (from.claimNext === undefined) return { claim, outcome }
  const claimNext = checkObject(from.claimNext, 'claimNext')
  return {
    claim,
    outcome,
    claimNext: {
      ttlMs: checkTtlOrNull(claimNext.ttlMs, 'claimNext.ttlMs'),
      ...checkWorkerFilter(claimNext),
    },
  }
}

/** Parameters of `waitForWakeup`, copied. */
export function checkWaitParams(value: unknown): WaitForWakeupParams {
  const from = checkObject(value, 'params')
  return { timeoutMs: checkDelay(from.timeoutMs, 'timeoutMs'), ...checkWorkerFilter(from) }
}

/** Parameters of `saveTaskResult`, copied. */
export function checkTaskResultParams(
  value: unknown,
  maxPayloadBytes: number,
): SaveTaskResultParams {
  const from = checkObject(value, 'params')
  const instanceId = checkId(from.instanceId, 'instanceId')
  const taskId = checkId(from.taskId, 'taskId')
  const output = checkPayload(from.output, 'output', maxPayloadBytes)
  if (from.claim === undefined) return { instanceId, taskId, output }
  const claim = checkClaimRef(from.claim)
  if (claim.instanceId !== instanceId) throw new TypeError('claim must be of the same instance')
  return { instanceId, taskId, output, claim }
}

/** A kind of control signal. */
export function checkSignalKind(value: unknown): SignalKind {
  return checkOneOf(value, 'kind', ['cancel', 'pause'])
}

/** Who asks, and why; null where it is left out. */
export function checkSignalDetails(value: unknown): Required<SignalDetails> {
  const from = checkObject(value ?? {}, 'request')
  return {
    reason: checkTextOrNull(from.reason, 'reason'),
    requestedBy: checkTextOrNull(from.requestedBy, 'requestedBy'),
  }
}

/** The task that a cancel interrupts; null where it is left out. */
export function checkCancelDetails(value: unknown): Required<CancelDetails> {
  const { interruptedAtTask } = checkObject(value ?? {}, 'details')
  return { interruptedAtTask: checkIdOrNull(interruptedAtTask, 'interruptedAtTask') }
}

/** Parameters of `prune`, with their defaults. */
export function checkPruneParams(value: unknown): Required<PruneParams> {
  const from = checkObject(value, 'params')
  const { statuses, limit } = from
  return {
    endedBefore: checkTime(from.endedBefore, 'endedBefore'),
    statuses:
      statuses === undefined
        ? ENDED_STATUSES
        : checkIds(statuses, 'statuses').map(
            (one): EndedStatus => checkOneOf(one, 'statuses', ENDED_STATUSES),
          ),
    limit: limit === undefined ? DEFAULT_PRUNE_LIMIT : checkInteger(limit, 'limit', 1),
    dryRun: checkFlag(from.dryRun, 'dryRun'),
  }
}
