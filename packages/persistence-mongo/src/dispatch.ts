import type { WorkerFilter } from '@sayiir/persistence-core'
import {
  CallQueue,
  type ClaimedEntry,
  type ClaimRequest,
  compareIds,
  type Dispatched,
  type FoundTask,
  isServed,
  type WorkRequest,
} from '@sayiir/persistence-core/adapter'
import { Binary, type Document } from 'mongodb'
import type { Database, InstanceUpdate } from './database.ts'
import { literal, NOW } from './expressions.ts'
import { bytesOf } from './payloads.ts'
import type { ReadyQuery, ReadyQueue } from './ready-queue.ts'
import { type EntryDoc, type InstanceDoc, toClaim } from './records.ts'
import type { Routes } from './routes.ts'
import type { MongoSnapshotStore } from './snapshot-store.ts'
import { claimStages } from './task-claim-store.ts'
import type { Upkeep } from './upkeep.ts'

/** What a claim's reply has of an instance: all but what only grows; the tail for the task's input. */
const CLAIMED: Document = { w: 0, cm: 0, ev: 0, ek: 0, rv: 0, cv: 0 }
/** Rounds of a claim in which others were faster, at most. */
const MAX_ROUNDS = 10

/** A claim to be made. */
interface Claim {
  readonly request: ClaimRequest
  /** Names it. */
  readonly batch: string
}

/** A task that may be claimed. */
interface Candidate {
  readonly instanceId: string
  readonly entry: EntryDoc
}

type CandidateDoc = Pick<InstanceDoc, '_id' | 'd' | 'e' | 'q'>

/** Finds work, and claims it. */
export class Dispatch {
  readonly #db: Database
  readonly #snapshots: MongoSnapshotStore
  readonly #upkeep: Upkeep
  readonly #routes: Routes
  readonly #ready: ReadyQueue
  readonly #queue: CallQueue<Claim, Dispatched<ClaimedEntry>>
  /** Workers that have failed a task: what they failed comes last for them (rule D4). */
  readonly #failing = new Set<string>()

