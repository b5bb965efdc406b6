import { advance, timerOf } from './advance.ts'
import type { CheckedSaveOptions } from './check-params.ts'
import {
  type CommitRecord,
  claimEntry,
  type DispatchEntry,
  type HeldClaim,
  isFree,
  isHeldBy,
  isLive,
  type PlanOptions,
  type Prolongation,
  planDispatch,
  prolonged,
  TIMER_TASK_ID,
} from './dispatch.ts'
import { claimLost, conflict, notFound, terminal } from './errors.ts'
import { applyOutcome } from './outcome.ts'
import { applySignals, type PendingSignals } from './pending-signals.ts'
import type { CancelDetails, SignalDetails, SignalKind, SignalRequest } from './signal-store.ts'
import { isEnded, type WorkflowSnapshot } from './snapshot.ts'
import type { TaskClaimRef, TaskOutcome } from './task-claim-store.ts'
import { cannotCancel, cannotPause, completeTask, resumeWorkflow } from './transitions.ts'

/** An event that waits to be taken. */
export interface QueuedEvent {
  readonly signalName: string
  readonly payload: Uint8Array
}

/**
 * Everything of one instance in one value: for a store that keeps it whole and replaces it with a
 * compare-and-set. The functions of this file are its operations: each takes a record and gives the
 * next, or throws and leaves it as it is.
 */
export interface InstanceRecord extends PendingSignals {
  readonly snapshot: WorkflowSnapshot
  readonly entries: readonly DispatchEntry[]
  /** First in, first out for each signal name. */
  readonly events: readonly QueuedEvent[]
  /** Ids of events that were sent already, by signal name. */
  readonly eventIds: ReadonlyMap<string, readonly string[]>
  /** By task: its last commit, until the task is claimed again. */
  readonly commits: ReadonlyMap<string, CommitRecord>
}

/**
 * The record with its snapshot replaced: one more revision, the dispatch entries planned anew, and
 * a signal that is parked at with an event waiting gone on from at once (rule E3). One that has
 * ended keeps its results and commits, nothing else.
 */
function change(
  before: InstanceRecord | null,
  snapshot: WorkflowSnapshot,
  at: number,
  options: PlanOptions = {},
): InstanceRecord {
  const { after, events } = takeEvent(snapshot, before?.events ?? [], at)
  // The signal between is a place of its own: a task behind it starts anew, with the payload.
  const parked = planDispatch(before, snapshot, at, options)
  const stored = {
    ...after,
    revision: (before?.snapshot.revision ?? 0) + 1,
    createdAt: before?.snapshot.createdAt ?? at,
    updatedAt: at,
  }
  const ended = isEnded(stored.state.status)
  return {
    snapshot: stored,
    entries: after === snapshot ? parked : planDispatch({ snapshot, entries: parked }, stored, at),
    cancel: ended ? null : (before?.cancel ?? null),
    pause: ended || stored.state.status === 'paused' ? null : (before?.pause ?? null),
    events: ended ? [] : events,
    eventIds: ended || before === null ? new Map() : before.eventIds,
    commits: before?.commits ?? new Map(),
  }
}

function takeEvent(
  snapshot: WorkflowSnapshot,
  events: readonly QueuedEvent[],
  at: number,
): { after: WorkflowSnapshot; events: readonly QueuedEvent[] } {
  const { state } = snapshot
  if (state.status !== 'in-progress' || state.position.kind !== 'at-signal')
    return { after: snapshot, events }
  const { signalName } = state.position
  const event = events.find((one) => one.signalName === signalName)
  if (event === undefined) return { after: snapshot, events }
  return { after: advance(snapshot, at, event), events: events.filter((one) => one !== event) }
}

/** Rules S2–S4: a save under its conditions. */
export function save(
  before: InstanceRecord | null,
  snapshot: WorkflowSnapshot,
  { expectedRevision, claim, release }: CheckedSaveOptions,
  at: number,
): InstanceRecord {
  const { instanceId } = snapshot
  if (before === null) {
    if (claim !== null) throw notFound(instanceId)
    if (expectedRevision !== null && expectedRevision !== 0)
      throw conflict(instanceId, expectedRevision, null)
    return change(null, snapshot, at)
  }
  mustBeOpen(before)
  if (claim !== null) mustHold(before, claim)
  const { revision } = before.snapshot
  if (expectedRevision !== null && expectedRevision !== revision)
    throw conflict(instanceId, expectedRevision, revision)
  const after = change(before, snapshot, at)
  return release && claim !== null
    ? withEntry(after, claim.taskId, (entry) => ({ ...entry, claim: null }))
    : after
}

