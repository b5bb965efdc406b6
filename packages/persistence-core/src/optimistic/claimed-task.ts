import type { DispatchEntry } from '../dispatch.ts'
import { toAvailableTask } from '../dispatch.ts'
import { positionOf, type SnapshotHead } from '../snapshot.ts'
import { STORED_ELSEWHERE } from '../stored-elsewhere.ts'
import type { AvailableTask, ClaimedTask } from '../task-claim-store.ts'
import { branchResults } from './branches.ts'
import { InstanceEdit, withClaim } from './instance-edit.ts'
import type { Session } from './session.ts'
import { handOut } from './snapshot-store.ts'
import type { ClaimedEntry, FoundTask, StoredInstance } from './store.ts'

/** What was found, with the instance that it is of. */
interface Found {
  readonly stored: StoredInstance
  readonly entry: DispatchEntry
}

/** Outputs that are at hand, by task. */
export type Outputs = ReadonlyMap<string, Uint8Array>

/**
 * A claimed task with all that its worker needs; a delay or signal that stood before it is gone on
 * from. Null: it was lost meanwhile.
 *
 * @param written The instance that was written in the same step.
 */
export async function toClaimedTask(
  session: Session,
  claimed: ClaimedEntry,
  written: StoredInstance | null = null,
  outputs?: Outputs,
): Promise<ClaimedTask | null> {
  const { instanceId, taskId, claim, deliveries } = claimed
  const of = claimed.stored ?? written
  if (of === null) return null
  const stored = withClaim(of, taskId, claim, deliveries)
  session.cache.set(stored)
  const ref = { instanceId, taskId, workerId: claim.workerId, token: claim.token }
  const found = await goneOn(session, stored, taskId, ref)
  if (found === null) return null
  const { head, task } = await describe(session, found, claimed, outputs)
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
  return advanced === null || now === undefined ? null : { stored: advanced, entry: now }
}

async function describe(
  session: Session,
  { stored, entry }: Found,
  found: FoundTask,
  known?: Outputs,
): Promise<{ readonly head: SnapshotHead; readonly task: AvailableTask }> {
  const { head } = stored
  const { instanceId } = head
  const isJoin = positionOf(head)?.kind === 'at-join'
  const outputs = new Map([...(known ?? []), ...(found.outputs ?? [])])
  if (found.input !== undefined && entry.inputTaskId !== null && !isSignalInput(found, entry))
    outputs.set(entry.inputTaskId, found.input)
  const wanted = new Set<string>()
  for (const { taskId, output } of branchResults(head)) {
    if (output === STORED_ELSEWHERE && !outputs.has(taskId)) wanted.add(taskId)
  }
  const { inputTaskId } = entry
  if (!isJoin && inputTaskId !== null && !outputs.has(inputTaskId)) wanted.add(inputTaskId)
  if (wanted.size > 0) {
    const read = await session.store.readOutputs(instanceId, [...wanted])
    for (const [taskId, output] of read ?? []) outputs.set(taskId, output)
  }
  const branches = new Map(Array.from(outputs, ([taskId, output]) => [taskId, { taskId, output }]))
  const filled = handOut(head, branches)
  const nothing = new Uint8Array(0)
  const before = inputTaskId === null ? undefined : outputs.get(inputTaskId)
  const input = isJoin ? nothing : (before ?? head.initialInput?.slice() ?? nothing)
  const task = toAvailableTask(filled, { ...entry, tags: [...entry.tags] }, input)
  return { head: filled, task }
}

/** Whether the input that came along is of before the signal was gone on from. */
function isSignalInput(found: FoundTask, entry: DispatchEntry): boolean {
  const before = found.stored?.entries.find(({ taskId }) => taskId === found.taskId)
  return before?.inputTaskId !== entry.inputTaskId
}
