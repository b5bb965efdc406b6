import { candidates, claimBest, readable, toClaimed } from './base-dispatch.ts'
import { compareIds } from './compare-ids.ts'
import { type CommitRecord, isHeldBy, isRepeated, isServed, orderKey } from './dispatch.ts'
import { BackendError } from './errors.ts'
import {
  advanceTimer,
  availableEntries,
  commit,
  entryOf,
  type InstanceRecord,
  recordCommit,
} from './instance.ts'
import { claimWith, type InstanceStore, type Step, update } from './instance-store.ts'
import type {
  ClaimedTask,
  ClaimNext,
  CommitReceipt,
  TaskClaimRef,
  TaskOutcome,
} from './task-claim-store.ts'

/** What a commit came to, before it looks for work elsewhere. */
interface Committed {
  readonly record: CommitRecord
  readonly next: ClaimedTask | null
  /** Whether a task of another instance may be claimed in its place. */
  readonly mayClaim: boolean
  /** Whether it was made before. */
  readonly isRepeat: boolean
}

/**
 * Rule D6. The outcome and a following task of the same instance are one compare-and-set. A task
 * of another instance is a second one: a crash between the two leaves the commit without it.
 */
export async function commitAndClaim(
  store: InstanceStore,
  ref: TaskClaimRef,
  outcome: TaskOutcome,
  claimNext: ClaimNext | undefined,
  agingIntervalMs: number,
): Promise<CommitReceipt> {
  const { instanceId, taskId, workerId } = ref
  const { record, next, mayClaim, isRepeat } = await update(
    store,
    instanceId,
    async (before, at): Promise<Step<Committed>> => {
      const repeated = repeatOf(before, ref)
      if (repeated !== null) {
        const reply = { record: repeated, next: null, mayClaim: false, isRepeat: true }
        return { after: before, reply }
      }
      const wasPaused = before.snapshot.state.status === 'paused'
      const committed = commit(before, ref, outcome, at)
      if (claimNext === undefined || wasPaused) {
        return {
          after: committed.after,
          reply: { record: committed.record, next: null, mayClaim: false, isRepeat: false },
        }
      }
      const own = await claimOwn(store, committed.after, workerId, claimNext, at, agingIntervalMs)
      if (own === null) {
        return {
          after: committed.after,
          reply: { record: committed.record, next: null, mayClaim: true, isRepeat: false },
        }
      }
      return {
        after: recordCommit(own.after, taskId, withNext(committed.record, own.reply)),
        reply: { record: committed.record, next: own.reply, mayClaim: false, isRepeat: false },
      }
    },
  )
  if (isRepeat) return firstReceipt(store, record)
  const { revision, status } = record
  if (!mayClaim || claimNext === undefined) return { revision, status, next }
  // The commit has landed, and is told as landed whatever becomes of the search.
  const elsewhere = await claimElsewhere(store, workerId, claimNext, agingIntervalMs).catch(
    nullIfFailed,
  )
  if (elsewhere !== null) {
    // The claim is the worker's, also where a repeat of the commit would not find it.
    await rememberNext(store, ref, record, elsewhere).catch(nullIfFailed)
  }
  return { revision, status, next: elsewhere }
}

async function claimElsewhere(
  store: InstanceStore,
  workerId: string,
  { ttlMs, ...filter }: ClaimNext,
  agingIntervalMs: number,
): Promise<ClaimedTask | null> {
  const found = await candidates(store, filter, workerId, agingIntervalMs)
  const [best = null] = await claimBest(store, found, 1, { workerId, ttlMs })
  return best
}

/** What the store refused is nothing; what is wrong in the program is still thrown. */
function nullIfFailed(error: unknown): null {
  if (BackendError.is(error)) return null
  throw error
}

/** What is remembered of this commit, if it was made before. */
function repeatOf(record: InstanceRecord, ref: TaskClaimRef): CommitRecord | null {
  const last = record.commits.get(ref.taskId)
  return isRepeated(last, ref) && !isHeldBy(entryOf(record, ref.taskId), ref) ? last : null
}

/** The first receipt; with the task that came with it, if that is still held. */
async function firstReceipt(store: InstanceStore, last: CommitRecord): Promise<CommitReceipt> {
  const { revision, status, next } = last
  if (next === null) return { revision, status, next }
  const stored = await store.readInstance(next.instanceId)
  const other = stored === null ? null : readable(stored)
  const entry = other === null ? undefined : entryOf(other, next.taskId)
  const held = isHeldBy(entry, { ...next, workerId: last.workerId })
  return {
    revision,
    status,
    next:
      held && other !== null && entry?.claim != null
        ? toClaimed(other, next.taskId, entry.claim)
        : null,
  }
}

/** The best task of the same instance, claimed; a retry that this worker failed itself is left for the general search. */
async function claimOwn(
  store: InstanceStore,
  before: InstanceRecord,
  workerId: string,
  { ttlMs, ...filter }: ClaimNext,
  at: number,
  agingIntervalMs: number,
): Promise<Step<ClaimedTask> | null> {
  const current = advanceTimer(before, at)
  const [best] = availableEntries(current, at)
    .filter((entry) => isServed(filter, current.snapshot.definitionHash, entry.tags))
    .filter((entry) => entry.lastFailedWorker !== workerId)
    .sort(
      (a, b) =>
        orderKey(a, agingIntervalMs) - orderKey(b, agingIntervalMs) ||
        a.availableSince - b.availableSince ||
        compareIds(a.taskId, b.taskId),
    )
  if (best === undefined) return null
  const { after, reply } = await claimWith(store, current, best.taskId, { workerId, ttlMs }, at)
  const claimed = reply === null ? null : toClaimed(after, best.taskId, reply)
  return claimed === null ? null : { after, reply: claimed }
}

function withNext(record: CommitRecord, { claim }: ClaimedTask): CommitRecord {
  const { instanceId, taskId, token } = claim
  return { ...record, next: { instanceId, taskId, token } }
}

/** Lets a repeat of the commit find the task that it brought. */
async function rememberNext(
  store: InstanceStore,
  ref: TaskClaimRef,
  record: CommitRecord,
  next: ClaimedTask,
): Promise<void> {
  await update(store, ref.instanceId, (before) => {
    const last = before.commits.get(ref.taskId)
    // The commit may have claimed its own task again, which is part of it and does not end it.
    const isOwn = last === undefined && isHeldBy(entryOf(before, ref.taskId), next.claim)
    return {
      after:
        isOwn || last?.token === record.token
          ? recordCommit(before, ref.taskId, withNext(record, next))
          : before,
      reply: undefined,
    }
  })
}
