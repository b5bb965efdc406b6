import { compareIds } from '../compare-ids.ts'
import {
  type CommitRecord,
  isHeldBy,
  isRepeated,
  isServed,
  orderKey,
  type PlanOptions,
} from '../dispatch.ts'
import { isUnreadable } from '../errors.ts'
import { applyOutcome } from '../outcome.ts'
import { applySignals } from '../pending-signals.ts'
import type {
  ClaimedTask,
  ClaimNext,
  CommitReceipt,
  CommitTaskParams,
  TaskClaimRef,
  TaskOutcome,
} from '../task-claim-store.ts'
import { toClaimedTask } from './claimed-task.ts'
import { InstanceEdit } from './instance-edit.ts'
import { plainCommit } from './plain-commit.ts'
import type { Basis, Decision, Landed, Session } from './session.ts'
import { settle } from './settle.ts'
import type { InstanceWrite, StoredInstance } from './store.ts'

/** Rule D6: the outcome, the claim given up, the following task claimed, in one write. */
export function decideCommit(
  session: Session,
  before: StoredInstance,
  basis: Basis,
  params: CommitTaskParams,
): Decision<CommitReceipt> | Promise<Decision<CommitReceipt>> {
  const write = plainCommit(before, basis.at, params)
  if (write === null) return decideAnyCommit(session, before, basis, params)
  const { revision, status } = write.commit
  return {
    write,
    reply: (after, result) => receiptOf(session, params, { revision, status }, after, result),
  }
}

async function decideAnyCommit(
  session: Session,
  before: StoredInstance,
  { at, isGuess }: Basis,
  params: CommitTaskParams,
): Promise<Decision<CommitReceipt>> {
  const { claim, outcome, claimNext } = params
  const { store, options } = session
  const { taskId, workerId } = claim
  const edit = InstanceEdit.of(store, before, at)
  if (!isGuess && !isHeldBy(edit.entryOf(taskId), claim)) {
    const record = await store.readCommit(claim.instanceId, taskId)
    if (isRepeated(record, claim))
      return { write: null, reply: () => firstReceipt(session, record) }
  }
  edit.mustBeOpen()
  const { token } = edit.mustHold(claim)
  const wasPaused = edit.head.state.status === 'paused'
  await apply(edit, claim, outcome)
  const { revision, state } = edit.head
  const { status } = state
  let next: InstanceWrite['claimNext'] = null
  if (claimNext !== undefined && !wasPaused) {
    const { ttlMs, ...filter } = claimNext
    const own = await bestOwn(edit, workerId, filter, options.agingIntervalMs)
    next = { own, request: { filter, workerId, ttlMs, limit: 1 } }
  }
  return {
    write: edit.toWrite({
      holds: { ...claim, token },
      commit: { taskId, workerId, token, revision, status },
      claimNext: next,
    }),
    reply: (after, result) => receiptOf(session, params, { revision, status }, after, result),
  }
}

/** The receipt of a commit that was written; at once, where all that it takes is at hand. */
function receiptOf(
  session: Session,
  { claim, outcome }: CommitTaskParams,
  { revision, status }: Pick<CommitRecord, 'revision' | 'status'>,
  after: StoredInstance | null,
  result: Landed | null,
): CommitReceipt | Promise<CommitReceipt> {
  const claimed = result?.next ?? null
  const due = result?.due ?? []
  const describe = (): ClaimedTask | null | Promise<ClaimedTask | null> => {
    if (claimed === null) return null
    const isOwn = claimed.instanceId === claim.instanceId && outcome.kind === 'completed'
    const output = isOwn ? { taskId: claim.taskId, output: outcome.output } : undefined
    return toClaimedTask(session, claimed, after, output)
  }
  const next = due.length > 0 ? settle(session, due).then(describe) : describe()
  return next instanceof Promise
    ? next.catch(nullIfUnreadable).then((task) => ({ revision, status, next: task }))
    : { revision, status, next }
}

/** The commit has landed, whether or not the task that it brought can be read. */
function nullIfUnreadable(error: unknown): null {
  if (isUnreadable(error)) return null
  throw error
}

/** The outcome, then what is pending, a cancel before a pause. */
async function apply(edit: InstanceEdit, claim: TaskClaimRef, outcome: TaskOutcome): Promise<void> {
  const { taskId } = claim
  let options: PlanOptions = {}
  if (outcome.kind === 'completed') {
    if (edit.refersTo(taskId)) await edit.keepBranches(taskId)
    options = { completed: taskId }
  } else if (outcome.kind === 'retry') options = { retried: taskId }
  const after = applyOutcome(edit.head, claim, outcome, edit.at)
  const controlled = applySignals(after, edit.pendingSignals, edit.at)
  if (outcome.kind === 'completed') edit.putResult({ taskId, output: outcome.output })
  await edit.change(controlled, options)
}

/** The best task of the same instance; a retry that this worker failed itself is left for the general search. */
async function bestOwn(
  edit: InstanceEdit,
  workerId: string,
  filter: Omit<ClaimNext, 'ttlMs'>,
  agingIntervalMs: number,
): Promise<string | null> {
  if (edit.isOpen) await edit.advanceTimer()
  if (!edit.isOpen) return null
  const [best] = edit.freeEntries
    .filter(({ tags }) => isServed(filter, edit.head.definitionHash, tags))
    .filter(({ lastFailedWorker }) => lastFailedWorker !== workerId)
    .sort(
      (a, b) =>
        orderKey(a, agingIntervalMs) - orderKey(b, agingIntervalMs) ||
        a.availableSince - b.availableSince ||
        compareIds(a.taskId, b.taskId),
    )
  return best?.taskId ?? null
}

/** The first receipt, with the task that came with it if it is still held, and can be read. */
async function firstReceipt(session: Session, record: CommitRecord): Promise<CommitReceipt> {
  const { revision, status } = record
  return { revision, status, next: await nextOf(session, record).catch(nullIfUnreadable) }
}

async function nextOf(
  session: Session,
  { workerId, next }: CommitRecord,
): Promise<ClaimedTask | null> {
  if (next === null) return null
  const { instanceId, taskId } = next
  const { stored } = await session.read(instanceId)
  const entry = stored?.entries.find((one) => one.taskId === taskId)
  const claim = entry?.claim
  if (stored === null || claim == null || !isHeldBy(entry, { ...next, workerId })) return null
  const claimed = { instanceId, taskId, claim, deliveries: entry?.deliveries ?? 1, stored }
  return toClaimedTask(session, claimed)
}
