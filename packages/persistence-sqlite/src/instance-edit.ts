import {
  advance,
  type SnapshotHead,
  type TaskClaimRef,
  type TaskResult,
} from '@sayiir/persistence-core'
import {
  claimEntry,
  claimLost,
  type DispatchEntry,
  type HeldClaim,
  isEnded,
  isFree,
  isHeldBy,
  mapBranches,
  type PendingSignals,
  type PlanOptions,
  planDispatch,
  positionOf,
  STORED_ELSEWHERE,
  TIMER_TASK_ID,
  terminal,
  timerOf,
} from '@sayiir/persistence-core/adapter'
import { takeEvent } from './event-rows.ts'
import { writeInstance } from './instance-rows.ts'
import {
  type ResultSet,
  readEntries,
  readInstance,
  readInstanceAndEntry,
  readPayload,
  readResult,
  SIGNAL_BITS,
  type StoredEntry,
} from './records.ts'
import { deleteSignal, readSignals, setSignalsDue } from './signal-rows.ts'
import { isSame, putResult } from './stored-results.ts'
import { deleteRows, LOST_AT_THE_END } from './tables.ts'
import { forgetCommit, newClaim, writeEntries } from './task-rows.ts'
import type { Transaction } from './transaction.ts'

/**
 * One instance while a transaction changes it: what it becomes is worked out in memory by core's
 * rules, and {@link InstanceEdit.flush} writes what differs from what is stored.
 */
export class InstanceEdit {
  readonly instanceId: string
  readonly results: ResultSet
  /** Its revision is the stored one until `change` raises it. */
  head: SnapshotHead
  /** Bits of the control signals that are pending. */
  signals: number
  readonly #transaction: Transaction
  readonly #stored: { readonly head: SnapshotHead; readonly signals: number } | null
  readonly #storedEntries: ReadonlyMap<string, StoredEntry>
  /** Outputs that are known to be stored, by task. */
  readonly #outputs = new Map<string, TaskResult>()
  #entries: readonly DispatchEntry[]

  private constructor(
    transaction: Transaction,
    head: SnapshotHead,
    signals: number,
    results: ResultSet,
    storedEntries: readonly StoredEntry[] | null,
  ) {
    this.#transaction = transaction
    this.instanceId = head.instanceId
    this.head = head
    this.signals = signals
    this.results = results
    this.#stored = storedEntries === null ? null : { head, signals }
    this.#storedEntries = new Map(storedEntries?.map((stored) => [stored.entry.taskId, stored]))
    this.#entries = storedEntries?.map(({ entry }) => entry) ?? []
  }

  /** The stored instance, or null if there is none of that id. */
  static load(transaction: Transaction, instanceId: string): InstanceEdit | null {
    const stored = readInstance(transaction.db, instanceId)
    if (stored === null) return null
    const entries = isEnded(stored.head.state.status)
      ? []
      : readEntries(transaction.db, stored.head)
    return new InstanceEdit(transaction, stored.head, stored.signals, stored.results, entries)
  }

  /**
   * As {@link InstanceEdit.load}, but of dispatch only the one task, unless it is inside a fork:
   * enough for whoever holds that task, which is the only one then.
   */
  static loadAt(transaction: Transaction, instanceId: string, taskId: string): InstanceEdit | null {
    const { db } = transaction
    const read = readInstanceAndEntry(db, instanceId, taskId)
    if (read === null) return null
    const { stored, entry } = read
    const isFork = positionOf(stored.head)?.kind === 'at-fork'
    const entries = isFork ? readEntries(db, stored.head) : entry === null ? [] : [entry]
    return new InstanceEdit(transaction, stored.head, stored.signals, stored.results, entries)
  }

  /** A new instance; nothing of it counts as stored yet. */
  static create(transaction: Transaction, head: SnapshotHead): InstanceEdit {
    const results = { generation: transaction.nextSequence(), seq: 0, count: 0, digest: 0 }
    const { now } = transaction
    const blank = { ...head, revision: 0, createdAt: now, updatedAt: now }
    return new InstanceEdit(transaction, blank, 0, results, null)
  }