/** Rule S10: one output. */
export function saveResult(
  before: InstanceRecord,
  taskId: string,
  output: Uint8Array,
  claim: TaskClaimRef | undefined,
  at: number,
): InstanceRecord {
  mustBeOpen(before)
  if (claim !== undefined) mustHold(before, claim)
  return change(before, completeTask(before.snapshot, taskId, output), at)
}

/** A request to cancel or pause, stored. */
export function storeSignal(
  before: InstanceRecord,
  kind: SignalKind,
  { reason, requestedBy }: Required<SignalDetails>,
  at: number,
): InstanceRecord {
  const { instanceId, state } = before.snapshot
  if (state.status === (kind === 'cancel' ? 'cancelled' : 'paused')) return before
  if (isEnded(state.status)) {
    throw kind === 'cancel'
      ? cannotCancel(instanceId, state.status)
      : cannotPause(instanceId, `it is ${state.status}`)
  }
  const request: SignalRequest = { kind, reason, requestedBy, requestedAt: at }
  return { ...before, [kind]: request }
}

/** The record with pending requests of these kinds applied; the same object where nothing applies. */
export function control(
  before: InstanceRecord,
  kinds: readonly SignalKind[],
  at: number,
  details: CancelDetails = {},
): InstanceRecord {
  // A pending cancel holds a pause back even where only pauses are asked for (rule G1).
  if (before.cancel !== null && !kinds.includes('cancel')) return before
  const pending = { cancel: before.cancel, pause: kinds.includes('pause') ? before.pause : null }
  const after = applySignals(before.snapshot, pending, at, details)
  return after === before.snapshot ? before : change(before, after, at)
}

/** Rule G3: in progress again. */
export function unpause(before: InstanceRecord, at: number): InstanceRecord {
  return change(before, resumeWorkflow(before.snapshot), at, { unpaused: true })
}

/** Rule E2: an event, delivered or queued. Where its signal timed out first and that ended the instance, `rejected` says so. */
export function sendEvent(
  before: InstanceRecord,
  event: QueuedEvent,
  eventId: string | undefined,
  at: number,
): { after: InstanceRecord; rejected: boolean } {
  mustBeOpen(before)
  const known = before.eventIds.get(event.signalName) ?? []
  if (eventId !== undefined && known.includes(eventId)) return { after: before, rejected: false }
  const current = advanceTimer(before, at)
  if (isEnded(current.snapshot.state.status)) return { after: current, rejected: true }
  const eventIds =
    eventId === undefined
      ? current.eventIds
      : new Map(current.eventIds).set(event.signalName, [...known, eventId])
  const queued: InstanceRecord = { ...current, events: [...current.events, event], eventIds }
  const { state } = queued.snapshot
  const arrives =
    state.status === 'in-progress' &&
    state.position.kind === 'at-signal' &&
    state.position.signalName === event.signalName
  return { after: arrives ? change(queued, queued.snapshot, at) : queued, rejected: false }
}

/** The oldest event of that name, taken. */
export function consumeEvent(
  before: InstanceRecord,
  signalName: string,
): { after: InstanceRecord; payload: Uint8Array | null } {
  const event = before.events.find((one) => one.signalName === signalName)
  if (event === undefined) return { after: before, payload: null }
  return {
    after: { ...before, events: before.events.filter((one) => one !== event) },
    payload: event.payload,
  }
}

/** Rule E1: gone on from a delay or signal whose time is up; the same object where it is not. */
export function advanceTimer(before: InstanceRecord, at: number): InstanceRecord {
  const wakeAt = timerOf(before.snapshot)
  if (wakeAt === null || wakeAt > at) return before
  const after = advance(before.snapshot, at)
  return after === before.snapshot ? before : change(before, after, at)
}

