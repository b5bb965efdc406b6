import type { Filter } from 'mongodb'
import type { Database } from './database.ts'
import { type InstanceDoc, MAX_TIE_BREAK } from './records.ts'

/** Priorities: 1 to 5. */
const PRIORITIES = [1, 2, 3, 4, 5] as const
/** Candidates that a window is to hold, at least. */
const WINDOW = 128
/** Candidates of a window that a search takes in besides those that are wanted, at least: more where others take them. */
const MIN_SLICE = 4
/** Steps to find out how wide a window must be, at most. */
const MAX_STEPS = 40
/** Tasks that are not yet due and that a search passes over at most, about. */
const MAX_AHEAD = 16
/** Milliseconds for which it stands how many of them there are. */
const AHEAD_STANDS_MS = 1000

/** A bound below which there are only so many. */
interface Window {
  readonly bound: number
  /** The ranks of what is due below it, ascending, as they were when they were measured. */
  readonly ranks: readonly number[]
  /** Those before it are known to be gone. */
  at: number
  /** How many a search takes in besides those that are wanted. */
  slice: number
  /** Whether few below the bound are not yet due, and when that was found out. */
  isClear: boolean
  lookedAt: number
}

/** Who looks for work. */
export interface ReadyQuery {
  /** Routes that are served; null: all. */
  readonly routes: readonly string[] | null
  /** Whose own failures are left out, or, with `own`, are the only ones wanted. Null: nobody's. */
  readonly workerId: string | null
  readonly own: boolean
}

/**
 * The index of ready tasks: of each instance the best task that is free. Its ranges are by priority
 * (or route and priority) and in each the order is by rank, which is by the time since when tasks
 * are available; so what is not yet due, or of a route that the worker does not take, is never
 * passed over, and the best of all is the best of the ranges' first ones, which the server merges.
 */
export class ReadyQueue {
  readonly #db: Database
  readonly #agingIntervalMs: number
  readonly #isOrdered: boolean
  readonly #windows = new Map<string, Window>()

  /** @param isOrdered Whether the server reads a sort off an index. */
  constructor(db: Database, agingIntervalMs: number, isOrdered: boolean) {
    this.#db = db
    this.#agingIntervalMs = agingIntervalMs
    this.#isOrdered = isOrdered
  }

  /**
   * Selects instances whose best free task is due and of a rank up to a bound. Where it is known
   * that few below it are not yet due, they are passed over: one range and a condition are a third
   * of what several ranges cost a server that plans each search anew.
   */
  upTo(query: ReadyQuery, bound: number): Filter<InstanceDoc> {
    const window = this.#windows.get(keyOf(query))
    const isClear =
      window !== undefined &&
      bound <= window.bound &&
      window.isClear &&
      performance.now() - window.lookedAt < AHEAD_STANDS_MS
    return isClear ? this.#allUpTo(query, bound) : this.ranges(query, bound)
  }

