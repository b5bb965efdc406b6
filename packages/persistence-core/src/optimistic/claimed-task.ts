import type { DispatchEntry } from '../dispatch.ts'
import { toAvailableTask } from '../dispatch.ts'
import type { TaskResult } from '../position.ts'
import { positionOf, type SnapshotHead } from '../snapshot.ts'
import { STORED_ELSEWHERE } from '../stored-elsewhere.ts'
import type { AvailableTask, ClaimedTask } from '../task-claim-store.ts'
import { branchResults } from './branches.ts'
import { copyHead } from './hand-out.ts'
import { InstanceEdit, withClaim } from './instance-edit.ts'
import type { Session } from './session.ts'
import { handOut } from './snapshot-store.ts'
import type { ClaimedEntry, FoundTask, StoredInstance } from './store.ts'

/** What was found, with the instance that it is of. */
interface Found {
  readonly stored: StoredInstance
  readonly entry: DispatchEntry
}

/** A task as its worker gets it. */
interface Described {
  readonly head: SnapshotHead
  readonly task: AvailableTask
}

/**
 * A claimed task with all that its worker needs; a delay or signal that stood before it is gone on
 * from. Null: it was lost meanwhile. Given at once where nothing has to be asked for.
 *
 * @param written The instance that was written in the same step.
 * @param output One that was stored in it.
 */
export function toClaimedTask(
  session: Session,
  claimed: ClaimedEntry,
  written: StoredInstance | null = null,
  output?: TaskResult,
): ClaimedTask | null | Promise<ClaimedTask | null> {
  const { instanceId, taskId, claim, deliveries } = claimed
  const of = claimed.stored ?? written
  if (of === null) return null
  const stored = withClaim(of, taskId, claim, deliveries)
  session.cache.set(stored)
  const atHand = describeAtHand(stored, claimed, output)
  if (atHand !== null) return given(atHand, claimed)
  const ref = { instanceId, taskId, workerId: claim.workerId, token: claim.token }
  return goneOn(session, stored, taskId, ref).then(async (found) =>
    found === null ? null : given(await describe(session, found, claimed, output), claimed),
  )
}

function given(
  { head, task }: Described,
  { instanceId, taskId, claim }: ClaimedEntry,
): ClaimedTask {
  return { task, claim: { instanceId, taskId, ...claim }, head }
}

/** A task that was found, as its worker gets it; null: it is not available any more. */
export async function toFoundTask(
  session: Session,
  task: FoundTask,
): Promise<AvailableTask | null> {
  if (task.stored === undefined) return null
  session.cache.set(task.stored)
  const found = await goneOn(session, task.stored, task.taskId, null)
  return found === null ? null : (await describe(session, found, task)).task
}

/** The instance past the delay or signal that stands before a task, written so. */
async function goneOn(
  session: Session,
  stored: StoredInstance,
  taskId: string,
  holds: { instanceId: string; taskId: string; workerId: string; token: number } | null,
): Promise<Found | null> {
  const entry = stored.entries.find((one) => one.taskId === taskId)
  if (entry === undefined) return null
  if (!entry.timer) return { stored, entry }
  const { instanceId } = stored.head
  const advanced = await session.change<StoredInstance | null>(
    instanceId,
    async ({ before, at }) => {
      if (before === null) return { write: null, reply: () => null }
      const edit = InstanceEdit.of(session.store, before, Math.max(at, entry.availableSince))
      const due = edit.entryOf(taskId)
      const isLost = holds !== null && due?.claim?.token !== holds.token
      if (due === undefined || isLost || !edit.isOpen) return { write: null, reply: () => null }
      if (!due.timer) return { write: null, reply: () => before }
      if (!(await edit.advanceTimer())) return { write: null, reply: () => null }
      return { write: edit.toWrite({ holds }), reply: (after) => after }
    },
    { guess: stored },
  )
  const now = advanced?.entries.find((one) => one.taskId === taskId)
  if (advanced !== null && now !== undefined) return { stored: advanced, entry: now }
  // Paused meanwhile, say. Nobody will ever know of the claim, which may be for ever.
  if (holds !== null) {
    await session.store.changeClaim(holds, { kind: 'release' })
    session.cache.delete(instanceId)
  }
  return null
}

/** The task, where all that it needs came along: no output is stored elsewhere, and no timer stands before it. */
function describeAtHand(
  stored: StoredInstance,
  found: FoundTask,
  known: TaskResult | undefined,
): Described | null {
  const { head, entries } = stored
  const entry = entries.find(({ taskId }) => taskId === found.taskId)
  if (entry === undefined || entry.timer || branchResults(head).length > 0) return null
  const { inputTaskId } = entry
  if (inputTaskId === null) return present(copyHead(head), entry, undefined)
  const own = known?.taskId === inputTaskId ? known.output : undefined
  const input = found.input ?? found.outputs?.get(inputTaskId) ?? own
  return input === undefined ? null : present(copyHead(head), entry, input)
}

async function describe(
  session: Session,
  { stored, entry }: Found,
  found: FoundTask,
  known?: TaskResult,
): Promise<Described> {
  const { head } = stored
  const { inputTaskId } = entry
  const outputs = new Map(found.outputs)
  if (known !== undefined) outputs.set(known.taskId, known.output)
  // The input that came along may be of before a signal was gone on from.
  const before = found.stored?.entries.find(({ taskId }) => taskId === found.taskId)
  if (found.input !== undefined && inputTaskId !== null && before?.inputTaskId === inputTaskId)
    outputs.set(inputTaskId, found.input)
  const wanted = new Set(
    branchResults(head).flatMap(({ taskId, output }) =>
      output === STORED_ELSEWHERE ? taskId : [],
    ),
  )
  if (inputTaskId !== null) wanted.add(inputTaskId)
  const missing = [...wanted].filter((taskId) => !outputs.has(taskId))
  if (missing.length > 0) {
    const read = await session.store.readOutputs(head.instanceId, missing)
    for (const [taskId, output] of read ?? []) outputs.set(taskId, output)
  }
  const input = inputTaskId === null ? undefined : outputs.get(inputTaskId)
  return present(handOut(head, outputs), entry, input)
}

/** @param head For the worker to keep. */
function present(
  head: SnapshotHead,
  entry: DispatchEntry,
  given: Uint8Array | undefined,
): Described {
  const isJoin = positionOf(head)?.kind === 'at-join'
  const input = isJoin ? undefined : (given ?? head.initialInput)
  const task = { ...entry, tags: entry.tags.slice() }
  return { head, task: toAvailableTask(head, task, input ?? new Uint8Array(0)) }
}
