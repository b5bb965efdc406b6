import type { InstanceWrite } from '@sayiir/persistence-core/adapter'
import type { Document } from 'mongodb'
import {
  changeEntries,
  claimFields,
  DERIVE,
  derive,
  literal,
  NEXT_TOKEN,
  NOW,
  nextToken,
  phaseOf,
} from './expressions.ts'
import { type EntryDoc, entryClaim, toEntryDoc } from './records.ts'

/** What a write does to the dispatch entries, and what is known of it without a look at the document. */
export interface EntryUpdate {
  /** What the stage that writes all or nothing sets. */
  readonly sets: Readonly<Record<string, unknown>>
  /** What comes after it. */
  readonly stages: readonly Document[]
  /** A token that it gives, which must be greater than the last one there; null: none. */
  readonly newToken: number | null
  /** Null: only the document tells. */
  readonly known: KnownEntries | null
}

/** What is there after a write. */
export interface KnownEntries {
  /** When the instance needs care. */
  readonly care: number | null
  /** The entry of the task that was claimed in the same step. */
  readonly own: EntryDoc | null
}

/**
 * The entries after a write.
 *
 * @param own The task of this instance to be claimed in the same step.
 * @param isExact Leaves all that claims may have changed to the server.
 */
export function updateEntries(
  write: InstanceWrite,
  own: string | null,
  id: string,
  agingIntervalMs: number,
  isExact: boolean,
): EntryUpdate {
  const known = isExact ? null : knownEntries(write, agingIntervalMs)
  if (known !== null) return replaceEntries(write, known, own, id)
  const sets: Record<string, unknown> = { e: changedEntries(write, agingIntervalMs) }
  const stages: Document[] = []
  const { claimNext } = write
  if (own !== null && claimNext !== null) {
    const { workerId, ttlMs } = claimNext.request
    // Nothing is claimed where the first stage wrote nothing.
    const isFree = [
      { $eq: [{ $arrayElemAt: ['$w', -1] }, literal(id)] },
      { $eq: ['$$v.t', literal(own)] },
      { $lte: ['$$v.x', NOW] },
    ]
    sets.tk = NEXT_TOKEN
    const fields = claimFields(workerId, ttlMs, id)
    stages.push({ $set: { e: changeEntries({ $and: isFree }, fields) } })
  }
  stages.push(...DERIVE)
  return { sets, stages, newToken: null, known: null }
}

/** The entries after the write, where none stays as it is: then they are all known here. */
function knownEntries(
  { instanceId, after, entries }: InstanceWrite,
  agingIntervalMs: number,
): readonly EntryDoc[] | null {
  if (entries.added.length !== after.entries.length) return null
  const { definitionHash } = after.head
  return entries.added.map((entry) =>
    toEntryDoc(
      instanceId,
      { ...entry, claim: null, deliveries: 0 },
      definitionHash,
      agingIntervalMs,
    ),
  )
}

/**
 * Entries that are all known, with the claim of one of them: its times are those of the write, and
 * its token is greater than the one that it comes after. Where the document has had a greater one,
 * which is rare, the write is refused.
 */
function replaceEntries(
  { after, at, holds, claimNext }: InstanceWrite,
  known: readonly EntryDoc[],
  own: string | null,
  id: string,
): EntryUpdate {
  let entries = known
  let token: number | null = null
  if (own !== null && claimNext !== null) {
    const { workerId, ttlMs } = claimNext.request
    const next = nextToken(holds?.token ?? 0, at)
    token = next
    entries = known.map((entry) =>
      entry.t === own ? entryClaim(entry, workerId, next, at, ttlMs, id) : entry,
    )
  }
  const { q, x, u } = derive(phaseOf(after), entries, at)
  return {
    sets: {
      e: literal(entries),
      q: literal(q),
      x: literal(x),
      u,
      ...(token === null ? undefined : { tk: token }),
    },
    stages: [],
    newToken: token,
    known: { care: u, own: entries.find(({ t, w }) => t === own && w !== null) ?? null },
  }
}

/** Entries of which some stay, with the claims that they have there. */
function changedEntries(
  { instanceId, before, after, entries }: InstanceWrite,
  agingIntervalMs: number,
): Document {
  const { definitionHash } = after.head
  const toDoc = (entry: (typeof after.entries)[number]) =>
    toEntryDoc(instanceId, entry, definitionHash, agingIntervalMs)
  const added = entries.added.map((entry) => toDoc({ ...entry, claim: null, deliveries: 0 }))
  const gone = [...entries.removed, ...added.map(({ t }) => t)]
  // Another definition is another route for all of them.
  const moved =
    before?.head.definitionHash === definitionHash
      ? entries.moved
      : after.entries.filter(({ taskId }) => !gone.includes(taskId))
  const places = moved.map(toDoc).map(({ d, w, k, c, x, b, ...place }) => place)
  const changes: Document[] = []
  if (places.length > 0) {
    const place = {
      $filter: { input: literal(places), as: 'n', cond: { $eq: ['$$n.t', '$$v.t'] } },
    }
    changes.push({ $ifNull: [{ $first: place }, {}] })
  }
  if (entries.released.length > 0) {
    const isReleased = { $in: ['$$v.t', literal(entries.released)] }
    changes.push({ $cond: [isReleased, { w: null, x: 0, b: null }, {}] })
  }
  let kept: Document | string = '$e'
  if (gone.length > 0) {
    const stays = { $not: [{ $in: ['$$v.t', literal(gone)] }] }
    kept = { $filter: { input: kept, as: 'v', cond: stays } }
  }
  if (changes.length > 0) {
    kept = { $map: { input: kept, as: 'v', in: { $mergeObjects: ['$$v', ...changes] } } }
  }
  return { $concatArrays: [kept, literal(added)] }
}