  #allUpTo(query: ReadyQuery, bound: number): Filter<InstanceDoc> {
    const isDue = { 'q.s': { $lte: Math.floor(this.#db.clock.now()) } }
    return { ...this.#range(query, PRIORITIES, bound), ...isDue }
  }

  /** The same without passing over what is not due. */
  ranges(query: ReadyQuery, bound: number): Filter<InstanceDoc> {
    const now = Math.floor(this.#db.clock.now())
    // Those with one bound are one range: a condition fewer for the server to plan.
    const byBound = Map.groupBy(PRIORITIES, (priority) =>
      Math.min(bound, now + priority * this.#agingIntervalMs + MAX_TIE_BREAK),
    )
    const ranges = Array.from(byBound, ([upTo, priorities]) => this.#range(query, priorities, upTo))
    const [first, ...others] = ranges
    return first !== undefined && others.length === 0 ? first : { $or: ranges }
  }

  #range({ routes, workerId, own }: ReadyQuery, priorities: readonly number[], bound: number) {
    return {
      ...(routes === null
        ? undefined
        : { 'q.r': routes.length === 1 ? routes[0] : { $in: routes } }),
      'q.p': priorities.length === 1 ? priorities[0] : { $in: priorities },
      'q.k': { $gt: 0, $lte: bound },
      ...(workerId === null ? undefined : { 'q.f': own ? workerId : { $ne: workerId } }),
    } as Filter<InstanceDoc>
  }

  /** When the next task of these routes becomes due, after a time; null: of any. For servers that read a sort off an index. */
  async next(routes: readonly string[] | null, since: number): Promise<number> {
    if (routes?.length === 0) return Number.POSITIVE_INFINITY
    const times = PRIORITIES.map(async (priority) => {
      const waited = priority * this.#agingIntervalMs
      const [doc] = await this.#db.again(() =>
        this.#db.instances
          .find(
            {
              ...(routes === null ? undefined : { 'q.r': { $in: [...routes] } }),
              'q.p': priority,
              'q.k': { $gt: Math.floor(since) + waited + MAX_TIE_BREAK },
            },
            { projection: { _id: 0, 'q.k': 1 } },
          )
          .sort({ 'q.k': 1 })
          .limit(1)
          .toArray(),
      )
      return doc?.q == null ? Number.POSITIVE_INFINITY : Math.floor(doc.q.k) - waited
    })
    return Math.min(...(await Promise.all(times)))
  }

  /**
   * Runs a search for the best. A server that sorts what it has found, instead of reading an index
   * in its order, gets a bound of the rank below which there are only a few: a slice of a window
   * that was measured. What is best below the bound is best of all, whatever has come since, so only
   * a search that finds too few needs a greater one.
   *
   * @param search Finds what is best of what a filter selects.
   * @param rankOf The rank of something that was found.
   * @param skip How many better ones the search leaves out.
   */
  async best<T>(
    query: ReadyQuery,
    wanted: number,
    search: (filter: Filter<InstanceDoc>) => Promise<readonly T[]>,
    rankOf: (found: T) => number,
    skip = 0,
  ): Promise<readonly T[]> {
    if (this.#isOrdered || query.own) return search(this.ranges(query, Number.MAX_SAFE_INTEGER))
    const key = keyOf(query)
    const size = Math.max(WINDOW, 4 * (wanted + skip))
    let window = this.#windows.get(key)
    let isFresh = false
    for (;;) {
      if (window === undefined || (!isFresh && window.at + wanted + skip > window.ranks.length)) {
        window = await this.#measure(key, query, size)
        isFresh = true
      }
      if (window.ranks.length > 0) await this.#lookAhead(window, query)
      const { bound, ranks, at, slice } = window
      const end = at + wanted + skip + slice
      const isWhole = end >= ranks.length
      const upTo = isWhole ? bound : (ranks[end - 1] ?? bound)
      const found = await search(this.upTo(query, upTo))
      const [first] = found
      if (first !== undefined) {
        const rank = rankOf(first)
        const before = ranks.findIndex((one) => one >= rank)
        window.at = Math.max(window.at, (before < 0 ? ranks.length : before) - skip)
      }
      if (found.length >= wanted) {
        window.slice = Math.max(slice - 1, MIN_SLICE)
        return found
      }
      if (isWhole && (isFresh || bound === Number.MAX_SAFE_INTEGER)) return found
      // Others were faster.
      window.at = Math.max(window.at, end)
      window.slice = Math.min(slice * 2, size)
      if (isWhole) window = undefined
    }
  }

  /** Finds out, now and then, whether few tasks of a window are not yet due. */
  async #lookAhead(window: Window, query: ReadyQuery): Promise<void> {
    if (performance.now() - window.lookedAt < AHEAD_STANDS_MS) return
    const now = Math.floor(this.#db.clock.now())
    const ahead = await this.#db.again(() =>
      this.#db.instances
        .find(
          { ...this.#range(query, PRIORITIES, window.bound), 'q.s': { $gt: now } },
          { projection: { _id: 1 }, batchSize: MAX_AHEAD + 1 },
        )
        .limit(MAX_AHEAD + 1)
        .toArray(),
    )
    window.isClear = ahead.length <= MAX_AHEAD
    window.lookedAt = performance.now()
  }

  /** Finds a bound below which there are about so many, or all there are. */
  async #measure(key: string, query: ReadyQuery, size: number): Promise<Window> {
    const { slice = MIN_SLICE } = this.#windows.get(key) ?? {}
    const window: Window = {
      ...(await this.#boundOf(query, size)),
      at: 0,
      slice,
      isClear: false,
      lookedAt: Number.NEGATIVE_INFINITY,
    }
    if (this.#windows.size >= 64) this.#windows.clear()
    this.#windows.set(key, window)
    return window
  }

  async #boundOf(query: ReadyQuery, size: number): Promise<Pick<Window, 'bound' | 'ranks'>> {
    let bound: number = Number.MAX_SAFE_INTEGER
    let ranks: readonly number[] = []
    for (let steps = 0; steps < MAX_STEPS; steps += 1) {
      const docs = await this.#db.again(() =>
        this.#db.instances
          .find(this.ranges(query, bound), {
            projection: { _id: 0, 'q.k': 1 },
            batchSize: size + 1,
          })
          .limit(size + 1)
          .toArray(),
      )
      const stored = docs.map(({ q }) => q?.k ?? 0)
      ranks = stored.toSorted((a, b) => a - b)
      if (ranks.length <= size) break
      // As they were stored, about: then none that was not read is before the last of those that
      // were. The next step tells, since room that became free is taken by later ones.
      const edge = Math.min(...stored.slice(-(size >> 2)))
      const isInOrder = steps === 0 && ranks.filter((rank) => rank <= edge).length > size >> 1
      // Else some of all, and half of those are below their middle.
      const next = isInOrder ? edge : (ranks[size >> 1] ?? bound)
      const isDone = next >= bound
      bound = next
      ranks = ranks.filter((rank) => rank <= next)
      if (isDone) break
    }
    return { bound, ranks }
  }
}

function keyOf({ routes }: ReadyQuery): string {
  return JSON.stringify(routes)
}
