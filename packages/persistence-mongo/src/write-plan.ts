import { type InstanceWrite, isOpen, type StoredInstance } from '@sayiir/persistence-core/adapter'
import type { Document, Filter } from 'mongodb'
import { type EntryUpdate, type KnownEntries, updateEntries } from './entry-update.ts'
import { eventDoc, eventKey, eventSets } from './event-update.ts'
import { derive, literal, NEXT_CHANGE, phaseOf, setInTime } from './expressions.ts'
import type { KnownDocument } from './known-documents.ts'
import {
  FORM,
  type InstanceDoc,
  type PayloadDoc,
  type ResultDoc,
  toEntryDoc,
  toHeadFields,
} from './records.ts'
import { commitSets, resultSets } from './tail-update.ts'

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
  /** The pipeline, as it is sent now. */
  update(): Document[]
  /**
   * The same for one that is sent alone. What most are, the commit of the only task, then goes by
   * the id, and the pipeline refuses what is not as it must be: a server finds a document by
   * nothing but its id for less. Among others a refusal would have all of them done again there.
   */
  lone(): LoneUpdate
  /** The document after it, where it was known before: a lone write that is refused may only have been wrong in that. */
  readonly document: KnownDocument | null
  /** The task of this instance that is claimed in the same step. */
  readonly own: string | null
  /** What is there if it lands; null: only the document tells. */
  readonly known: KnownEntries | null
}

/** An update of one document. */
interface LoneUpdate {
  readonly filter: Filter<InstanceDoc>
  readonly update: Document[]
}

/** Milliseconds by which waiting may prolong what a write's time may be off, at most. */
const MAX_WAIT_MS = 60_000

/**
 * How long a write has waited: for its payloads to be written, and for those before it. Its time is
 * still one within the call, so it need not be worked out again for that.
 */
export function elapsedMs(startedAt: number): number {
  return Math.min(Math.ceil(performance.now() - startedAt), MAX_WAIT_MS)
}

/**
 * What a write comes to in documents.
 *
 * @param startedAt When the store was asked for it, by the monotonic clock.
 * @param document What is there, if that is known.
 * @param isExact Leaves all that claims may have changed to the server.
 */
export function planWrite(
  write: InstanceWrite,
  id: string,
  payloads: WritePayloads,
  agingIntervalMs: number,
  startedAt: number,
  document: KnownDocument | null,
  isExact: boolean,
): WritePlan {
  const { instanceId, before, after, holds, claimNext } = write
  if (before === null) {
    const insert = newInstance(write, id, payloads, agingIntervalMs)
    const known = { care: insert.u, own: null }
    const filter = { _id: instanceId }
    const lone = (): LoneUpdate => ({ filter, update: [] })
    return { write, id, insert, filter, update: () => [], lone, document: null, own: null, known }
  }
  const own = isOpen(after) ? (claimNext?.own ?? null) : null
  const entries = updateEntries(write, own, id, agingIntervalMs, isExact)
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
    ...(entries.newToken === null ? undefined : { tk: { $lt: entries.newToken } }),
  }
  const stages = (there: KnownDocument | null, conditions: readonly Document[]): Document[] => {
    const sets = setsOf(write, before, id, payloads, own, entries, there)
    const toleranceMs = write.toleranceMs + elapsedMs(startedAt)
    return [setInTime(sets, write.at, toleranceMs, conditions), ...entries.stages]
  }
  const update = () => stages(null, [])
  const there = canSay(write, document, entries) ? document : null
  const conditions = write.plain === 'commit' ? conditionsOf(before, holds, entries, there) : null
  const lone = (): LoneUpdate =>
    conditions === null
      ? { filter, update: update() }
      : { filter: { _id: instanceId }, update: stages(there, conditions) }
  const known = entries.known
  const then = there === null ? null : documentAfter(write, there, id, own, entries)
  return { write, id, insert: null, filter, update, lone, document: then, own, known }
}

/** Whether a write can go by what is known of the document: that tells whether the claim is held. */
function canSay(
  { plain, holds, before }: InstanceWrite,
  document: KnownDocument | null,
  { newToken }: EntryUpdate,
): boolean {
  if (plain !== 'commit' || document === null) return false
  const claim = before?.entries[0]?.claim
  const isHeld = claim != null && claim.token === holds?.token && claim.token === document.token
  return isHeld && (newToken === null || newToken > document.token)
}

