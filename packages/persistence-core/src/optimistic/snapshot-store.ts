import type { CheckedListFilter, CheckedSaveOptions } from '../check-params.ts'
import type { TakeResult } from '../check-snapshot.ts'
import type { RunStep, SnapshotCalls } from '../checked-calls.ts'
import { compareIds } from '../compare-ids.ts'
import { conflict, notFound } from '../errors.ts'
import {
  type CompletedTasks,
  type SnapshotHead,
  type SnapshotSummary,
  toHead,
  type WorkflowSnapshot,
  withCompletedTasks,
} from '../snapshot.ts'
import { STORED_ELSEWHERE } from '../stored-elsewhere.ts'
import { branchResults, mapBranches } from './branches.ts'
import { copyHead, copyWhole, giveAway } from './hand-out.ts'
import { InstanceEdit } from './instance-edit.ts'
import { NOTHING, plainStart } from './plain-start.ts'
import type { Basis, Decision, Session } from './session.ts'
import type { StoredInstance } from './store.ts'

/** Lines of a listing that are read at a time. */
const PAGE = 500

/** Snapshots, saved and loaded whole. */
export class OptimisticSnapshotStore implements SnapshotCalls {
  readonly takeResult: TakeResult
  readonly empty: ReadonlyMap<string, never> = NOTHING
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
    const { known, options } = session
    this.takeResult = (result, name) => known.take(result, name, options.maxPayloadBytes)
  }

  saveSnapshot(
    snapshot: WorkflowSnapshot,
    conditions: CheckedSaveOptions,
  ): Promise<WorkflowSnapshot> {
    const session = this.#session
    return session.change(
      snapshot.instanceId,
      (basis) => save(session, basis, snapshot, conditions),
      // What was never stored is new, as a rule; else it is at the revision that it says.
      { guess: snapshot.revision === 0 ? null : guessAt(session, snapshot) },
    )
  }

  async loadSnapshot(instanceId: string): Promise<WorkflowSnapshot> {
    const whole = await readWhole(this.#session, instanceId)
    if (whole === null) throw notFound(instanceId)
    return whole.snapshot
  }

  async deleteSnapshot(instanceId: string): Promise<void> {
    this.#session.cache.delete(instanceId)
    if (!(await this.#session.store.remove(instanceId))) throw notFound(instanceId)
  }

  async *listSnapshots(
    { statuses, definitionHashes, prefix, after, limit }: CheckedListFilter,
    run: RunStep,
  ): AsyncGenerator<SnapshotSummary> {
    const { store } = this.#session
    let left = limit
    let start = after
    // The prefix itself is an id that has it.
    let inclusive = prefix !== null && (start === null || compareIds(prefix, start) > 0)
    if (inclusive) start = prefix
    for (;;) {
      const page = { start, inclusive, limit: Math.min(PAGE, left), statuses, definitionHashes }
      const summaries = await run(() => store.list(page))
      for (const summary of summaries) {
        if (prefix !== null && !summary.instanceId.startsWith(prefix)) return
        yield summary
        left -= 1
      }
      const last = summaries.at(-1)
      if (last === undefined || summaries.length < page.limit || left === 0) return
      start = last.instanceId
      inclusive = false
    }
  }
}

/** The instance that is known at the snapshot's revision. */
function guessAt(session: Session, snapshot: WorkflowSnapshot): StoredInstance | undefined {
  const known = session.cache.get(snapshot.instanceId)
  return known?.head.revision === snapshot.revision ? known : undefined
}

/** Rules S1–S6. */
function save(
  session: Session,
  basis: Basis,
  snapshot: WorkflowSnapshot,
  options: CheckedSaveOptions,
): Decision<WorkflowSnapshot> | Promise<Decision<WorkflowSnapshot>> {
  const { before } = basis
  return before === null
    ? saveNew(session, basis, snapshot, options)
    : saveOver(session, before, basis, snapshot, options)
}

/** Starts an instance; at once, because there is nothing to read. */
function saveNew(
  session: Session,
  { at }: Basis,
  snapshot: WorkflowSnapshot,
  { expectedRevision, claim }: CheckedSaveOptions,
): Decision<WorkflowSnapshot> {
  const { instanceId } = snapshot
  if (claim !== null) throw notFound(instanceId)
  if (expectedRevision !== null && expectedRevision !== 0) {
    throw conflict(instanceId, expectedRevision, null)
  }
  const { completedTasks } = snapshot.state
  const plain = plainStart(snapshot, at)
  if (plain !== null) {
    const { head } = plain.after
    return {
      write: plain,
      reply: (_after, _result, isKept) => (isKept ? copyWhole(head, new Map()) : giveAway(head)),
    }
  }
  const edit = InstanceEdit.create(session.store, toHead(snapshot), at)
  for (const result of completedTasks.values()) edit.putResult(result)
  edit.noteStored(completedTasks)
  edit.start()
  const { head } = edit
  return {
    write: edit.toWrite(),
    reply: (after) => {
      if (after !== null) session.known.remember(after, completedTasks.values())
      return handOutWhole(head, new Map(completedTasks))
    },
  }
}

async function saveOver(
  session: Session,
  before: StoredInstance,
  { at, isGuess }: Basis,
  snapshot: WorkflowSnapshot,
  { expectedRevision, claim, release }: CheckedSaveOptions,
): Promise<Decision<WorkflowSnapshot>> {
  const { instanceId } = snapshot
  const edit = InstanceEdit.of(session.store, before, at)
  edit.mustBeOpen()
  if (claim !== null) edit.mustHold(claim)
  const { revision } = before.head
  if (expectedRevision !== null && expectedRevision !== revision) {
    throw conflict(instanceId, expectedRevision, revision)
  }
  // A save that overwrites would not notice that its guess is of another instance.
  if (isGuess && revision !== snapshot.revision) {
    return { write: null, reply: () => snapshot }
  }
  const completedTasks = new Map(snapshot.state.completedTasks)
  const { removed, put } = session.known.plan(before, [...completedTasks.values()])
  edit.removeResults(removed)
  for (const result of put) edit.putResult(result)
  edit.noteStored(completedTasks)
  const event = await edit.change({
    ...toHead(snapshot),
    revision: edit.head.revision,
    createdAt: edit.head.createdAt,
  })
  if (event !== null) {
    completedTasks.delete(event.taskId)
    completedTasks.set(event.taskId, event)
  }
  if (release && claim !== null) edit.release(claim.taskId)
  const { head } = edit
  return {
    write: edit.toWrite({ holds: claim }),
    reply: (after) => {
      if (after === null) return snapshot
      session.known.remember(after, completedTasks.values())
      return handOutWhole(head, completedTasks)
    },
  }
}

/** A whole instance; null if there is none. */
export async function readWhole(
  session: Session,
  instanceId: string,
): Promise<{ now: number; stored: StoredInstance; snapshot: WorkflowSnapshot } | null> {
  const whole = await session.store.readWhole(instanceId)
  if (whole === null) return null
  const { now, stored, results } = whole
  session.saw(now, stored)
  session.known.remember(stored, results)
  const completedTasks = new Map(results.map((result) => [result.taskId, result]))
  const snapshot = handOutWhole(stored.head, completedTasks)
  return { now, stored, snapshot }
}

/** The head as its caller gets it, with outputs of finished branches from these. */
export function handOut(
  head: SnapshotHead,
  outputs: ReadonlyMap<string, Uint8Array>,
): SnapshotHead {
  return copyHead(
    mapBranches(head, (result) =>
      result.output === STORED_ELSEWHERE
        ? { ...result, output: outputs.get(result.taskId) ?? new Uint8Array(0) }
        : result,
    ),
  )
}

/** A whole snapshot as its caller gets it. */
export function handOutWhole(head: SnapshotHead, completedTasks: CompletedTasks): WorkflowSnapshot {
  const finished = branchResults(head)
  if (finished.length === 0) return copyWhole(head, completedTasks)
  const outputs = new Map(
    finished.map(({ taskId }) => [taskId, completedTasks.get(taskId)?.output ?? new Uint8Array(0)]),
  )
  return withCompletedTasks(handOut(head, outputs), completedTasks)
}
