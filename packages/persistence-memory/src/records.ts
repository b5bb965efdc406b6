import {
  advance,
  type CancelDetails,
  type SignalRequest,
  type WorkflowSnapshot,
} from '@sayiir/persistence-core'
import {
  applySignals,
  type CommitRecord,
  type DispatchEntry,
  isEnded,
  notFound,
  type PendingSignals,
  type PlanOptions,
  planDispatch,
} from '@sayiir/persistence-core/adapter'
import type { DispatchQueue, QueuedItem } from './dispatch-queue.ts'

/** The events that wait for one signal name, and the ids of those that ever came. */
export interface EventQueue {
  readonly payloads: Uint8Array[]
  readonly seenIds: Set<string>
}

/** All that is kept of one instance. */
export interface InstanceRecord {
  /** Never handed out: callers get copies. */
  snapshot: WorkflowSnapshot
  /** By task id. */
  entries: Map<string, DispatchEntry>
  cancel: SignalRequest | null
  pause: SignalRequest | null
  /** By signal name. */
  readonly events: Map<string, EventQueue>
  /** By task id: its last commit, until it is claimed again. */
  readonly commits: Map<string, CommitRecord>
  /** What the dispatch queue holds of it. */
  queued: Map<string, QueuedItem>
}

/** A snapshot with the dispatch entries that belong to it. */
export interface Placed {
  readonly snapshot: WorkflowSnapshot
  readonly entries: readonly DispatchEntry[]
}

/** One step of a change: the next snapshot, and what it makes of the dispatch entries. */
export function place(
  before: Placed | null,
  snapshot: WorkflowSnapshot,
  at: number,
  options?: PlanOptions,
): Placed {
  return snapshot === before?.snapshot
    ? before
    : { snapshot, entries: planDispatch(before, snapshot, at, options) }
}

/** Whether tasks of this instance are handed out at all. */
export function handsOut(record: InstanceRecord): boolean {
  return (
    record.snapshot.state.status === 'in-progress' &&
    record.cancel === null &&
    record.pause === null
  )
}

/** The record as it stands, to start a change from. */
export function placed({ snapshot, entries }: InstanceRecord): Placed {
  return { snapshot, entries: [...entries.values()] }
}

/** An instance that is at a signal now takes the event that was queued for it (rule E3). */
export function takeQueuedEvent(record: InstanceRecord, next: Placed, at: number): Placed {
  const { state } = next.snapshot
  if (state.status !== 'in-progress' || state.position.kind !== 'at-signal') return next
  const payload = record.events.get(state.position.signalName)?.payloads.shift()
  return payload === undefined ? next : place(next, advance(next.snapshot, at, { payload }), at)
}

/** Every instance, and the one place where an instance changes. */
export class Records {
  readonly #byId = new Map<string, InstanceRecord>()
  readonly #queue: DispatchQueue
  #lastToken = 0

  constructor(queue: DispatchQueue) {
    this.#queue = queue
  }

  /** Throws `NOT_FOUND`. */
  require(instanceId: string): InstanceRecord {
    const record = this.#byId.get(instanceId)
    if (record === undefined) throw notFound(instanceId)
    return record
  }

  get(instanceId: string): InstanceRecord | undefined {
    return this.#byId.get(instanceId)
  }

  all(): IterableIterator<InstanceRecord> {
    return this.#byId.values()
  }

  /** Greater than every token before, also of instances that were deleted. */
  nextToken(): number {
    this.#lastToken += 1
    return this.#lastToken
  }

  create(snapshot: WorkflowSnapshot, at: number): InstanceRecord {
    const record: InstanceRecord = {
      snapshot: { ...snapshot, revision: 0, createdAt: at },
      entries: new Map(),
      cancel: null,
      pause: null,
      events: new Map(),
      commits: new Map(),
      queued: new Map(),
    }
    this.#byId.set(snapshot.instanceId, record)
    this.change(record, place(null, record.snapshot, at), at)
    return record
  }

  delete(record: InstanceRecord): void {
    this.#byId.delete(record.snapshot.instanceId)
    this.#queue.withdraw(record)
  }

  clear(): void {
    for (const record of this.#byId.values()) this.delete(record)
  }

  /** Stores a changed snapshot: one change, however many steps led to it. */
  change(record: InstanceRecord, { snapshot, entries }: Placed, at: number): void {
    const { revision, createdAt } = record.snapshot
    record.snapshot = { ...snapshot, revision: revision + 1, createdAt, updatedAt: at }
    record.entries = new Map(entries.map((entry) => [entry.taskId, entry]))
    const { status } = snapshot.state
    if (status !== 'in-progress') record.pause = null
    if (isEnded(status)) {
      record.cancel = null
      record.events.clear()
    }
    this.#queue.offer(record)
  }

  /** Replaces one entry: a claim was made, moved or given up. That is no change of the snapshot. */
  setEntry(record: InstanceRecord, entry: DispatchEntry): void {
    record.entries.set(entry.taskId, entry)
    this.#queue.offer(record, entry)
  }

  /** Sets or takes back a control signal. */
  setSignal(record: InstanceRecord, kind: SignalRequest['kind'], to: SignalRequest | null): void {
    record[kind] = to
    this.#queue.offer(record)
  }

  /** Applies pending signals. False where none applies. */
  applySignals(
    record: InstanceRecord,
    signals: PendingSignals,
    at: number,
    details?: CancelDetails,
  ): boolean {
    return this.#changeTo(record, applySignals(record.snapshot, signals, at, details), at)
  }

  /** Goes on from a delay that is over or a signal whose time is up. False where there is nothing to do. */
  advanceTimer(record: InstanceRecord, at: number): boolean {
    return this.#changeTo(record, advance(record.snapshot, at), at)
  }

  /** Hands an event to an instance that waits for it. */
  deliver(record: InstanceRecord, payload: Uint8Array, at: number): void {
    this.#changeTo(record, advance(record.snapshot, at, { payload }), at)
  }

  #changeTo(record: InstanceRecord, after: WorkflowSnapshot, at: number): boolean {
    if (after === record.snapshot) return false
    this.change(record, place(placed(record), after, at), at)
    return true
  }
}
