import {
  type DispatchEntry,
  isEnded,
  isLive,
  isOpen,
  TIMER_TASK_ID,
} from '@sayiir/persistence-core/adapter'
import type { Attributes } from './expressions.ts'
import type { State } from './instance-item.ts'
import { type Keys, shardOf } from './keys.ts'
import { classOf, type TaskClass } from './task-class.ts'

/** For claims that never expire: later than any time that there is. */
export const NEVER = 9e15
/** Claims of one worker that follow each other within this time need no new place in the index. */
const MAX_GRID_MS = 4096

/**
 * In which part of its time an index key may lie: a key's fraction says what there is behind it, so
 * that tasks can be counted without reading them.
 */
export const FRACTION = {
  /** One entry: a task that waits, or a claim. */
  one: 0,
  /** A timer that has no task. */
  timer: 0.25,
  /** Several entries, signals, or a claim on a paused instance: the instance tells. */
  several: 0.5,
} as const

/** Where an instance stands in the index, and in the directory. */
export interface IndexKeys {
  /** Attributes of its own item. */
  readonly attributes: Attributes
  /** When it has to be looked at again whatever workers serve; null: never. */
  readonly dueAt: number | null
  /** Classes that it has waiting tasks of and does not stand for itself, with the time of the first: each needs a marker. */
  readonly markers: ReadonlyMap<string, number>
  /** All classes of its waiting tasks. */
  readonly classes: readonly TaskClass[]
}

/** What index keys are made from. */
export interface IndexKeyOptions {
  readonly keys: Keys
  readonly shards: number
  /** Epoch milliseconds. */
  readonly now: number
  /** The instance's item so far: a key that is still good is kept, since a changed one costs two writes. */
  readonly before: Attributes
}

/** An instance's place in the indexes; core's rules say what is runnable, this only where to find it. */
export function indexKeys(state: State, options: IndexKeyOptions): IndexKeys {
  const { keys, shards, before } = options
  const { instanceId, definitionHash, updatedAt, state: work } = state.head
  const shard = shardOf(instanceId, shards)
  // Stays when the number of shards changes.
  const listed = { l: before.l ?? number(shard) }
  if (isEnded(work.status)) {
    return {
      attributes: { ...listed, wp: { S: keys.ended(shard, work.status) }, ws: number(updatedAt) },
      dueAt: null,
      markers: new Map(),
      classes: [],
    }
  }
  const several = state.entries.length > 1
  const waiting = waitingByClass(state, options.now)
  const due = dueAt(state, options)
  const attributes: Record<string, Attributes[string]> = { ...listed }
  const classes = [...waiting.values()]
  let own: TaskClass | null = null
  if (due !== null) {
    attributes.wp = { S: keys.due(shard) }
    attributes.ws = number(due)
  } else {
    // The class that it stands in already may stay; with several, the others have markers.
    const [first] = classes.toSorted((a, b) => a.since - b.since)
    const kept = classes.find(({ one }) => keys.ready(shard, one.id) === before.wp?.S)
    const place = kept ?? first
    if (place !== undefined) {
      own = place.one
      attributes.wp = { S: keys.ready(shard, own.id) }
      attributes.ws = number(place.since + (several ? FRACTION.several : FRACTION.one))
    } else if (work.status === 'paused') {
      // To be counted.
      const wp = keys.paused(shard)
      attributes.wp = { S: wp }
      attributes.ws = before.wp?.S === wp && before.ws !== undefined ? before.ws : number(updatedAt)
    }
  }
  const markers = new Map<string, number>()
  for (const { one, since } of classes) if (one !== own) markers.set(one.id, since)
  return { attributes, dueAt: due, markers, classes: classes.map(({ one }) => one) }

  function waitingByClass({ entries }: State, now: number) {
    const classes = new Map<string, { readonly one: TaskClass; since: number }>()
    if (!isOpen(state)) return classes
    for (const entry of entries) {
      if (entry.taskId === TIMER_TASK_ID || isLive(entry.claim, now)) continue
      const one = classOf(definitionHash, entry)
      const known = classes.get(one.id)
      if (known === undefined) classes.set(one.id, { one, since: entry.availableSince })
      else known.since = Math.min(known.since, entry.availableSince)
    }
    return classes
  }
}

/** When the instance has to be looked at again, whatever workers serve; null: never. */
function dueAt(state: State, { keys, before, now }: IndexKeyOptions): number | null {
  const { entries, cancel, pause } = state
  const claims = entries.filter(({ claim }) => isLive(claim, now))
  const expiries = claims.map(({ claim }) => claim?.expiresAt ?? NEVER)
  if (cancel !== null || pause !== null) {
    // Whoever finds that nobody is at work on it any more applies the signal (rule G4).
    const last = Math.max(0, ...expiries)
    return last === NEVER ? NEVER + 1 : atLeast(last, FRACTION.several)
  }
  const [timer] = entries.filter(({ taskId }) => taskId === TIMER_TASK_ID)
  if (timer !== undefined) {
    return state.head.state.status === 'paused'
      ? null
      : atLeast(timer.availableSince, FRACTION.timer)
  }
  if (expiries.length === 0) return null
  const expiry = Math.min(...expiries)
  const isPlain = entries.length === 1 && state.head.state.status !== 'paused'
  const fraction = isPlain ? FRACTION.one : FRACTION.several
  if (expiry === NEVER) return NEVER + (fraction === FRACTION.one ? 0 : 1)
  // A look that comes a little early finds a live claim, and goes on.
  const grid = gridOf(claims, expiry)
  const kept = keys.isDue(before.wp?.S) ? Number(before.ws?.N) : Number.NaN
  const isKept = kept % 1 === fraction && kept <= expiry && kept > expiry - grid
  return isKept ? kept : atLeast(expiry - (expiry % Math.max(grid / 2, 1)), fraction)
}

/** How early a claim may be looked at: an eighth of its time. */
function gridOf(claims: readonly DispatchEntry[], expiry: number): number {
  const ttl = Math.min(...claims.map(({ claim }) => expiry - (claim?.claimedAt ?? expiry)))
  return Math.min(2 ** Math.floor(Math.log2(Math.max(ttl / 8, 1))), MAX_GRID_MS)
}

function atLeast(time: number, fraction: number): number {
  return Math.floor(time) + fraction
}

function number(value: number): { readonly N: string } {
  return { N: String(value) }
}
