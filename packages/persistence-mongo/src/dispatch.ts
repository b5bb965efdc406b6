import { BackendError, type TaskWakeup, type WorkerFilter } from '@sayiir/persistence-core'
import {
  CallFailure,
  CallQueue,
  type ClaimedEntry,
  type Dispatched,
  type FoundTask,
  isUnreadable,
  type WorkRequest,
} from '@sayiir/persistence-core/adapter'
import type { Filter } from 'mongodb'
import { BestClaim } from './best-claim.ts'
import { Candidates, CLAIMED } from './candidates.ts'
import { type Claim, Claims, inputOf } from './claims.ts'
import { Contention } from './contention.ts'
import type { Database } from './database.ts'
import { isGivenUp, SHARD_KEY_NOT_FOUND, toBackendError } from './errors.ts'
import { Guesses } from './guesses.ts'
import type { KnownDocuments } from './known-documents.ts'
import type { ReadyQuery, ReadyQueue } from './ready-queue.ts'
import type { InstanceDoc } from './records.ts'
import type { Routes } from './routes.ts'
import type { MongoSnapshotStore } from './snapshot-store.ts'
import type { Tails } from './tail.ts'
import { claimStages, settleClaim } from './task-claim-store.ts'
import type { Upkeep } from './upkeep.ts'

/** Rounds of a claim in which others were faster, at most. */
const MAX_ROUNDS = 10

/** Finds work, and claims it. */
export class Dispatch {
  readonly #db: Database
  readonly #snapshots: MongoSnapshotStore
  readonly #upkeep: Upkeep
  readonly #routes: Routes
  readonly #ready: ReadyQueue
  readonly #candidates: Candidates
  readonly #claims: Claims
  readonly #documents: KnownDocuments
  readonly #contention = new Contention()
  readonly #queue: CallQueue<Claim, Dispatched<ClaimedEntry>>
  /** Null: the server can not tell whether one is right, or needs none. */
  readonly #guesses: Guesses | null
  /** Claims that are not answered yet. */
  #open = 0
  /** Whether a change must name its document: a cluster of MongoDB 6 does not look for it on its shards. */
  #needsKey = false

