import type { InstanceWrite } from '@sayiir/persistence-core/adapter'
import { isEnded, isOpen } from '@sayiir/persistence-core/adapter'
import type { Document, Filter } from 'mongodb'
import {
  changeEntries,
  claimFields,
  DERIVE,
  derive,
  literal,
  NEXT_TOKEN,
  NOW,
} from './expressions.ts'
import {
  type CommitDoc,
  digest,
  type EntryDoc,
  type EventDoc,
  FORM,
  type InstanceDoc,
  type PayloadDoc,
  type ResultDoc,
  toEntryDoc,
  toHeadFields,
} from './records.ts'

/** Ids of writes that a document remembers: so many others may come before one is sent again. */
export const REMEMBERED_WRITES = 8

/** Payloads of a write, as the document will have them. */
export interface WritePayloads {
  /** Undefined: as it is. */
  readonly initialInput: PayloadDoc | null | undefined
  readonly finalOutput: PayloadDoc | null | undefined
  readonly results: readonly ResultDoc[]
  readonly event: PayloadDoc | null
}

/** A change as the server gets it. */
export interface WritePlan {
  readonly write: InstanceWrite
  /** Names it, so that it is recognised when it was sent twice. */
  readonly id: string
  /** A new instance. */
  readonly insert: InstanceDoc | null
  readonly filter: Filter<InstanceDoc>
  readonly update: readonly Document[]
  /** The task of this instance that is claimed in the same step. */
  readonly own: string | null
}

/** What a write comes to in documents. */
export function planWrite(
  write: InstanceWrite,
  id: string,
  payloads: WritePayloads,
  agingIntervalMs: number,
): WritePlan {
  const { instanceId, before, holds } = write
  if (before === null) {
    const insert = newInstance(write, id, payloads, agingIntervalMs)
    return { write, id, insert, filter: { _id: instanceId }, update: [], own: null }
  }
  const filter: Filter<InstanceDoc> = {
    _id: instanceId,
    g: before.generation,
    n: before.version,
    ...(holds === null
      ? undefined
      : {
          e: {
            $elemMatch: {
              t: holds.taskId,
              w: holds.workerId,
              ...(holds.token === undefined ? undefined : { k: holds.token }),
            },
          },
        }),
  }
  return { write, id, insert: null, filter, ...updateOf(write, id, payloads, agingIntervalMs) }
}

function newInstance(
  { instanceId, after, event, results, at }: InstanceWrite,
  id: string,
  payloads: WritePayloads,
  agingIntervalMs: number,
): InstanceDoc {
  const { head } = after
  const entries = after.entries.map((entry) =>
    toEntryDoc(entry, head.definitionHash, agingIntervalMs),
  )
  return {
    _id: instanceId,
    v: FORM,
    g: after.generation,
    w: [id],
    ...toHeadFields(after),
    c: head.createdAt,
    i: payloads.initialInput ?? null,
    f: payloads.finalOutput ?? null,
    e: entries,
    tk: 0,
    ...derive(isOpen(after), hasSignal(after), entries, at),
    l: payloads.results,
    lo: results.at(-1)?.order ?? 0,
    cm: [],
    pa: hasParts(payloads),
    rg: 0,
    rv: [],
    cv: [],
    ev: event === null || payloads.event === null ? [] : [eventDoc(event.signalName, payloads, id)],
    ek: event?.eventId == null ? [] : [eventKey(event.signalName, event.eventId)],
  }
}

function hasSignal({ cancel, pause }: InstanceWrite['after']): boolean {
  return cancel !== null || pause !== null
}

/** Whether something is in chunks. */
function hasParts({ initialInput, finalOutput, results, event }: WritePayloads): boolean {
  return [initialInput, finalOutput, event, ...results.map(({ p }) => p)].some(
    (payload) => payload != null && 'b' in payload,
  )
}