  constructor(
    db: Database,
    snapshots: MongoSnapshotStore,
    upkeep: Upkeep,
    routes: Routes,
    ready: ReadyQueue,
  ) {
    this.#db = db
    this.#snapshots = snapshots
    this.#upkeep = upkeep
    this.#routes = routes
    this.#ready = ready
    this.#queue = new CallQueue({
      send: (claims) => this.#claim(claims),
      maxCalls: 100,
      maxBytes: 1000,
      maxInFlight: 2,
      sizeOf: ({ request }) => request.limit,
    })
  }

  /** Takes in that a worker has failed a task. */
  failed(workerId: string): void {
    this.#failing.add(workerId)
  }

  claim(request: ClaimRequest, batch: string): Promise<Dispatched<ClaimedEntry>> {
    return this.#queue.call({ request, batch })
  }

  async find(request: WorkRequest): Promise<Dispatched<FoundTask>> {
    const { due } = await this.#upkeep.look(true)
    const routes = await this.#routes.served(request.filter)
    const candidates = await this.#candidates(request, routes, request.limit)
    const ids = [...new Set(candidates.map(({ instanceId }) => instanceId))]
    const docs = await this.#docs(ids)
    const tasks: FoundTask[] = []
    for (const { instanceId, entry } of candidates) {
      const doc = docs.get(instanceId)
      const stored = doc === undefined ? null : await this.#snapshots.stored(doc)
      if (stored === null || doc === undefined) continue
      if (!stored.entries.some(({ taskId }) => taskId === entry.t)) continue
      tasks.push({ instanceId, taskId: entry.t, stored, ...inputOf(doc, entry) })
    }
    return { now: this.#db.clock.now(), tasks, due }
  }

  /** Whether there is something for such a worker, and what. */
  async peek(filter: WorkerFilter): Promise<{
    readonly found: { readonly instanceId: string; readonly taskId: string } | null
    readonly due: readonly string[]
  }> {
    const { due } = await this.#upkeep.look(true)
    const routes = await this.#routes.served(filter)
    const request = { filter, workerId: '', limit: 1 }
    const [best] = await this.#candidates(request, routes, 1)
    const found = best === undefined ? null : { instanceId: best.instanceId, taskId: best.entry.t }
    return { found, due }
  }

  /** Claims that are in flight together: those that want the same share a search. */
  async #claim(claims: readonly Claim[]): Promise<readonly Dispatched<ClaimedEntry>[]> {
    if (!this.#db.clock.isKnown) await this.#db.now()
    const due = new Set<string>()
    if (this.#upkeep.isDue) for (const id of (await this.#upkeep.look(false)).due) due.add(id)
    const groups = new Map<string, Claim[]>()
    for (const claim of claims) {
      const { filter, workerId } = claim.request
      const key = JSON.stringify([filter, this.#failing.has(workerId) ? workerId : null])
      groups.set(key, [...(groups.get(key) ?? []), claim])
    }
    const tasks = new Map<Claim, ClaimedEntry[]>(claims.map((claim) => [claim, []]))
    const runAll = () =>
      Promise.all([...groups.values()].map((group) => this.#claimGroup(group, tasks)))
    await runAll()
    const isShort = claims.some((claim) => (tasks.get(claim)?.length ?? 0) < claim.request.limit)
    if (isShort) {
      for (const id of (await this.#upkeep.look(true)).due) due.add(id)
      await runAll()
    }
    const now = this.#db.clock.now()
    return claims.map((claim, index) => ({
      now,
      tasks: tasks.get(claim) ?? [],
      due: index === 0 ? [...due] : [],
    }))
  }

  /** Claims of one filter. */
  async #claimGroup(
    claims: readonly Claim[],
    tasks: ReadonlyMap<Claim, ClaimedEntry[]>,
  ): Promise<void> {
    const [first] = claims
    if (first === undefined) return
    const { filter, workerId } = first.request
    const routes = await this.#routes.served(filter)
    if (routes?.length === 0) return
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) {
      const wanting = claims.flatMap((claim) => {
        const missing = claim.request.limit - (tasks.get(claim)?.length ?? 0)
        return missing > 0 ? [{ claim, missing }] : []
      })
      const wanted = wanting.reduce((sum, { missing }) => sum + missing, 0)
      if (wanted === 0) return
      const isPlain = filter.tags === undefined && !this.#failing.has(workerId)
      const [only] = wanting
      if (isPlain && wanted === 1 && only?.claim.request.limit === 1) {
        const claimed = await this.#claimBest(only.claim, routes)
        if (claimed !== null) return void tasks.get(only.claim)?.push(claimed)
      }
      // A claim that has expired already is not made anew by the call that made it.
      const taken = new Set(claims.flatMap((claim) => (tasks.get(claim) ?? []).map(keyOf)))
      const candidates = (await this.#candidates(first.request, routes, wanted)).filter(
        ({ instanceId, entry }) => !taken.has(keyOf({ instanceId, taskId: entry.t })),
      )
      if (candidates.length === 0) return
      const left = [...candidates]
      const shares = wanting.flatMap(({ claim, missing }) => {
        const share = left.splice(0, missing)
        return share.length === 0 ? [] : [{ claim, share }]
      })
      await this.#take(shares, tasks)
      if (candidates.length < wanted && rounds > 0) return
    }
  }

  /** The best task, in one step; null where there is none, or only the worker's own failures. */
  async #claimBest(
    { request, batch }: Claim,
    routes: readonly string[] | null,
  ): Promise<ClaimedEntry | null> {
    const { workerId, ttlMs } = request
    const query: ReadyQuery = { routes, workerId, own: false }
    const isSlot = { $eq: ['$$v.t', '$q.t'] }
    const found = await this.#ready.best(query, 1, async (bound) => {
      const doc = await this.#db.run(() =>
        this.#db.instances.findOneAndUpdate(
          this.#ready.filter(query, bound),
          claimStages(isSlot, workerId, ttlMs, batch),
          { sort: { 'q.k': 1 }, returnDocument: 'after', projection: CLAIMED },
        ),
      )
      return doc === null ? [] : [doc as InstanceDoc]
    })
    const [doc] = found
    if (doc === undefined) return null
    this.#upkeep.note(doc.u)
    const entry = doc.e.find(({ b }) => b === batch)
    return entry === undefined ? null : this.#toClaimed(doc, entry)
  }

  /** The best tasks for a worker, best first. */
  async #candidates(
    { filter, workerId }: WorkRequest,
    routes: readonly string[] | null,
    limit: number,
  ): Promise<Candidate[]> {
    if (routes?.length === 0) return []
    const query: ReadyQuery = { routes, workerId, own: false }
    const docs = new Map<string, CandidateDoc>()
    const searches = [
      this.#ready.best(query, limit, (bound) =>
        this.#search(this.#ready.filter(query, bound), limit),
      ),
    ]
    if (routes !== null && filter.tags !== undefined) {
      // Instances whose best task is of another route than some of the rest.
      const mixed = {
        x: { $in: [...routes] },
        'q.k': { $gt: 0 },
        'q.s': { $lte: this.#db.clock.now() },
      }
      searches.push(this.#search(mixed, limit))
    }
    const searchOwn = () => {
      const own = { ...query, own: true }
      return this.#search(this.#ready.filter(own, Number.MAX_SAFE_INTEGER), limit)
    }
    if (this.#failing.has(workerId)) searches.push(searchOwn())
    for (const found of await Promise.all(searches)) {
      for (const doc of found) docs.set(doc._id, doc)
    }
    let candidates = this.#rank(docs.values(), filter, workerId)
    if (candidates.length < limit && !this.#failing.has(workerId)) {
      for (const doc of await searchOwn()) docs.set(doc._id, doc)
      candidates = this.#rank(docs.values(), filter, workerId)
    }
    return candidates.slice(0, limit)
  }

  async #search(filter: Document, limit: number): Promise<readonly CandidateDoc[]> {
    return this.#db.again(() =>
      this.#db.instances
        .find<CandidateDoc>(filter, { projection: { d: 1, e: 1, q: 1 }, batchSize: limit })
        .sort({ 'q.k': 1 })
        .limit(limit)
        .toArray(),
    )
  }

  /** All that is free in these instances, best first (rules D2–D4). */
  #rank(docs: Iterable<CandidateDoc>, filter: WorkerFilter, workerId: string): Candidate[] {
    const now = this.#db.clock.now()
    const candidates: Candidate[] = []
    for (const { _id: instanceId, d, e } of docs) {
      for (const entry of e) {
        if (entry.t === '' || entry.x > now || entry.s > now || !isServed(filter, d, entry.g))
          continue
        candidates.push({ instanceId, entry })
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

  /** Claims candidates, those that are still free: one write, and one read that tells which. */
  async #take(
    shares: readonly { readonly claim: Claim; readonly share: readonly Candidate[] }[],
    tasks: ReadonlyMap<Claim, ClaimedEntry[]>,
  ): Promise<void> {
    const now = this.#db.clock.now()
    const operations: InstanceUpdate[] = []
    for (const { claim, share } of shares) {
      const { workerId, ttlMs } = claim.request
      const isOpen = { s: 'in-progress', cs: null, ps: null } as const
      for (const [instanceId, candidates] of Map.groupBy(share, (one) => one.instanceId)) {
        const wanted = candidates.map(({ entry }) => entry.t)
        const isFree = {
          $and: [
            { $in: ['$$v.t', literal(wanted)] },
            { $lte: ['$$v.x', NOW] },
            { $lte: ['$$v.s', now] },
          ],
        }
        operations.push({
          updateOne: {
            filter: {
              _id: instanceId,
              ...isOpen,
              e: { $elemMatch: { t: { $in: wanted }, x: { $lte: now }, s: { $lte: now } } },
            },
            update: claimStages(isFree, workerId, ttlMs, claim.batch),
          },
        })
      }
    }
    await this.#db.run(() => this.#db.inOrder(operations))
    const ids = shares.flatMap(({ share }) => share.map(({ instanceId }) => instanceId))
    const docs = await this.#docs([...new Set(ids)])
    for (const { claim, share } of shares) {
      const list = tasks.get(claim)
      const instanceIds = new Set(share.map(({ instanceId }) => instanceId))
      const claimed: { readonly doc: InstanceDoc; readonly entry: EntryDoc }[] = []
      for (const id of instanceIds) {
        const doc = docs.get(id)
        for (const entry of doc?.e ?? []) {
          if (doc === undefined || entry.b !== claim.batch) continue
          if (list?.some((one) => one.instanceId === id && one.taskId === entry.t)) continue
          claimed.push({ doc, entry })
        }
        this.#upkeep.note(doc?.u)
      }
      const place = new Map(
        share.map(({ instanceId, entry }, index) => [
          keyOf({ instanceId, taskId: entry.t }),
          index,
        ]),
      )
      const placeOf = ({ doc, entry }: (typeof claimed)[number]) =>
        place.get(keyOf({ instanceId: doc._id, taskId: entry.t })) ?? Number.POSITIVE_INFINITY
      claimed.sort((a, b) => placeOf(a) - placeOf(b))
      const entries = await Promise.all(
        claimed.map(({ doc, entry }) => this.#toClaimed(doc, entry)),
      )
      for (const entry of entries) if (entry !== null) list?.push(entry)
    }
  }

  async #docs(ids: readonly string[]): Promise<ReadonlyMap<string, InstanceDoc>> {
    if (ids.length === 0) return new Map()
    const docs = await this.#db.again(() =>
      this.#db.instances
        .find(
          { _id: { $in: [...ids] }, g: { $exists: true } },
          { projection: CLAIMED, batchSize: ids.length },
        )
        .toArray(),
    )
    return new Map(docs.map((doc) => [doc._id, doc as InstanceDoc]))
  }

  async #toClaimed(doc: InstanceDoc, entry: EntryDoc): Promise<ClaimedEntry | null> {
    const stored = await this.#snapshots.stored(doc)
    const claim = toClaim(entry)
    if (stored === null || claim === null) return null
    const { t: taskId, d: deliveries } = entry
    this.#db.clock.observe(claim.claimedAt)
    return { instanceId: doc._id, taskId, claim, deliveries, stored, ...inputOf(doc, entry) }
  }
}

function keyOf({ instanceId, taskId }: { instanceId: string; taskId: string }): string {
  return `${instanceId}\0${taskId}`
}

/** The task's input, where the tail has it. */
function inputOf({ l }: Pick<InstanceDoc, 'l'>, { i }: EntryDoc): { readonly input?: Uint8Array } {
  const payload = i === null ? undefined : l.find(({ t }) => t === i)?.p
  return payload instanceof Binary ? { input: bytesOf(payload) } : {}
}
