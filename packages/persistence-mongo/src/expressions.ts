import {
  ENDED_STATUSES,
  isEnded,
  isOpen,
  type StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { Document } from 'mongodb'
import { END_KEY, endKey } from './end-key.ts'
import { type EntryDoc, FOREVER, hasSignal, MAX_EXPIRY, type SlotDoc } from './records.ts'

/** The server's clock in a pipeline, epoch milliseconds: the same throughout one command. */
export const NOW: Document = { $toLong: '$$NOW' }

/**
 * The token of a claim made now (rule C3): greater than every token of this document, and than the
 * microseconds of the server's clock before, so also than those of a document that was deleted.
 */
export const NEXT_TOKEN: Document = {
  $max: [{ $add: ['$tk', 1] }, { $multiply: [NOW, 1000] }],
}

/**
 * The token of a claim whose time is known here, after one that is known: as {@link NEXT_TOKEN},
 * where the document has had no greater one.
 */
export function nextToken(last: number, at: number): number {
  return Math.max(last + 1, at * 1000)
}

/** What counts the changes of a document that a claim must know of, one more. */
export const NEXT_CHANGE: Document = { $add: ['$y', 1] }

/** What the error begins with by which the server refuses a change, such as one whose time is off. */
const REFUSED = 'sayiir: refused'

/**
 * A stage that sets fields where a time is about the server's. Otherwise it fails: a stage that
 * changed nothing would count as a change on some servers. Filters could not compare with the
 * server's clock on all of them.
 *
 * @param conditions What must hold besides.
 */
export function setInTime(
  sets: Readonly<Record<string, unknown>>,
  at: number,
  toleranceMs: number,
  conditions: readonly Document[] = [],
): Document {
  const isRight = {
    $and: [
      ...conditions,
      { $gte: ['$$NOW', new Date(at - toleranceMs)] },
      { $lte: ['$$NOW', new Date(at + toleranceMs)] },
    ],
  }
  return { $replaceWith: { $cond: [isRight, { $mergeObjects: ['$$ROOT', sets] }, REFUSE] } }
}

/**
 * Fails, with an error that {@link isRefusal} knows. It is not a constant, which would be worked out
 * before it is known whether it is needed.
 */
export const REFUSE: Document = { $toInt: { $concat: [REFUSED, '$_id'] } }

/** Whether an error is the one of {@link REFUSE}. */
export function isRefusal(error: unknown): boolean {
  const { message, errmsg } = error as { message?: unknown; errmsg?: unknown }
  return String(message ?? errmsg).includes(REFUSED)
}

/** A value that is data, whatever it looks like: a text may begin with `$`. */
export function literal(value: unknown): Document {
  return { $literal: value }
}

/** When a claim made now expires. */
export function expiry(from: Document, ms: number | null): Document | number {
  return ms === null ? FOREVER : { $min: [{ $add: [from, ms] }, MAX_EXPIRY] }
}

/** What a claim puts into an entry `$$v`, its token being the document's `tk`. */
export function claimFields(
  workerId: string,
  ttlMs: number | null,
  batch: string | null,
): Document {
  return {
    w: literal(workerId),
    k: '$tk',
    c: NOW,
    x: expiry(NOW, ttlMs),
    b: batch,
    d: { $add: ['$$v.d', 1] },
  }
}

/** The entries with `fields` put into those for which `condition` (about `$$v`) holds. */
export function changeEntries(condition: Document, fields: Document): Document {
  return {
    $map: {
      input: '$e',
      as: 'v',
      in: { $cond: [condition, { $mergeObjects: ['$$v', fields] }, '$$v'] },
    },
  }
}

/** Whether the instance hands its tasks out. */
const IS_OPEN: Document = {
  $and: [{ $eq: ['$s', 'in-progress'] }, { $eq: ['$cs', null] }, { $eq: ['$ps', null] }],
}

/** Entries that nobody holds, each with `z`: 0 if it is due, else when it will be. */
const FREE: Document = {
  $map: {
    input: {
      $filter: {
        input: '$e',
        as: 'v',
        cond: { $and: [{ $lte: ['$$v.x', NOW] }, { $ne: ['$$v.t', ''] }] },
      },
    },
    as: 'v',
    in: { $mergeObjects: ['$$v', { z: { $cond: [{ $gt: ['$$v.s', NOW] }, '$$v.s', 0] } }] },
  },
}

const HAS_ENDED: Document = { $in: ['$s', ENDED_STATUSES] }

const HAS_SIGNAL: Document = { $or: [{ $ne: ['$cs', null] }, { $ne: ['$ps', null] }] }

const LATEST_EXPIRY: Document = { $max: [1, { $max: '$e.x' }] }

/** When an entry needs somebody's care: its claim expires, a timer is over, it is hidden and becomes due. */
const CARE_OF_ENTRY: Document = {
  $cond: [
    { $eq: ['$$v.t', ''] },
    '$$v.s',
    {
      $cond: [
        { $gt: ['$$v.x', NOW] },
        '$$v.x',
        { $cond: [{ $and: [{ $gt: ['$$v.s', NOW] }, { $ne: ['$$v.t', '$q.t'] }] }, '$$v.s', null] },
      ],
    },
  ],
}

/**
 * Stages that derive from the entries what the indexes hold: `q`, the best entry that is free, `x`,
 * the routes where those that are free differ, and `u`, when the instance needs care, or has ended.
 */
export const DERIVE: readonly Document[] = [
  {
    $set: {
      q: {
        $let: {
          vars: {
            best: {
              $first: { $sortArray: { input: FREE, sortBy: { z: 1, o: 1, s: 1, t: 1 } } },
            },
          },
          in: {
            $cond: [
              { $and: [IS_OPEN, { $eq: [{ $type: '$$best' }, 'object'] }] },
              {
                p: '$$best.p',
                k: '$$best.o',
                r: '$$best.r',
                f: '$$best.f',
                t: '$$best.t',
                s: '$$best.s',
              },
              null,
            ],
          },
        },
      },
    },
  },
  {
    $set: {
      x: {
        $let: {
          vars: { routes: { $setUnion: [{ $map: { input: FREE, as: 'v', in: '$$v.r' } }, []] } },
          in: {
            $cond: [{ $and: [IS_OPEN, { $gt: [{ $size: '$$routes' }, 1] }] }, '$$routes', null],
          },
        },
      },
      u: {
        $cond: [
          IS_OPEN,
          { $min: { $map: { input: '$e', as: 'v', in: CARE_OF_ENTRY } } },
          {
            $cond: [HAS_ENDED, END_KEY, { $cond: [HAS_SIGNAL, LATEST_EXPIRY, null] }],
          },
        ],
      },
    },
  },
]

/** What of an instance, beside its entries, decides what the indexes hold. */
export interface Phase {
  /** Whether it hands its tasks out. */
  readonly isOpen: boolean
  readonly hasSignal: boolean
  /** Where it has ended, what tells so in the index of care; null: it has not. */
  readonly endKey: number | null
}

export const OPEN: Phase = { isOpen: true, hasSignal: false, endKey: null }

export function phaseOf(stored: StoredInstance): Phase {
  const { status } = stored.head.state
  return {
    isOpen: isOpen(stored),
    hasSignal: hasSignal(stored),
    endKey: isEnded(status) ? endKey(status, stored.head.updatedAt) : null,
  }
}

/** What {@link DERIVE} derives, worked out here, of entries that are all known. */
export function derive(
  { isOpen, hasSignal, endKey }: Phase,
  entries: readonly EntryDoc[],
  now: number,
): { readonly q: SlotDoc | null; readonly x: readonly string[] | null; readonly u: number | null } {
  if (endKey !== null) return { q: null, x: null, u: endKey }
  if (!isOpen) {
    return { q: null, x: null, u: hasSignal ? Math.max(1, ...entries.map(({ x }) => x)) : null }
  }
  const free = entries.filter((entry) => entry.x <= now && entry.t !== '')
  const best = free.toSorted((a, b) => late(a, now) - late(b, now) || a.o - b.o || a.s - b.s)[0]
  const routes = [...new Set(free.map(({ r }) => r))]
  const care = entries.map((entry) => {
    if (entry.t === '') return entry.s
    if (entry.x > now) return entry.x
    return entry.s > now && entry !== best ? entry.s : Number.POSITIVE_INFINITY
  })
  const first = Math.min(...care)
  return {
    q:
      best === undefined
        ? null
        : { p: best.p, k: best.o, r: best.r, f: best.f, t: best.t, s: best.s },
    x: routes.length > 1 ? routes : null,
    u: first === Number.POSITIVE_INFINITY ? null : first,
  }
}

function late({ s }: EntryDoc, now: number): number {
  return s > now ? s : 0
}