/** The id of an event, of any signal, in a few bytes: an instance remembers all that came. */
export function eventKey(signalName: string, eventId: string): string {
  return digest(JSON.stringify([signalName, eventId])).slice(0, 22)
}

function eventDoc(signalName: string, { event }: WritePayloads, id: string): EventDoc {
  return { s: signalName, p: event as PayloadDoc, y: id }
}

/** The pipeline. Its first stage writes all of it or nothing; the others follow from what is there. */
function updateOf(
  write: InstanceWrite,
  id: string,
  payloads: WritePayloads,
  agingIntervalMs: number,
): Pick<WritePlan, 'update' | 'own'> {
  const { after, at, toleranceMs, claimNext } = write
  const opens = isOpen(after)
  const own = opens ? (claimNext?.own ?? null) : null
  const sets: Record<string, unknown> = {
    ...literals(toHeadFields(after)),
    w: {
      $slice: [{ $concatArrays: ['$w', [literal(id)]] }, -REMEMBERED_WRITES],
    },
    ...resultSets(write, payloads),
    ...commitSets(write, id, own),
    ...eventSets(write, payloads, id),
  }
  if (payloads.initialInput !== undefined) sets.i = literal(payloads.initialInput)
  if (payloads.finalOutput !== undefined) sets.f = literal(payloads.finalOutput)
  if (hasParts(payloads)) sets.pa = true
  const stages: Document[] = []
  const known = knownEntries(write, agingIntervalMs)
  if (known === null) {
    sets.e = changedEntries(write, agingIntervalMs)
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
  } else {
    Object.assign(sets, knownSets(write, known, own, id))
  }
  const isInTime = { $lte: [{ $abs: { $subtract: [NOW, at] } }, toleranceMs] }
  const first = {
    $replaceWith: { $cond: [isInTime, { $mergeObjects: ['$$ROOT', sets] }, '$$ROOT'] },
  }
  return { update: [first, ...stages], own }
}

function literals(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  // Numbers and null are what they are.
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      typeof value === 'string' || (typeof value === 'object' && value !== null)
        ? literal(value)
        : value,
    ]),
  )
}

/** The entries after the write, where none stays as it is: then they are all known here. */
function knownEntries(
  { after, entries }: InstanceWrite,
  agingIntervalMs: number,
): readonly EntryDoc[] | null {
  if (entries.added.length !== after.entries.length) return null
  const { definitionHash } = after.head
  return entries.added.map((entry) =>
    toEntryDoc({ ...entry, claim: null, deliveries: 0 }, definitionHash, agingIntervalMs),
  )
}

function knownSets(
  { after, at, claimNext }: InstanceWrite,
  known: readonly EntryDoc[],
  own: string | null,
  id: string,
): Record<string, unknown> {
  const rest = known.filter(({ t }) => t !== own)
  const { q, x, u } = derive(isOpen(after), hasSignal(after), rest, at)
  const claimed = known.find(({ t }) => t === own)
  if (claimed === undefined || claimNext === null) {
    return { e: literal(known), q: literal(q), x: literal(x), u }
  }
  const {
    d,
    k,
    x: expires,
    ...fields
  } = claimFields(claimNext.request.workerId, claimNext.request.ttlMs, id)
  const entry = { ...literals({ ...claimed }), ...fields, d: 1, k: NEXT_TOKEN, x: expires }
  return {
    e: [...rest.map(literal), entry],
    tk: NEXT_TOKEN,
    q: literal(q),
    x: literal(x),
    u: u === null ? expires : { $min: [u, expires] },
  }
}

