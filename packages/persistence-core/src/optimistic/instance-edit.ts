import { advance, timerOf } from '../advance.ts'
import {
  type DispatchEntry,
  type HeldClaim,
  isFree,
  isHeldBy,
  keepsEntry,
  type PlanOptions,
  planDispatch,
  TIMER_TASK_ID,
} from '../dispatch.ts'
import { claimLost, terminal } from '../errors.ts'
import type { PendingSignals } from '../pending-signals.ts'
import type { TaskResult } from '../position.ts'
import type { SignalKind } from '../signal-store.ts'
import { isEnded, type SnapshotHead } from '../snapshot.ts'
import { STORED_ELSEWHERE } from '../stored-elsewhere.ts'
import type { TaskClaimRef } from '../task-claim-store.ts'
import { branchResults, mapBranches } from './branches.ts'
import { entryChanges } from './entry-changes.ts'
import { newGeneration } from './generation.ts'
import type { InstanceWrite, OptimisticStore, StoredInstance } from './store.ts'
import { CLOCK_TOLERANCE_MS, timeOfChange } from './time-of-change.ts'

/** Results of one write at most that can be told apart by their order. */
export const ORDER_STEP: number = 2 ** 21
/** Bytes up to which a branch's output is kept in the head as well: reading it apart costs more. */
const INLINE_BRANCH_BYTES = 64

const NO_TASKS: ReadonlySet<string> = new Set()

/** What an edit reads beside the instance; what it reads is still so when the write lands. */
export type EditReader = Pick<OptimisticStore, 'readOutputs' | 'readEvent'>

/** What a write is for, beside the change itself. */
export type WritePurpose = Pick<Partial<InstanceWrite>, 'holds' | 'event' | 'commit' | 'claimNext'>

/**
 * One instance while it is changed: what it becomes is worked out by core's rules, and
 * {@link InstanceEdit.toWrite} tells what a store has to write for it.
 */
export class InstanceEdit {
  readonly instanceId: string
  /** Epoch milliseconds that the change is worked out for. */
  readonly at: number
  /** Its revision is the stored one until `change` raises it. */
  head: SnapshotHead
  readonly #before: StoredInstance | null
  readonly #reader: EditReader
  #signals: PendingSignals
  #entries: readonly DispatchEntry[]
  /** Of these, those that start anew. */
  #added: ReadonlySet<string> = NO_TASKS
  #released: ReadonlySet<string> = NO_TASKS
  /** Outputs to store, in order. */
  readonly #results = new Map<string, TaskResult>()
  /** Outputs that are stored and stay. */
  #stored: ReadonlyMap<string, TaskResult> | null = null
  #removedResults: readonly string[] | 'all' = []
  #queuedEvents: number
  #takenEvent: string | null = null
  #changed = false

  private constructor(
    reader: EditReader,
    before: StoredInstance | null,
    head: SnapshotHead,
    at: number,
  ) {
    this.#reader = reader
    this.#before = before
    this.instanceId = head.instanceId
    this.head = head
    this.at = at
    this.#signals = { cancel: before?.cancel ?? null, pause: before?.pause ?? null }
    this.#entries = before?.entries ?? []
    this.#queuedEvents = before?.queuedEvents ?? 0
  }

  /** An edit of what is stored. */
  static of(reader: EditReader, before: StoredInstance, at: number): InstanceEdit {
    return new InstanceEdit(reader, before, before.head, timeOfChange(before, at))
  }

  /** A new instance. */
  static create(reader: EditReader, head: SnapshotHead, at: number): InstanceEdit {
    const blank = { ...head, revision: 0, createdAt: at, updatedAt: at }
    return new InstanceEdit(reader, null, blank, at)
  }

  get pendingSignals(): PendingSignals {
    return this.#signals
  }

  get queuedEvents(): number {
    return this.#queuedEvents
  }

  /** Whether its tasks are handed out: in progress, no control signal pending. */
  get isOpen(): boolean {
    const { cancel, pause } = this.#signals
    return this.head.state.status === 'in-progress' && cancel === null && pause === null
  }

  /** Tasks that can be claimed now (`isOpen` and the filter aside), timers not advanced. */
  get freeEntries(): readonly DispatchEntry[] {
    return this.#entries.filter((entry) => entry.taskId !== TIMER_TASK_ID && isFree(entry, this.at))
  }

