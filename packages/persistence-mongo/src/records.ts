import { createHash } from 'node:crypto'
import { BackendError, type InstanceStatus, type SignalRequest } from '@sayiir/persistence-core'
import {
  type DispatchEntry,
  decodeHead,
  encodeHead,
  type HeldClaim,
  orderKey,
  type PendingSignals,
  quote,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { Binary } from 'mongodb'

/** The form of an instance document; one more with every change that this reader would misread. */
export const FORM = 1

/** The expiry of a claim that never expires: later than any time, and still a safe integer. */
export const FOREVER = 9_000_000_000_000_000

/** The last instant that a claim can expire at, short of never. */
export const MAX_EXPIRY = 253_402_300_799_999

/** A payload: in place, or in chunks of its own. */
export type PayloadDoc = Binary | BlobDoc

/** Where a payload is that is too large to be in place. */
export interface BlobDoc {
  /** Its id. */
  readonly b: string
  /** Its bytes. */
  readonly z: number
}

/** A control signal. */
interface SignalDoc {
  readonly r: string | null
  readonly b: string | null
  readonly a: number
}

/** A dispatch entry, with its claim. */
export interface EntryDoc {
  /** Task. */
  readonly t: string
  /** Priority. */
  readonly p: number
  /** Rank: smaller is sooner. */
  readonly o: number
  /** Route: definition and tags. */
  readonly r: string
  /** The worker that failed it last; empty: none. */
  readonly f: string
  /** Available since. */
  readonly s: number
  /** Attempt. */
  readonly a: number
  /** Whose output is its input. */
  readonly i: string | null
  /** Deliveries. */
  readonly d: number
  /** Whether the position is a timer that must be advanced first. */
  readonly m: boolean
  /** Tags. */
  readonly g: readonly string[]
  /** Who holds it. */
  readonly w: string | null
  /** The token of its last claim, given up or not; 0: none. */
  readonly k: number
  /** Claimed at. */
  readonly c: number
  /** When its claim expires; 0: it has none. */
  readonly x: number
  /** Names what claimed it. */
  readonly b: string | null
}

/** The entry that the index of ready tasks has of an instance. */
export interface SlotDoc {
  readonly p: number
  /** Rank. */
  readonly k: number
  readonly r: string
  readonly f: string
  readonly t: string
  readonly s: number
}

/** An output in the tail. */
export interface ResultDoc {
  readonly t: string
  readonly o: number
  readonly p: PayloadDoc
}

/** What is remembered of a task's last commit. */
export interface CommitDoc {
  readonly t: string
  /** The instance's version after it. */
  readonly v: number
  readonly w: string
  readonly k: number
  readonly r: number
  readonly s: InstanceStatus
  /** Names the claim that came with it, if one was asked for. */
  readonly b: string | null
}

/** An event that waits. */
export interface EventDoc {
  readonly s: string
  readonly p: PayloadDoc
  /** Its own name. */
  readonly y: string
}

/** An instance. All times are epoch milliseconds. */
export interface InstanceDoc {
  readonly _id: string
  /** {@link FORM}. */
  readonly v: number
  readonly g: string
  /** Version: what a write compares. */
  readonly n: number
  /** The ids of the last writes, the newest at the end. */
  readonly w: readonly string[]
  /** Counts writes, and what happens to claims: who knows it knows all that a claim needs. */
  readonly y: number
  readonly s: InstanceStatus
  readonly d: string
  readonly r: number
  /** Created and updated at. */
  readonly c: number
  readonly m: number
  readonly h: string
  readonly i: PayloadDoc | null
  readonly f: PayloadDoc | null
  readonly cs: SignalDoc | null
  readonly ps: SignalDoc | null
  readonly e: readonly EntryDoc[]
  /** The greatest token given. */
  readonly tk: number
  readonly q: SlotDoc | null
  readonly x: readonly string[] | null
  /** When it needs care; of one that has ended, how and when, less than zero (see `endKey`). */
  readonly u: number | null
  /** The tail: the newest outputs. */
  readonly l: readonly ResultDoc[]
  readonly cm: readonly CommitDoc[]
  /** Whether there are, or may be, parts of it in the other collection. */
  readonly pa: boolean
  /** The order of the newest output. */
  readonly lo: number
  /** Names the set of results: another one after all of them went away. */
  readonly rg: number
  /** Tasks whose results in the other collection are void. */
  readonly rv: readonly string[]
  /** Commits of a task up to a token that are void. */
  readonly cv: readonly { readonly t: string; readonly k: number }[]
  readonly ev: readonly EventDoc[]
  /** How many. */
  readonly qe: number
  /** Ids of events that came, hashed. */
  readonly ek: readonly string[]
}

/** What is left of a deleted instance for a while, so that its tokens do not come again. */
export interface MarkerDoc {
  readonly _id: string
  readonly tk: number
  /** A generation whose parts have not been deleted yet. */
  readonly sw: string | null
  /** When that is to be done, and once it is, when the marker goes away. */
  readonly u: number
}

/** Longer routes are hashed: an index has no room for them on every server. */
const MAX_ROUTE_LENGTH = 120

/** The route of a task: what of it decides which workers take it. */
export function routeOf(definitionHash: string, tags: readonly string[]): string {
  const text = JSON.stringify([definitionHash, ...[...new Set(tags)].sort()])
  return text.length <= MAX_ROUTE_LENGTH ? text : digest(text)
}

/** Text of any length as one of 43 characters. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

export function toEntryDoc(
  instanceId: string,
  entry: DispatchEntry,
  definitionHash: string,
  agingIntervalMs: number,
): EntryDoc {
  const { claim } = entry
  return {
    t: entry.taskId,
    p: entry.priority,
    o: orderKey(entry, agingIntervalMs) + tieBreak(instanceId, entry.priority),
    r: routeOf(definitionHash, entry.tags),
    f: entry.lastFailedWorker ?? '',
    s: entry.availableSince,
    a: entry.attempt,
    i: entry.inputTaskId,
    d: entry.deliveries,
    m: entry.timer,
    g: entry.tags,
    w: claim?.workerId ?? null,
    k: claim?.token ?? 0,
    c: claim?.claimedAt ?? 0,
    x: claim === null ? 0 : (claim.expiresAt ?? FOREVER),
    b: null,
  }
}

function toEntry(doc: EntryDoc): DispatchEntry {
  return {
    taskId: doc.t,
    priority: doc.p,
    tags: doc.g,
    attempt: doc.a,
    lastFailedWorker: doc.f === '' ? null : doc.f,
    availableSince: doc.s,
    inputTaskId: doc.i,
    deliveries: doc.d,
    timer: doc.m,
    claim: toClaim(doc),
  }
}

/** No tie-break is greater. */
export const MAX_TIE_BREAK: number = 0.9999

/** Tie-breaks that a double has room for behind a rank, for each priority. */
const TIE_BREAKS = 512

/**
 * A part of a millisecond by which instances differ in tasks of equal rank: what has waited longer
 * comes first, and else in any order. Without it a thousand that were stored at once would all be of one rank, and a
 * server that sorts what it finds would sort all of them to find the best one.
 */
function tieBreak(instanceId: string, priority: number): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < instanceId.length; at += 1)
    hash = Math.imul(hash ^ instanceId.charCodeAt(at), 0x01000193)
  // Of equal ranks, that of a less urgent task is of one that has waited longer.
  return (5 - priority + ((hash >>> 9) % TIE_BREAKS) / TIE_BREAKS) / 5
}