/** What a write makes of a document that is known. */
function documentAfter(
  { after, results, commit }: InstanceWrite,
  { changes, writes, outputs, commits, token }: KnownDocument,
  id: string,
  own: string | null,
  { newToken }: EntryUpdate,
): KnownDocument {
  const committed = commit === null ? [] : [commit.taskId]
  return {
    generation: after.generation,
    version: after.version,
    changes: changes + 1,
    writes: lastWrites(writes, id),
    outputs: [...new Set([...outputs, ...results.map(({ taskId }) => taskId)])],
    commits: [...new Set([...commits, ...committed])].filter((taskId) => taskId !== own),
    token: newToken ?? token,
  }
}

function lastWrites(writes: readonly string[], id: string): readonly string[] {
  return [...writes, id].slice(-REMEMBERED_WRITES)
}

/** What the filter of a plain commit asks for, as expressions; null: it can not be said. */
function conditionsOf(
  before: StoredInstance,
  holds: InstanceWrite['holds'],
  { newToken }: EntryUpdate,
  there: KnownDocument | null,
): readonly Document[] | null {
  if (there !== null) return [{ $eq: ['$g', there.generation] }, { $eq: ['$y', there.changes] }]
  if (holds?.token === undefined) return null
  return [
    { $eq: ['$g', before.generation] },
    { $eq: ['$n', before.version] },
    // It has no other task.
    { $eq: ['$e.t', literal([holds.taskId])] },
    { $eq: ['$e.w', literal([holds.workerId])] },
    { $eq: ['$e.k', [holds.token]] },
    ...(newToken === null ? [] : [{ $lt: ['$tk', newToken] }]),
  ]
}

function newInstance(
  { instanceId, after, event, results, at }: InstanceWrite,
  id: string,
  payloads: WritePayloads,
  agingIntervalMs: number,
): InstanceDoc {
  const { head } = after
  const entries = after.entries.map((entry) =>
    toEntryDoc(instanceId, entry, head.definitionHash, agingIntervalMs),
  )
  return {
    _id: instanceId,
    v: FORM,
    g: after.generation,
    w: [id],
    y: 1,
    ...toHeadFields(after),
    c: head.createdAt,
    i: payloads.initialInput ?? null,
    f: payloads.finalOutput ?? null,
    e: entries,
    tk: 0,
    ...derive(phaseOf(after), entries, at),
    l: payloads.results,
    lo: results.at(-1)?.order ?? 0,
    cm: [],
    pa: hasParts(payloads),
    rg: 0,
    rv: [],
    cv: [],
    ev:
      event === null || payloads.event === null
        ? []
        : [eventDoc(event.signalName, payloads.event, id)],
    ek: event?.eventId == null ? [] : [eventKey(event.signalName, event.eventId)],
  }
}

/** Whether something is in chunks. */
function hasParts({ initialInput, finalOutput, results, event }: WritePayloads): boolean {
  return [initialInput, finalOutput, event, ...results.map(({ p }) => p)].some(
    (payload) => payload != null && 'b' in payload,
  )
}

/** What the pipeline's first stage sets: all of it or nothing. The others follow from what is there. */
function setsOf(
  write: InstanceWrite,
  before: StoredInstance,
  id: string,
  payloads: WritePayloads,
  own: string | null,
  { sets: entrySets }: EntryUpdate,
  there: KnownDocument | null,
): Record<string, unknown> {
  const appended = { $concatArrays: ['$w', [literal(id)]] }
  const sets: Record<string, unknown> = {
    ...literals(changedHeadFields(before, write.after)),
    w:
      there === null
        ? { $slice: [appended, -REMEMBERED_WRITES] }
        : literal(lastWrites(there.writes, id)),
    y: there === null ? NEXT_CHANGE : there.changes + 1,
    ...resultSets(write, payloads.results, there),
    ...commitSets(write, id, own, there),
    ...eventSets(write, payloads.event, id),
    ...entrySets,
  }
  if (payloads.initialInput !== undefined) sets.i = literal(payloads.initialInput)
  if (payloads.finalOutput !== undefined) sets.f = literal(payloads.finalOutput)
  if (hasParts(payloads)) sets.pa = true
  return sets
}

/** Of the fields of a head those that may be others than before: each costs the server something. */
function changedHeadFields(
  before: StoredInstance,
  after: StoredInstance,
): Readonly<Record<string, unknown>> {
  const { s, d, qe, cs, ps, ...rest } = toHeadFields(after)
  return {
    ...rest,
    ...(s === before.head.state.status ? undefined : { s }),
    ...(d === before.head.definitionHash ? undefined : { d }),
    ...(qe === before.queuedEvents ? undefined : { qe }),
    ...(cs === null && before.cancel === null ? undefined : { cs }),
    ...(ps === null && before.pause === null ? undefined : { ps }),
  }
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