  /** @param guesses Whether lone claims name the task that they expect to be the best. */
  constructor(
    db: Database,
    snapshots: MongoSnapshotStore,
    upkeep: Upkeep,
    routes: Routes,
    ready: ReadyQueue,
    tails: Tails,
    documents: KnownDocuments,
    guesses: boolean,
  ) {
    this.#db = db
    this.#snapshots = snapshots
    this.#upkeep = upkeep
    this.#routes = routes
    this.#ready = ready
    this.#candidates = new Candidates(db, ready)
    this.#claims = new Claims(db, snapshots, upkeep, tails)
    this.#documents = documents
    this.#guesses = guesses ? new Guesses() : null
    this.#queue = new CallQueue({
      send: (claims) => this.#claim(claims),
      maxCalls: 100,
      maxBytes: 1000,
      maxInFlight: 2,
      aloneAtOnce: true,
      sizeOf: ({ request }) => request.limit,
    })
  }

  /** Takes in that a worker has failed a task. */
  failed(workerId: string): void {
    this.#candidates.failed(workerId)
  }

  async claim(claim: Claim): Promise<Dispatched<ClaimedEntry>> {
    const best = claim.request.limit === 1 ? this.best(claim) : null
    this.#open += 1
    try {
      return best === null ? await this.#queue.call(claim) : await this.#claimLone(claim, best)
    } finally {
      this.#open -= 1
    }
  }

  /** A claim that is alone, of what should be the best task: most of those of a worker that has one at a time. */
  async #claimLone(claim: Claim, best: BestClaim): Promise<Dispatched<ClaimedEntry>> {
    // A look that fails is one for the next call.
    const looking = this.look().catch(() => [])
    const claimed = await this.#claims.takeBest(best)
    this.#learn(best)
    const due = await looking
    if (claimed !== null) return { now: this.#db.clock.now(), tasks: [claimed], due }
    const others = await this.#queue.call(claim)
    return { ...others, due: [...new Set([...due, ...others.due])] }
  }

  /**
   * A claim to be sent with a write, of what should be the best task; then {@link taken} has to be
   * asked for it. Null: it is not known, or something is due that may be better.
   */
  best(claim: Claim): BestClaim | null {
    const isAlone = this.#open === 0 && !this.#upkeep.isKnownDue
    return isAlone && isUnfiltered(claim) ? this.#guess(claim) : null
  }

  /** The look that other claims begin with, if it is time for one: beside a claim that is sent with a write. */
  async look(): Promise<readonly string[]> {
    return this.#upkeep.isDue ? (await this.#upkeep.look(false)).due : []
  }

  /** The task that was claimed so; null: none was, so that it has to be looked for. */
  async taken(best: BestClaim): Promise<ClaimedEntry | null> {
    const claimed = await this.#claims.takenBest(best)
    this.#learn(best)
    return claimed
  }

  #guess(claim: Claim): BestClaim | null {
    const { workerId } = claim.request
    if (this.#candidates.hasFailed(workerId)) return null
    const next = this.#guesses?.next(workerId)
    if (next == null) return null
    const { candidate, isTied } = next
    const query: ReadyQuery = { routes: null, workerId, own: false }
    const filter = this.#ready.upTo(query, candidate.doc.q?.k ?? 0)
    return new BestClaim(this.#db, claim, candidate, filter, isTied)
  }

  #learn({ outcome, candidate, doc }: BestClaim): void {
    if (outcome === 'landed') this.#documents.claimed(doc, candidate.entry.t)
    if (outcome === 'unsent') this.#guesses?.giveBack(candidate)
    else this.#guesses?.wasRight(outcome === 'landed')
  }

  async find(request: WorkRequest): Promise<Dispatched<FoundTask>> {
    const { due } = await this.#upkeep.look(true)
    const routes = await this.#routes.served(request.filter)
    const candidates = await this.#candidates.best(request, routes, request.limit)
    const tasks: FoundTask[] = []
    let failure: BackendError | null = null
    for (const { instanceId, entry, doc } of candidates) {
      try {
        const stored = await this.#snapshots.stored(doc)
        if (stored !== null) {
          tasks.push({ instanceId, taskId: entry.t, stored, ...inputOf(doc, entry) })
        }
      } catch (error) {
        if (!isUnreadable(error)) throw error
        failure ??= error
      }
    }
    if (failure !== null && tasks.length === 0) throw failure
    return { now: this.#db.clock.now(), tasks, due }
  }

  /**
   * Whether there is something for such a worker, and what.
   *
   * @param isTold Whether others tell of what they make available. Then it asks as well when
   * something becomes due by itself, of which nobody tells.
   */
  async peek(
    filter: WorkerFilter,
    isTold: boolean,
  ): Promise<{
    readonly found: TaskWakeup | null
    readonly due: readonly string[]
    /** Milliseconds until something becomes due; infinite also where it was not asked for. */
    readonly dueInMs: number
  }> {
    const { due } = await this.#upkeep.look(true)
    const routes = await this.#routes.served(filter)
    const since = this.#db.clock.now()
    const request = { filter, workerId: '', limit: 1 }
    const [best] = await this.#candidates.best(request, routes, 1)
    if (best !== undefined) {
      const { instanceId, entry, doc } = best
      const found = { instanceId, taskId: entry.t, definitionHash: doc.d }
      return { found, due, dueInMs: Number.POSITIVE_INFINITY }
    }
    if (!isTold) return { found: null, due, dueInMs: Number.POSITIVE_INFINITY }
    const times = await Promise.all([this.#upkeep.next(since), this.#ready.next(routes, since)])
    return { found: null, due, dueInMs: Math.max(Math.min(...times) - this.#db.clock.now(), 1) }
  }

  /** Claims that are in flight together: those that want the same share a search. */
  async #claim(
    claims: readonly Claim[],
  ): Promise<readonly (Dispatched<ClaimedEntry> | CallFailure)[]> {
    if (!this.#db.clock.isKnown) await this.#db.now()
    const due = new Set<string>()
    if (this.#upkeep.isDue) for (const id of (await this.#upkeep.look(false)).due) due.add(id)
    const groups = new Map<string, Claim[]>()
    for (const claim of claims) {
      const { filter, workerId } = claim.request
      const key = JSON.stringify([filter, this.#candidates.hasFailed(workerId) ? workerId : null])
      groups.set(key, [...(groups.get(key) ?? []), claim])
    }
    const tasks = new Map<Claim, ClaimedEntry[]>(claims.map((claim) => [claim, []]))
    const failures = new Map<Claim, BackendError>()
    const runAll = () =>
      Promise.all([...groups.values()].map((group) => this.#claimGroup(group, tasks, failures)))
    await runAll()
    const isShort = claims.some((claim) => (tasks.get(claim)?.length ?? 0) < claim.request.limit)
    if (isShort) {
      for (const id of (await this.#upkeep.look(true)).due) due.add(id)
      await runAll()
    }
    const now = this.#db.clock.now()
    return claims.map((claim, index) => {
      const own = tasks.get(claim) ?? []
      const failure = failures.get(claim)
      if (failure !== undefined && own.length === 0) return new CallFailure(failure)
      return { now, tasks: own, due: index === 0 ? [...due] : [] }
    })
  }

  /** Claims of one filter. */
  async #claimGroup(
    claims: readonly Claim[],
    tasks: ReadonlyMap<Claim, ClaimedEntry[]>,
    failures: Map<Claim, BackendError>,
  ): Promise<void> {
    const [first] = claims
    if (first === undefined) return
    const routes = await this.#routes.served(first.request.filter)
    if (routes?.length === 0) return
    // One that can not be read is claimed like any other, so that the next round finds others.
    const take = (claim: Claim, entry: ClaimedEntry | BackendError): void => {
      if (BackendError.is(entry)) failures.set(claim, entry)
      else tasks.get(claim)?.push(entry)
    }
    const asked = claims.reduce((sum, { request }) => sum + request.limit, 0)
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) {
      const wanting = claims.flatMap((claim) => {
        const missing = claim.request.limit - (tasks.get(claim)?.length ?? 0)
        return missing > 0 ? [{ claim, missing }] : []
      })
      const wanted = wanting.reduce((sum, { missing }) => sum + missing, 0)
      if (wanted === 0) return
      const isPlain = this.#candidates.isPlain(first.request)
      const [only] = wanting
      if (isPlain && !this.#needsKey && wanted === 1 && only?.claim.request.limit === 1) {
        const claimed =
          (await this.#claimGuessed(only.claim)) ?? (await this.#claimBest(only.claim, routes))
        if (claimed !== null) {
          take(only.claim, claimed)
          if (!BackendError.is(claimed)) return
        }
      }
      // A claim that has expired already is not made anew by the call that made it.
      const taken = new Set(claims.flatMap((claim) => (tasks.get(claim) ?? []).map(keyOf)))
      const skip = this.#contention.skip(asked)
      let found = await this.#candidates.best(first.request, routes, wanted, skip)
      if (skip > 0 && found.length < wanted) {
        this.#contention.ranShort()
        found = await this.#candidates.best(first.request, routes, wanted)
      }
      const candidates = found.filter(
        ({ instanceId, entry }) => !taken.has(keyOf({ instanceId, taskId: entry.t })),
      )
      if (candidates.length === 0) return
      const left = [...candidates]
      const shares = wanting.flatMap(({ claim, missing }) => {
        const share = left.splice(0, missing)
        return share.length === 0 ? [] : [{ claim, candidates: share }]
      })
      this.#contention.claimed(await this.#claims.take(shares, take))
      if (candidates.length < wanted && rounds > 0) return
    }
  }

  /** The task that should be the best; null where that is not known, or was wrong. */
  async #claimGuessed(claim: Claim): Promise<ClaimedEntry | null> {
    const isLone = this.#open === 1
    if (this.#guesses === null || !isLone || !isUnfiltered(claim)) return null
    const { wanted } = this.#guesses
    if (wanted > 0) {
      const found = await this.#candidates.best(claim.request, null, wanted)
      this.#guesses.found(claim.request.workerId, found, wanted)
    }
    const best = this.#guess(claim)
    if (best === null) return null
    const claimed = await this.#claims.takeBest(best)
    this.#learn(best)
    return claimed
  }

  /** The best task, in one step; null where there is none, or only the worker's own failures. */
  async #claimBest(
    { request, batch }: Claim,
    routes: readonly string[] | null,
  ): Promise<ClaimedEntry | BackendError | null> {
    const { workerId, ttlMs } = request
    const query: ReadyQuery = { routes, workerId, own: false }
    const claim = async (filter: Filter<InstanceDoc>): Promise<readonly InstanceDoc[]> => {
      try {
        const doc = await this.#db.raw(() =>
          this.#db.instances.findOneAndUpdate(filter, claimStages('$q.t', workerId, ttlMs, batch), {
            sort: { 'q.k': 1 },
            returnDocument: 'after',
            projection: CLAIMED,
          }),
        )
        return doc === null ? [] : [doc as InstanceDoc]
      } catch (error) {
        // As if others had been faster.
        if (isGivenUp(error)) return []
        if ((error as { code?: unknown }).code !== SHARD_KEY_NOT_FOUND) throw toBackendError(error)
        this.#needsKey = true
        return []
      }
    }
    const claimedIn = ({ e }: InstanceDoc) => e.find(({ b }) => b === batch)
    const [doc] = await this.#ready.best(query, 1, claim, (one) => claimedIn(one)?.o ?? 0)
    this.#guesses?.claimed(doc !== undefined)
    if (doc === undefined) return null
    const u = await settleClaim(this.#db, doc)
    const entry = claimedIn(doc)
    if (entry === undefined) return null
    this.#documents.claimed(doc, entry.t)
    return this.#claims.toClaimedOrError({ ...doc, u }, entry)
  }
}

function keyOf({ instanceId, taskId }: { instanceId: string; taskId: string }): string {
  return `${instanceId}\0${taskId}`
}

function isUnfiltered({ request: { filter } }: Claim): boolean {
  return filter.tags === undefined && filter.definitionHashes === undefined
}