/** Rule G4: a pending request applied, if nobody is at work on the instance. */
export function controlIdle(before: InstanceRecord, at: number): InstanceRecord {
  if (before.cancel === null && before.pause === null) return before
  return before.entries.some(({ claim }) => isLive(claim, at))
    ? before
    : control(before, ['cancel', 'pause'], at)
}

/** The tasks that may be handed out now (see `available` in docs/contract.md), timers not advanced. */
export function availableEntries(record: InstanceRecord, at: number): readonly DispatchEntry[] {
  const open =
    record.snapshot.state.status === 'in-progress' &&
    record.cancel === null &&
    record.pause === null
  return open
    ? record.entries.filter((entry) => entry.taskId !== TIMER_TASK_ID && isFree(entry, at))
    : []
}

/** The record with an available task claimed, its timer advanced; null if it is not available. */
export function claimTask(
  before: InstanceRecord,
  taskId: string,
  claim: HeldClaim,
  at: number,
): InstanceRecord | null {
  const current = advanceTimer(before, at)
  if (!availableEntries(current, at).some((entry) => entry.taskId === taskId)) return null
  const commits = new Map(current.commits)
  commits.delete(taskId)
  return withEntry({ ...current, commits }, taskId, (entry) => claimEntry(entry, claim))
}

/** The record without the claim, if there is one to give up. */
export function releaseClaim(before: InstanceRecord, ref: TaskClaimRef): InstanceRecord {
  const entry = entryOf(before, ref.taskId)
  if (entry === undefined || entry.claim === null) return before
  mustHold(before, ref)
  return withEntry(before, ref.taskId, (held) => ({ ...held, claim: null }))
}

/** The record with a claim that lasts longer. */
export function prolongClaim(
  before: InstanceRecord,
  ref: TaskClaimRef,
  prolongation: Prolongation,
  at: number,
): { after: InstanceRecord; claim: HeldClaim } {
  mustBeOpen(before)
  const held = mustHold(before, ref)
  const claim = { ...held, expiresAt: prolonged(held.expiresAt, prolongation, at) }
  return { after: withEntry(before, ref.taskId, (entry) => ({ ...entry, claim })), claim }
}

/** Rule D6, without what comes next: the outcome applied, pending requests too, the claim given up, the commit recorded. */
export function commit(
  before: InstanceRecord,
  ref: TaskClaimRef,
  outcome: TaskOutcome,
  at: number,
): { after: InstanceRecord; record: CommitRecord } {
  mustBeOpen(before)
  const { token } = mustHold(before, ref)
  const { taskId, workerId } = ref
  const outcomeApplied = applyOutcome(before.snapshot, ref, outcome, at)
  const controlled = applySignals(outcomeApplied, before, at)
  const options =
    outcome.kind === 'completed'
      ? { completed: taskId }
      : outcome.kind === 'retry'
        ? { retried: taskId }
        : {}
  const after = change(before, controlled, at, options)
  const { revision, state } = after.snapshot
  const record: CommitRecord = { workerId, token, revision, status: state.status, next: null }
  return { after: recordCommit(after, taskId, record), record }
}

/** The record with a commit remembered. */
export function recordCommit(
  before: InstanceRecord,
  taskId: string,
  record: CommitRecord,
): InstanceRecord {
  return { ...before, commits: new Map(before.commits).set(taskId, record) }
}

/** The entry of a task. */
export function entryOf(record: InstanceRecord, taskId: string): DispatchEntry | undefined {
  return record.entries.find((entry) => entry.taskId === taskId)
}

function withEntry(
  record: InstanceRecord,
  taskId: string,
  update: (entry: DispatchEntry) => DispatchEntry,
): InstanceRecord {
  return {
    ...record,
    entries: record.entries.map((entry) => (entry.taskId === taskId ? update(entry) : entry)),
  }
}

function mustBeOpen({ snapshot }: InstanceRecord): void {
  if (isEnded(snapshot.state.status)) throw terminal(snapshot.instanceId, snapshot.state.status)
}

function mustHold(record: InstanceRecord, ref: TaskClaimRef): HeldClaim {
  const entry = entryOf(record, ref.taskId)
  if (entry?.claim == null || !isHeldBy(entry, ref)) throw claimLost(ref.instanceId, ref.taskId)
  return entry.claim
}
