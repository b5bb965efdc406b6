import type { WorkerFilter } from '@sayiir/persistence-core'
import { compareIds, isServed, type WorkRequest } from '@sayiir/persistence-core/adapter'
import { Binary, type Document } from 'mongodb'
import type { Database } from './database.ts'
import type { ReadyQuery, ReadyQueue } from './ready-queue.ts'
import type { EntryDoc, InstanceDoc } from './records.ts'

/** What a worker needs of an instance: all but what only grows; the tail for the task's input. */
export const CLAIMED: Document = {
  'cm.v': 0,
  'cm.w': 0,
  'cm.k': 0,
  'cm.r': 0,
  'cm.s': 0,
  'cm.b': 0,
  ev: 0,
  ek: 0,
  rv: 0,
  cv: 0,
}

/** Instances with tasks of several routes that are read: at first, and as long as no more were read than that. */
const MIN_MIXED = 16
const MAX_MIXED = 200

/** Workers that are remembered for having failed a task, at most. */
const MAX_FAILING = 1000

/** Tasks that are read to be passed over, at most. */
const MAX_PASSED = 64

/** A task that may be claimed. */
export interface Candidate {
  readonly instanceId: string
  readonly entry: EntryDoc
  /** Its instance, as {@link CLAIMED} has it. */
  readonly doc: InstanceDoc
}

/** Bytes of an instance, roughly. */
export function sizeOf({ i, l, h, e }: InstanceDoc): number {
  const payloads = [i, ...l.map(({ p }) => p)]
  const inPlace = payloads.map((payload) => (payload instanceof Binary ? payload.length() : 0))
  return inPlace.reduce((sum, bytes) => sum + bytes, 1024 + h.length + 300 * e.length)
}

/** Finds the tasks that a worker may have. */
export class Candidates {
  readonly #db: Database
  readonly #ready: ReadyQueue
  /** Workers that have failed a task: what they failed comes last for them (rule D4). */
  readonly #failing = new Set<string>()

  constructor(db: Database, ready: ReadyQueue) {
    this.#db = db
    this.#ready = ready
  }

  /** Takes in that a worker has failed a task. */
  failed(workerId: string): void {
    // One that is forgotten looks for its own failures where there is nothing else.
    if (this.#failing.size >= MAX_FAILING) this.#failing.clear()
    this.#failing.add(workerId)
  }

  /** Whether it is known to have failed a task. */
  hasFailed(workerId: string): boolean {
    return this.#failing.has(workerId)
  }

  /** Whether one search finds the best for a worker, in their order. */
  isPlain({ filter, workerId }: WorkRequest): boolean {
    return filter.tags === undefined && !this.#failing.has(workerId)
  }

  /**
   * The best tasks for a worker, best first.
   *
   * @param skip How many better ones to leave out, at most.
   */
  async best(
    request: WorkRequest,
    routes: readonly string[] | null,
    limit: number,
    skip = 0,
  ): Promise<Candidate[]> {
    if (routes?.length === 0) return []
    if (this.isPlain(request)) return this.#bestOf(request, routes, limit, skip)
    // Which ones are better shows only when several searches are put together. What the worker
    // failed itself comes after all others, also after those that are passed over.
    const passed = Math.min(skip, MAX_PASSED)
    const found = await this.#bestOf(request, routes, limit + passed, 0)
    if (passed === 0) return found
    return found.slice(passed).filter(({ entry }) => entry.f !== request.workerId)
  }

  async #bestOf(
    { filter, workerId }: WorkRequest,
    routes: readonly string[] | null,
    limit: number,
    skip: number,
  ): Promise<Candidate[]> {
    const query: ReadyQuery = { routes, workerId, own: false }
    const docs = new Map<string, InstanceDoc>()
    const search = (wanted: ReadyQuery) =>
      this.#ready.best(
        wanted,
        limit,
        (filter) => this.#search(filter, limit, skip),
        ({ q }) => q?.k ?? 0,
        skip,
      )
    const searches = [search(query)]
    const searchOwn = () => search({ ...query, own: true })
    if (this.#failing.has(workerId)) searches.push(searchOwn())
    const mixing =
      routes !== null && filter.tags !== undefined
        ? this.#searchMixed(routes, 0, Math.max(limit, MIN_MIXED))
        : null
    for (const found of await Promise.all([...searches, mixing ?? []])) {
      for (const doc of found) docs.set(doc._id, doc)
    }
    if (routes !== null && mixing !== null)
      await this.#addMixed(docs, await mixing, { filter, workerId, limit }, routes)
    let candidates = this.#rank(docs.values(), filter, workerId)
    if (skip === 0 && candidates.length < limit && !this.#failing.has(workerId)) {
      for (const doc of await searchOwn()) docs.set(doc._id, doc)
      candidates = this.#rank(docs.values(), filter, workerId)
    }
    return candidates.slice(0, limit)
  }

  /** Instances whose best task may be of another route than some of the rest, from a rank on. */
  #searchMixed(
    routes: readonly string[],
    from: number,
    count: number,
  ): Promise<readonly InstanceDoc[]> {
    const isDue = { 'q.s': { $lte: this.#db.clock.now() } }
    return this.#search({ x: { $in: [...routes] }, 'q.k': { $gte: from }, ...isDue }, count)
  }

  /**
   * Adds more of them, after the first. They stand in the index by the best of all of their tasks,
   * so they are read in that order until those to come can have none that is better than what is
   * known; or until there were many, whose tasks of these routes may all be in the future.
   */
  async #addMixed(
    docs: Map<string, InstanceDoc>,
    first: readonly InstanceDoc[],
    { filter, workerId, limit }: WorkRequest,
    routes: readonly string[],
  ): Promise<void> {
    let found = first
    let count = Math.max(limit, MIN_MIXED)
    for (let from = 0; found.length === count && count <= MAX_MIXED; count *= 2) {
      const reached = found.at(-1)?.q?.k ?? from
      const last = this.#rank(docs.values(), filter, workerId)[limit - 1]?.entry
      if (last !== undefined && last.f !== workerId && last.o <= reached) return
      // Twice as many: of those of one rank it is not known which were read.
      from = reached
      found = await this.#searchMixed(routes, from, 2 * count)
      for (const doc of found) docs.set(doc._id, doc)
    }
  }

  #search(filter: Document, limit: number, skip = 0): Promise<readonly InstanceDoc[]> {
    return this.#db.again(() =>
      this.#db.instances
        .find(filter, { projection: CLAIMED, batchSize: limit })
        .sort({ 'q.k': 1 })
        .skip(skip)
        .limit(limit)
        .toArray(),
    )
  }

  /** All that is free in these instances, best first (rules D2–D4). */
  #rank(docs: Iterable<InstanceDoc>, filter: WorkerFilter, workerId: string): Candidate[] {
    const now = this.#db.clock.now()
    const candidates: Candidate[] = []
    for (const doc of docs) {
      const { _id: instanceId, d, e } = doc
      for (const entry of e) {
        if (entry.t === '' || entry.x > now || entry.s > now || !isServed(filter, d, entry.g))
          continue
        candidates.push({ instanceId, entry, doc })
      }
    }
    const isOwn = ({ entry }: Candidate) => Number(entry.f === workerId && workerId !== '')
    return candidates.sort(
      (a, b) =>
        isOwn(a) - isOwn(b) ||
        a.entry.o - b.entry.o ||
        a.entry.s - b.entry.s ||
        compareIds(a.instanceId, b.instanceId) ||
        compareIds(a.entry.t, b.entry.t),
    )
  }
}