  get #now(): number {
    return this.#transaction.now
  }

  /** Whether its tasks are handed out: in progress, no control signal pending. */
  get isOpen(): boolean {
    return this.head.state.status === 'in-progress' && this.signals === 0
  }

  /** The dispatch entry of a task. */
  entryOf(taskId: string): DispatchEntry | undefined {
    return this.#entries.find((entry) => entry.taskId === taskId)
  }

  /** Tasks that can be claimed now (`isOpen` and the filter aside), timers not advanced. */
  get freeEntries(): readonly DispatchEntry[] {
    return this.#entries.filter(
      (entry) => entry.taskId !== TIMER_TASK_ID && isFree(entry, this.#now),
    )
  }

  /** Throws `TERMINAL`. */
  mustBeOpen(): void {
    const { status } = this.head.state
    if (isEnded(status)) throw terminal(this.instanceId, status)
  }

  /** The claim that `ref` names; throws `CLAIM_LOST`. */
  mustHold(ref: TaskClaimRef): HeldClaim {
    const entry = this.entryOf(ref.taskId)
    if (entry?.claim == null || !isHeldBy(entry, ref)) throw claimLost(ref.instanceId, ref.taskId)
    return entry.claim
  }

  /** The control signals that are pending. */
  pendingSignals(): PendingSignals {
    return this.signals === 0
      ? { cancel: null, pause: null }
      : readSignals(this.#transaction.db, this.instanceId)
  }

  /** Copies the task's output into the branches that refer to it, before another takes its place. */
  keepBranches(taskId: string): void {
    this.head = mapBranches(this.head, (result) => {
      if (result.taskId !== taskId || result.output !== STORED_ELSEWHERE) return result
      const output = readResult(this.#transaction.db, this.instanceId, taskId)
      return { taskId, output: output ?? new Uint8Array(0) }
    })
  }

  /** Stores a task's output, as the newest. */
  putResult(taskId: string, output: Uint8Array): void {
    putResult(this.#transaction.db, this.instanceId, this.results, taskId, output)
    this.#outputs.set(taskId, { taskId, output })
  }

  /** Tells of an output that is stored, so that a branch with the same one need not keep it too. */
  noteStored(result: TaskResult): void {
    this.#outputs.set(result.taskId, result)
  }

  /**
   * A change of the snapshot: one more revision, dispatch planned anew, and where it is now parked
   * at a signal whose event waits, gone on from there (rule E3). That event's result, if so.
   */
  change(after: SnapshotHead, options: PlanOptions = {}): TaskResult | null {
    const { revision } = this.head
    this.#move(after, options)
    const result = this.#takeEvent()
    this.head = { ...this.head, revision: revision + 1, updatedAt: this.#now }
    return result
  }

  /** Goes on with an event that arrived for the signal that the instance is parked at. */
  deliver(signalId: string, payload: Uint8Array): void {
    this.putResult(signalId, payload)
    this.change(advance(this.head, this.#now, { payload }))
  }

  /** Goes on from a delay or signal whose time is up; whether it was (rule E1). */
  advanceTimer(): boolean {
    const { state } = this.head
    const wakeAt = timerOf(this.head)
    if (state.status !== 'in-progress' || wakeAt === null || wakeAt > this.#now) return false
    const { position, lastCompletedTaskId } = state
    if (position.kind === 'at-signal') this.putResult(position.signalId, new Uint8Array(0))
    const completes = position.kind === 'at-delay' && position.nextTaskId === null
    const lastOutput = completes ? this.#lastOutput(lastCompletedTaskId) : undefined
    this.change(advance(this.head, this.#now, undefined, lastOutput))
    return true
  }

  /** Claims a task that is free. */
  claim(taskId: string, workerId: string, ttlMs: number | null): HeldClaim {
    const claim = newClaim(this.#transaction, workerId, ttlMs)
    this.#entries = this.#entries.map((entry) =>
      entry.taskId === taskId ? claimEntry(entry, claim) : entry,
    )
    forgetCommit(this.#transaction, this.instanceId, taskId)
    return claim
  }

  /** Gives the claim on a task up, if it is still runnable. */
  release(taskId: string): void {
    this.#entries = this.#entries.map((entry) =>
      entry.taskId === taskId ? { ...entry, claim: null } : entry,
    )
  }

  /** Writes what has changed. */
  flush(): void {
    const { db } = this.#transaction
    const { status } = this.head.state
    if (isEnded(status)) {
      if (this.#stored !== null) deleteRows(db, this.instanceId, LOST_AT_THE_END)
      this.signals = 0
    } else {
      if (status === 'paused' && (this.signals & SIGNAL_BITS.pause) !== 0) {
        deleteSignal(db, this.instanceId, 'pause')
        this.signals &= ~SIGNAL_BITS.pause
      }
      writeEntries(this.#transaction, this.head, this.isOpen, this.#storedEntries, this.#entries)
      if (this.signals !== 0) setSignalsDue(db, this.instanceId)
    }
    writeInstance(db, this.#stored, this.head, this.signals, this.results, this.#isStored)
  }

  readonly #isStored = (result: TaskResult): boolean => {
    const stored = this.#outputs.get(result.taskId)
    return stored !== undefined && isSame(stored, result)
  }

  #move(after: SnapshotHead, options: PlanOptions): void {
    const before = this.#stored === null ? null : { snapshot: this.head, entries: this.#entries }
    this.#entries = planDispatch(before, after, this.#now, options)
    this.head = after
  }

  #takeEvent(): TaskResult | null {
    const { state } = this.head
    if (this.#stored === null || state.status !== 'in-progress') return null
    const { position } = state
    if (position.kind !== 'at-signal') return null
    const payload = takeEvent(this.#transaction.db, this.instanceId, position.signalName)
    if (payload === null) return null
    this.putResult(position.signalId, payload)
    this.#move(advance(this.head, this.#now, { payload }), {})
    return { taskId: position.signalId, output: payload }
  }

  /** What a delay with nothing after it completes the workflow with. */
  #lastOutput(lastCompletedTaskId: string | null): Uint8Array {
    const { db } = this.#transaction
    const last =
      lastCompletedTaskId === null ? null : readResult(db, this.instanceId, lastCompletedTaskId)
    return last ?? readPayload(db, this.instanceId, 'initial-input') ?? new Uint8Array(0)
  }
}