  get entries(): readonly DispatchEntry[] {
    return this.#entries
  }

  /** The dispatch entry of a task. */
  entryOf(taskId: string): DispatchEntry | undefined {
    return this.#entries.find((entry) => entry.taskId === taskId)
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

  /** Sets or clears a control signal. */
  setSignal(kind: SignalKind, request: PendingSignals[SignalKind]): void {
    this.#signals = { ...this.#signals, [kind]: request }
    this.#changed = true
  }

  /** Counts an event that the write queues. */
  queueEvent(): void {
    this.#queuedEvents += 1
    this.#changed = true
  }

  /** Whether a branch has its output only among the results, under this task. */
  refersTo(taskId: string): boolean {
    return branchResults(this.head).some(
      (result) => result.taskId === taskId && result.output === STORED_ELSEWHERE,
    )
  }

  /** Copies the task's output into the branches that refer to it, before another takes its place. */
  async keepBranches(taskId: string): Promise<void> {
    if (!this.refersTo(taskId)) return
    const outputs = await this.#reader.readOutputs(this.instanceId, [taskId])
    const output = outputs?.get(taskId) ?? new Uint8Array(0)
    this.head = mapBranches(this.head, (result) =>
      result.taskId === taskId && result.output === STORED_ELSEWHERE ? { taskId, output } : result,
    )
  }

  /** Stores a task's output, as the newest. */
  putResult(result: TaskResult): void {
    this.#results.delete(result.taskId)
    this.#results.set(result.taskId, result)
  }

  /** Takes results away. */
  removeResults(removed: readonly string[] | 'all'): void {
    this.#removedResults = removed
  }

  /** Tells of all outputs that are stored once this is written, so that a branch with the same one need not keep it too. */
  noteStored(results: ReadonlyMap<string, TaskResult>): void {
    this.#stored = results
  }

  /** An output that this edit stores. */
  outputOf(taskId: string): Uint8Array | undefined {
    return this.#results.get(taskId)?.output
  }

  /**
   * A change of the snapshot: one more revision, dispatch planned anew, and where it is now parked
   * at a signal whose event waits, gone on from there (rule E3). That event's result, if so.
   */
  async change(after: SnapshotHead, options: PlanOptions = {}): Promise<TaskResult | null> {
    const { revision } = this.head
    this.#move(after, options)
    const result = await this.#takeEvent()
    this.head = { ...this.head, revision: revision + 1, updatedAt: this.at }
    return result
  }

  /** The first state of a new instance is the one that it was created with; events it has none. */
  start(): void {
    this.#move({ ...this.head }, {})
    this.head = { ...this.head, revision: 1 }
  }

  /** Goes on with an event that arrived for the signal that the instance is parked at. */
  async deliver(signalId: string, payload: Uint8Array): Promise<void> {
    this.putResult({ taskId: signalId, output: payload })
    await this.change(advance(this.head, this.at, { payload }))
  }

  /** Goes on from a delay or signal whose time is up; whether it was (rule E1). */
  async advanceTimer(): Promise<boolean> {
    const { state } = this.head
    const wakeAt = timerOf(this.head)
    if (state.status !== 'in-progress' || wakeAt === null || wakeAt > this.at) return false
    const { position, lastCompletedTaskId } = state
    if (position.kind === 'at-signal') {
      await this.keepBranches(position.signalId)
      this.putResult({ taskId: position.signalId, output: new Uint8Array(0) })
    }
    const completes = position.kind === 'at-delay' && position.nextTaskId === null
    const lastOutput = completes ? await this.#lastOutput(lastCompletedTaskId) : undefined
    await this.change(advance(this.head, this.at, undefined, lastOutput))
    return true
  }

  /** Gives the claim on a task up, if it is still runnable. */
  release(taskId: string): void {
    const entry = this.entryOf(taskId)
    if (entry === undefined) return
    this.#entries = this.#entries.map((one) => (one === entry ? { ...one, claim: null } : one))
    if (!this.#added.has(taskId)) this.#released = union(this.#released, new Set([taskId]))
    this.#changed = true
  }

  /** What has to be written; null: nothing has changed. */
  toWrite(purpose: WritePurpose = {}): InstanceWrite | null {
    const before = this.#before
    if (before !== null && !this.#changed) return null
    const ended = isEnded(this.head.state.status)
    const paused = this.head.state.status === 'paused'
    const after: StoredInstance = {
      generation: before?.generation ?? newGeneration(),
      version: (before?.version ?? 0) + 1,
      head: mapBranches(this.head, (result) => this.#asStored(result)),
      entries: this.#entries,
      cancel: ended ? null : this.#signals.cancel,
      pause: ended || paused ? null : this.#signals.pause,
      queuedEvents: ended ? 0 : this.#queuedEvents,
    }
    const first = this.head.revision * ORDER_STEP
    return {
      instanceId: this.instanceId,
      plain: null,
      before,
      after,
      at: this.at,
      toleranceMs: CLOCK_TOLERANCE_MS,
      entries: entryChanges(before?.entries ?? [], this.#entries, this.#added, this.#released),
      holds: purpose.holds ?? null,
      removedResults: before === null ? [] : this.#removedResults,
      results: Array.from(this.#results.values(), (result, index) => ({
        ...result,
        order: first + index,
      })),
      takenEvent: ended ? null : this.#takenEvent,
      event: ended ? null : (purpose.event ?? null),
      commit: purpose.commit ?? null,
      claimNext: purpose.claimNext ?? null,
    }
  }

  #asStored(result: TaskResult): TaskResult {
    const { taskId, output } = result
    if (output === STORED_ELSEWHERE || output.byteLength <= INLINE_BRANCH_BYTES) return result
    const stored = (this.#results.get(taskId) ?? this.#stored?.get(taskId))?.output
    const isSame =
      stored !== undefined && (stored === output || Buffer.compare(stored, output) === 0)
    return isSame ? { taskId, output: STORED_ELSEWHERE } : result
  }

  #move(after: SnapshotHead, options: PlanOptions): void {
    const before = this.#before === null ? null : { snapshot: this.head, entries: this.#entries }
    const stored = this.#entries
    this.#entries = planDispatch(before, after, this.at, options)
    const staying = before === null ? [] : stored.filter((one) => keepsEntry(one, after, options))
    const kept = tasksOf(staying)
    const fresh = this.#entries.filter(({ taskId }) => !kept.has(taskId))
    this.#added = union(this.#added, tasksOf(fresh))
    const { retried } = options
    if (retried !== undefined && !this.#added.has(retried))
      this.#released = union(this.#released, new Set([retried]))
    this.head = after
    this.#changed = true
  }

  async #takeEvent(): Promise<TaskResult | null> {
    const { state } = this.head
    if (this.#queuedEvents === 0 || state.status !== 'in-progress') return null
    const { position } = state
    if (position.kind !== 'at-signal') return null
    const { signalName, signalId } = position
    const payload = await this.#reader.readEvent(this.instanceId, signalName)
    if (payload === null) return null
    await this.keepBranches(signalId)
    const result = { taskId: signalId, output: payload }
    this.putResult(result)
    this.#takenEvent = signalName
    this.#queuedEvents -= 1
    this.#move(advance(this.head, this.at, { payload }), {})
    return result
  }

  /** What a delay with nothing after it completes the workflow with. */
  async #lastOutput(lastCompletedTaskId: string | null): Promise<Uint8Array> {
    const nothing = this.head.initialInput ?? new Uint8Array(0)
    if (lastCompletedTaskId === null) return nothing
    const own = this.#results.get(lastCompletedTaskId)?.output
    if (own !== undefined) return own
    const outputs = await this.#reader.readOutputs(this.instanceId, [lastCompletedTaskId])
    return outputs?.get(lastCompletedTaskId) ?? nothing
  }
}

function tasksOf(entries: readonly DispatchEntry[]): ReadonlySet<string> {
  return entries.length === 0 ? NO_TASKS : new Set(entries.map(({ taskId }) => taskId))
}

function union(a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> {
  if (a.size === 0) return b
  return b.size === 0 ? a : new Set([...a, ...b])
}

/** An instance whose entry of a task was claimed. */
export function withClaim(
  stored: StoredInstance,
  taskId: string,
  claim: HeldClaim | null,
  deliveries?: number,
): StoredInstance {
  const [first] = stored.entries
  // As it was read.
  if (first?.taskId === taskId && first.claim === claim && first.deliveries === deliveries) {
    return stored
  }
  return {
    ...stored,
    entries: stored.entries.map((entry) =>
      entry.taskId === taskId
        ? { ...entry, claim, deliveries: deliveries ?? entry.deliveries }
        : entry,
    ),
  }
}