/** The entries after the write, those that stay with the claims that they have there. */
function changedEntries(
  { before, after, entries }: InstanceWrite,
  agingIntervalMs: number,
): Document {
  const { definitionHash } = after.head
  const toDoc = (entry: (typeof after.entries)[number]) =>
    toEntryDoc(entry, definitionHash, agingIntervalMs)
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

function resultSets(
  { after, removedResults, results }: InstanceWrite,
  payloads: WritePayloads,
): Record<string, unknown> {
  const sets: Record<string, unknown> = {}
  const last = results.at(-1)
  if (last !== undefined) sets.lo = last.order
  if (removedResults === 'all') {
    return { ...sets, l: literal(payloads.results), rg: after.version, rv: [] }
  }
  const replaced = [...removedResults, ...results.map(({ taskId }) => taskId)]
  if (replaced.length === 0) return sets
  const stays = { $not: [{ $in: ['$$v.t', literal(replaced)] }] }
  sets.l = {
    $concatArrays: [{ $filter: { input: '$l', as: 'v', cond: stays } }, literal(payloads.results)],
  }
  if (removedResults.length > 0) {
    const marked = { $setUnion: ['$rv', literal(removedResults)] }
    sets.rv = { $cond: ['$pa', marked, '$rv'] }
  }
  return sets
}

function commitSets(
  { before, entries, commit, claimNext }: InstanceWrite,
  id: string,
  own: string | null,
): Record<string, unknown> {
  const sets: Record<string, unknown> = {}
  const there = new Set(before?.entries.map(({ taskId }) => taskId))
  // Claimed since their last commit, and no entry is left that would tell.
  const voided = [...entries.removed, ...entries.added.map(({ taskId }) => taskId)].filter(
    (taskId) => taskId !== commit?.taskId && there.has(taskId),
  )
  if (voided.length > 0) {
    const isVoided = { $and: [{ $in: ['$$v.t', literal(voided)] }, { $gt: ['$$v.k', 0] }] }
    const claimed = { $filter: { input: '$e', as: 'v', cond: isVoided } }
    const marks = { $map: { input: claimed, as: 'v', in: { t: '$$v.t', k: '$$v.k' } } }
    const others = { $not: [{ $in: ['$$v.t', '$$marks.t'] }] }
    const kept = { $filter: { input: '$cv', as: 'v', cond: others } }
    const joined = { $let: { vars: { marks }, in: { $concatArrays: [kept, '$$marks'] } } }
    sets.cv = { $cond: ['$pa', joined, '$cv'] }
  }
  if (commit === null) return sets
  const { taskId, workerId, token, revision, status } = commit
  const record: CommitDoc = {
    t: taskId,
    v: (before?.version ?? 0) + 1,
    w: workerId,
    k: token,
    r: revision,
    s: status,
    b: claimNext === null ? null : id,
  }
  const forgotten = own === null ? [taskId] : [taskId, own]
  const stays = { $not: [{ $in: ['$$v.t', literal(forgotten)] }] }
  sets.cm = {
    $concatArrays: [{ $filter: { input: '$cm', as: 'v', cond: stays } }, literal([record])],
  }
  return sets
}

function eventSets(
  { after, takenEvent, event }: InstanceWrite,
  payloads: WritePayloads,
  id: string,
): Record<string, unknown> {
  if (isEnded(after.head.state.status)) return { ev: [], ek: [] }
  const sets: Record<string, unknown> = {}
  let events: Document | string = '$ev'
  if (takenEvent !== null) events = withoutFirst(takenEvent)
  if (event !== null && payloads.event !== null) {
    const added = literal([eventDoc(event.signalName, payloads, id)])
    events = { $concatArrays: [events, added] }
  }
  if (events !== '$ev') sets.ev = events
  if (event?.eventId != null) {
    const key = literal([eventKey(event.signalName, event.eventId)])
    sets.ek = { $concatArrays: ['$ek', key] }
  }
  return sets
}

/** The queue without the oldest event of a signal. */
export function withoutFirst(signalName: string): Document {
  const isIts = { $eq: ['$$v.s', literal(signalName)] }
  const first = { $first: { $filter: { input: '$ev', as: 'v', cond: isIts } } }
  return {
    $let: {
      vars: { first },
      in: { $filter: { input: '$ev', as: 'v', cond: { $ne: ['$$v.y', '$$first.y'] } } },
    },
  }
}
