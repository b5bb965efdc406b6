import type { Filter } from 'mongodb'
import type { Database } from './database.ts'
import type { InstanceDoc } from './records.ts'

/** Priorities: 1 to 5. */
const PRIORITIES = [1, 2, 3, 4, 5] as const
/** Candidates that a window is to hold, at least. */
const WINDOW = 128
/** Steps to find out how wide a window must be, at most. */
const MAX_STEPS = 40

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
  readonly #windows = new Map<string, { bound: number; left: number }>()

  /** @param isOrdered Whether the server reads a sort off an index. */
  constructor(db: Database, agingIntervalMs: number, isOrdered: boolean) {
    this.#db = db
    this.#agingIntervalMs = agingIntervalMs
    this.#isOrdered = isOrdered
  }

  /** Selects instances whose best free task is due and of a rank up to a bound. */
  filter(query: ReadyQuery, bound: number): Filter<InstanceDoc> {
    return { $or: PRIORITIES.map((priority) => this.#range(query, priority, bound)) }
  }

  #range({ routes, workerId, own }: ReadyQuery, priority: number, bound: number) {
    const due = this.#db.clock.now() + priority * this.#agingIntervalMs
    return {
      ...(routes === null
        ? undefined
        : { 'q.r': routes.length === 1 ? routes[0] : { $in: routes } }),
      'q.p': priority,
      'q.k': { $gt: 0, $lte: Math.min(bound, due) },
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
              'q.k': { $gt: since + waited },
            },
            { projection: { _id: 0, 'q.k': 1 } },
          )
          .sort({ 'q.k': 1 })
          .limit(1)
          .toArray(),
      )
      return doc?.q == null ? Number.POSITIVE_INFINITY : doc.q.k - waited
    })
    return Math.min(...(await Promise.all(times)))
  }

  /**
   * Runs a search for the best. A server that sorts what it has found, instead of reading an index
   * in its order, gets a window: an upper bound of the rank below which there are only so many. What
   * is best below the bound is best of all, so only a search that finds too few needs a new one.
   *
   * @param search Finds what is best up to a bound; how many there were.
   */
  async best<T>(
    query: ReadyQuery,
    wanted: number,
    search: (bound: number) => Promise<readonly T[]>,
  ): Promise<readonly T[]> {
    if (this.#isOrdered || query.own) return search(Number.MAX_SAFE_INTEGER)
    const key = JSON.stringify(query.routes)
    const size = Math.max(WINDOW, 4 * wanted)
    let window = this.#windows.get(key)
    const isFresh = window === undefined || window.left < wanted
    if (window === undefined || isFresh) window = await this.#measure(key, query, size)
    window.left -= wanted
    const found = await search(window.bound)
    if (found.length >= wanted || isFresh || window.bound === Number.MAX_SAFE_INTEGER) return found
    window = await this.#measure(key, query, size)
    return search(window.bound)
  }

  /** Finds a bound below which there are about so many, or all there are. */
  async #measure(key: string, query: ReadyQuery, size: number) {
    const window = await this.#boundOf(query, size)
    if (this.#windows.size >= 64) this.#windows.clear()
    this.#windows.set(key, window)
    return window
  }

  async #boundOf(query: ReadyQuery, size: number): Promise<{ bound: number; left: number }> {
    let bound: number = Number.MAX_SAFE_INTEGER
    for (let steps = 0; steps < MAX_STEPS; steps += 1) {
      const docs = await this.#db.again(() =>
        this.#db.instances
          .find(this.filter(query, bound), {
            projection: { _id: 0, 'q.k': 1 },
            batchSize: size + 1,
          })
          .limit(size + 1)
          .toArray(),
      )
      const ranks = docs.map(({ q }) => q?.k ?? 0)
      if (ranks.length <= size) return { bound, left: ranks.length }
      const isInOrder = ranks.every((rank, index) => rank >= (ranks[index - 1] ?? 0))
      // As they were stored, as a rule; else some of all, and half of those are below their middle.
      const sorted = ranks.toSorted((a, b) => a - b)
      const next = sorted[isInOrder ? size : size >> 1] ?? bound
      if (isInOrder || next >= bound) return { bound: next, left: size }
      bound = next
    }
    return { bound, left: size }
  }
}