/** An entry, claimed at a time that is known here. */
export function entryClaim(
  entry: EntryDoc,
  workerId: string,
  token: number,
  at: number,
  ttlMs: number | null,
  batch: string,
): EntryDoc {
  const x = ttlMs === null ? FOREVER : Math.min(at + ttlMs, MAX_EXPIRY)
  return { ...entry, w: workerId, k: token, c: at, x, b: batch, d: entry.d + 1 }
}

export function hasSignal({ cancel, pause }: PendingSignals): boolean {
  return cancel !== null || pause !== null
}

export function toClaim({ w, k, c, x }: EntryDoc): HeldClaim | null {
  if (w === null) return null
  return { workerId: w, token: k, claimedAt: c, expiresAt: x === FOREVER ? null : x }
}

function toSignalDoc(signal: PendingSignals['cancel']): SignalDoc | null {
  if (signal === null) return null
  return { r: signal.reason, b: signal.requestedBy, a: signal.requestedAt }
}

function toSignal(kind: SignalRequest['kind'], doc: SignalDoc | null): SignalRequest | null {
  if (doc === null) return null
  return { kind, reason: doc.r, requestedBy: doc.b, requestedAt: doc.a }
}

/** The payloads of a head, as bytes. */
export interface HeadPayloads {
  readonly initialInput: Uint8Array | null
  readonly finalOutput: Uint8Array | null
}

/** What of an instance makes a {@link StoredInstance}. */
export type StoredDoc = Pick<
  InstanceDoc,
  '_id' | 'v' | 'g' | 'n' | 'd' | 'r' | 'c' | 'm' | 'h' | 'cs' | 'ps' | 'e' | 'qe'
>

export function toStored(doc: StoredDoc, payloads: HeadPayloads): StoredInstance {
  checkForm(doc)
  return {
    generation: doc.g,
    version: doc.n,
    head: decodeHead(doc.h, {
      instanceId: doc._id,
      definitionHash: doc.d,
      revision: doc.r,
      createdAt: doc.c,
      updatedAt: doc.m,
      ...payloads,
    }),
    entries: doc.e.map(toEntry),
    cancel: toSignal('cancel', doc.cs),
    pause: toSignal('pause', doc.ps),
    queuedEvents: doc.qe,
  }
}

/** @throws `SCHEMA` for a document of a newer version, `SERIALIZATION` for one that is none of ours. */
function checkForm({ _id: instanceId, v }: Pick<InstanceDoc, '_id' | 'v'>): void {
  if (v === FORM) return
  if (typeof v === 'number' && v > FORM) {
    throw new BackendError(
      'SCHEMA',
      `instance ${quote(instanceId)} is stored in form ${v}, and only ${FORM} is known: it was written by a newer version; upgrade`,
      { instanceId },
    )
  }
  throw new BackendError('SERIALIZATION', `instance ${quote(instanceId)} can not be read`, {
    instanceId,
  })
}

/** The fields of a head, without its payloads. */
export function toHeadFields({
  head,
  cancel,
  pause,
  queuedEvents,
  version,
}: StoredInstance): Pick<InstanceDoc, 'n' | 's' | 'd' | 'r' | 'm' | 'h' | 'cs' | 'ps' | 'qe'> {
  const { status } = head.state
  return {
    n: version,
    s: status,
    d: head.definitionHash,
    r: head.revision,
    m: head.updatedAt,
    h: encodeHead(head),
    cs: toSignalDoc(cancel),
    ps: toSignalDoc(pause),
    qe: queuedEvents,
  }
}
