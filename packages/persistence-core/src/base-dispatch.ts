import { compareIds } from './compare-ids.ts'
import {
  type DispatchEntry,
  type HeldClaim,
  isServed,
  orderKey,
  toAvailableTask,
} from './dispatch.ts'
import { BackendError, isUnreadable } from './errors.ts'
import {
  advanceTimer,
  availableEntries,
  controlIdle,
  entryOf,
  type InstanceRecord,
} from './instance.ts'
import { claimWith, type InstanceStore, update, type Versioned } from './instance-store.ts'
import { positionOf, toHead } from './snapshot.ts'
import type { AvailableTask, ClaimedTask, WorkerFilter } from './task-claim-store.ts'

/** Records read at a time. */
const PAGE = 100

/** Everything of the store after `from`, a page at a time. */
export async function* scan(
  store: InstanceStore,
  from: string | null = null,
): AsyncGenerator<Versioned> {
  for (let after = from; ; ) {
    const page = await store.listInstances(after, PAGE)
    yield* page
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    after = last.instanceId
  }
}

/**
 * The records of the store. One that can not be read is left out: what is wrong with it is told to who
 * asks for it by its id, and holds up nobody else.
 */
export async function* scanReadable(store: InstanceStore): AsyncGenerator<InstanceRecord> {
  for await (const stored of scan(store)) {
    const record = readable(stored)
    if (record !== null) yield record
  }
}

/** The record, or null where it can not be read. */
export function readable(stored: Versioned): InstanceRecord | null {
  try {
    return stored.record
  } catch (error) {
    return nullIfLost(error)
  }
}

/** A task that may be handed out, with the record that it was found in. */
export interface Candidate {
  readonly record: InstanceRecord
  readonly entry: DispatchEntry
}

/**
 * Every task that a worker may take now, best first. Looks at every instance: right for any store,
 * fast for none. Applies what is due on the way: pending signals of instances that nobody works
 * on, and timers.
 */
export async function candidates(
  store: InstanceStore,
  filter: WorkerFilter,
  workerId: string | null,
  agingIntervalMs: number,
): Promise<Candidate[]> {
  const found: Candidate[] = []
  const at = await store.now()
  for await (const listed of scanReadable(store)) {
    const record = await settle(store, listed, at)
    if (record === null) continue
    for (const entry of availableEntries(record, at)) {
      if (isServed(filter, record.snapshot.definitionHash, entry.tags))
        found.push({ record, entry })
    }
  }
  return found.sort((a, b) => compare(a, b, workerId, agingIntervalMs))
}

/** The record with pending signals and due timers applied, and stored so; null if it is gone. */
async function settle(
  store: InstanceStore,
  listed: InstanceRecord,
  at: number,
): Promise<InstanceRecord | null> {
  const apply = (record: InstanceRecord, now: number): InstanceRecord =>
    advanceTimer(controlIdle(record, now), now)
  if (apply(listed, at) === listed) return listed
  return update(store, listed.snapshot.instanceId, (before, now) => {
    const after = apply(before, now)
    return { after, reply: after }
  }).catch(nullIfLost)
}

/**
 * An instance that was found may be deleted before it is changed, or be written by a newer version:
 * then there is nothing to do.
 */
function nullIfLost(error: unknown): null {
  if (BackendError.is(error, 'NOT_FOUND') || isUnreadable(error)) return null
  throw error
}

function compare(
  a: Candidate,
  b: Candidate,
  workerId: string | null,
  agingIntervalMs: number,
): number {
  const failed = (one: Candidate): number =>
    workerId !== null && one.entry.lastFailedWorker === workerId ? 1 : 0
  return (
    failed(a) - failed(b) ||
    orderKey(a.entry, agingIntervalMs) - orderKey(b.entry, agingIntervalMs) ||
    a.entry.availableSince - b.entry.availableSince ||
    compareIds(a.record.snapshot.instanceId, b.record.snapshot.instanceId) ||
    compareIds(a.entry.taskId, b.entry.taskId)
  )
}

/** Claims the best of these, as many as `limit`; those that others took meanwhile are passed over. */
export async function claimBest(
  store: InstanceStore,
  from: readonly Candidate[],
  limit: number,
  worker: { readonly workerId: string; readonly ttlMs: number | null },
): Promise<ClaimedTask[]> {
  const claimed: ClaimedTask[] = []
  for (const { record, entry } of from) {
    if (claimed.length === limit) break
    const { instanceId } = record.snapshot
    const won = await update(store, instanceId, async (before, at) => {
      const { after, reply: claim } = await claimWith(store, before, entry.taskId, worker, at)
      return { after, reply: claim === null ? null : toClaimed(after, entry.taskId, claim) }
    }).catch(nullIfLost)
    if (won !== null) claimed.push(won)
  }
  return claimed
}

/** The task as its worker gets it. */
export function toClaimed(
  record: InstanceRecord,
  taskId: string,
  claim: HeldClaim,
): ClaimedTask | null {
  const entry = entryOf(record, taskId)
  if (entry === undefined) return null
  const { instanceId } = record.snapshot
  return {
    task: toTask(record, entry),
    claim: { instanceId, taskId, ...claim },
    head: toHead(record.snapshot),
  }
}

/** The task as a worker finds it. */
export function toTask({ snapshot }: InstanceRecord, entry: DispatchEntry): AvailableTask {
  const nothing = new Uint8Array(0)
  if (positionOf(snapshot)?.kind === 'at-join') return toAvailableTask(snapshot, entry, nothing)
  const { inputTaskId } = entry
  const before = inputTaskId === null ? undefined : snapshot.state.completedTasks.get(inputTaskId)
  return toAvailableTask(snapshot, entry, before?.output ?? snapshot.initialInput ?? nothing)
}

/** When the next thing becomes due that is not yet: a delay, a retry, a claim's end. */
export async function nextDueAt(store: InstanceStore, at: number): Promise<number | null> {
  let next = Infinity
  for await (const { entries } of scanReadable(store)) {
    for (const { availableSince, claim } of entries) {
      const due = Math.max(availableSince, claim === null ? 0 : (claim.expiresAt ?? Infinity))
      if (due > at) next = Math.min(next, due)
    }
  }
  return next === Infinity ? null : next
}
