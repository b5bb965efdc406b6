import { BackendError } from '@sayiir/persistence-core'
import {
  type ClaimedEntry,
  type ClaimRequest,
  isUnreadable,
} from '@sayiir/persistence-core/adapter'
import { Binary } from 'mongodb'
import type { BestClaim } from './best-claim.ts'
import { type Candidate, CLAIMED } from './candidates.ts'
import type { Database, InstancesUpdate, InstanceUpdate } from './database.ts'
import { bulkError, isPassing, toBackendError } from './errors.ts'
import { derive, isRefusal, literal, nextToken, OPEN, setInTime } from './expressions.ts'
import { bytesOf } from './payloads.ts'
import { type EntryDoc, entryClaim, type InstanceDoc, toClaim } from './records.ts'
import type { MongoSnapshotStore } from './snapshot-store.ts'
import { LONG_TAIL, type Tails } from './tail.ts'
import type { Upkeep } from './upkeep.ts'

/** Milliseconds by which the time of a claim may be off from the server's clock. */
export const TOLERANCE_MS = 1000

/** Claims that are worth an update of their own. */
const MIN_GROUP = 3

/** A claim to be made. */
export interface Claim {
  readonly request: ClaimRequest
  /** Names it. */
  readonly batch: string
  /** Whether it comes with a commit: its worker goes on and on. */
  readonly isNext: boolean
}

/** Candidates for a claim. */
export interface Share {
  readonly claim: Claim
  readonly candidates: readonly Candidate[]
}

/** What a claim has made of an instance. */
interface Made {
  readonly claim: Claim
  readonly before: InstanceDoc
  doc: InstanceDoc
  readonly taskIds: readonly string[]
}

/** Makes claims of tasks that were found. */
export class Claims {
  readonly #db: Database
  readonly #snapshots: MongoSnapshotStore
  readonly #upkeep: Upkeep
  readonly #tails: Tails

  constructor(db: Database, snapshots: MongoSnapshotStore, upkeep: Upkeep, tails: Tails) {
    this.#db = db
    this.#snapshots = snapshots
    this.#upkeep = upkeep
    this.#tails = tails
  }

  /**
   * Claims candidates, those of instances that have not changed since they were found: one write,
   * and where some have, one read that tells which. What a claim makes of an instance is known here,
   * as for a commit: its time is what the server's clock showed last, carried on, and the server
   * refuses it where that is off.
   *
   * @returns whether nobody was faster.
   */
  async take(
    shares: readonly Share[],
    claimed: (claim: Claim, entry: ClaimedEntry | BackendError) => void,
  ): Promise<boolean> {
    const at = this.#db.clock.now()
    const latest = new Map<string, InstanceDoc>()
    const made: Made[] = []
    for (const { claim, candidates } of shares) {
      for (const [instanceId, ones] of Map.groupBy(candidates, (one) => one.instanceId)) {
        const before = latest.get(instanceId) ?? ones[0]?.doc
        if (before === undefined) continue
        const taskIds = ones.map(({ entry }) => entry.t)
        const doc = claimIn(before, taskIds, claim, at)
        latest.set(instanceId, doc)
        made.push({ claim, before, doc, taskIds })
      }
    }
    const landed = (await this.#send(made, at)) ? made : await this.#look(made)
    let isWhole = landed.length === made.length
    for (const { claim, doc, taskIds } of landed) {
      for (const taskId of taskIds) {
        const entry = doc.e.find(({ t, b }) => t === taskId && b === claim.batch)
        if (entry === undefined) isWhole = false
        const one = entry === undefined ? null : await this.toClaimedOrError(doc, entry)
        if (one !== null) claimed(claim, one)
      }
    }
    return isWhole
  }

  /** Whether all of them have landed; false: that has to be found out. */
  async #send(made: Made[], at: number): Promise<boolean> {
    const { many, singles } = together(made, at)
    try {
      const matched = await this.#db.raw(() => this.#db.inOrder(singles, many))
      return matched === made.length
    } catch (error) {
      const { writeErrors } = bulkError(error)
      if (writeErrors.length > 0 && writeErrors.every(isRefusal)) {
        await this.#db.now()
        return false
      }
      if (!isPassing(error)) throw toBackendError(error)
      // Some of them may have landed; without a reply, a read may not tell yet.
      if (writeErrors.length === 0) await this.#db.catchUp(made.map(({ doc }) => doc._id))
      return false
    }
  }

  /** Claims what is supposed to be the best; null: it is not. */
  async takeBest(best: BestClaim): Promise<ClaimedEntry | null> {
    const { filter, update, sort } = best.send()
    try {
      const { matchedCount } = await this.#db.raw(() =>
        this.#db.instances.updateOne(filter, update, { sort }),
      )
      best.outcome = matchedCount === 1 ? 'landed' : 'refused'
    } catch (error) {
      if (isRefusal(error)) best.outcome = 'refused'
      else if (!isPassing(error)) throw toBackendError(error)
    }
    return this.takenBest(best)
  }

  /** The task of a claim that was sent; null: it has not landed. */
  async takenBest(best: BestClaim): Promise<ClaimedEntry | null> {
    if (best.outcome === 'unknown') await best.look()
    if (best.outcome !== 'landed') return null
    const { doc, claim } = best
    const entry = doc.e.find(({ b }) => b === claim.batch)
    const claimed = entry === undefined ? null : await this.toClaimedOrError(doc, entry)
    // One that can not be read is claimed, and so out of the way: others are looked for.
    return BackendError.is(claimed) ? null : claimed
  }

  /** Reads which claims were made. */
  async #look(made: readonly Made[]): Promise<readonly Made[]> {
    const docs = await this.docs([...new Set(made.map(({ doc }) => doc._id))])
    return made.flatMap(({ claim, doc, taskIds }) => {
      const there = docs.get(doc._id)
      return there === undefined ? [] : [{ claim, before: doc, doc: there, taskIds }]
    })
  }

  /** Instances, as a worker needs them. */
  async docs(ids: readonly string[]): Promise<ReadonlyMap<string, InstanceDoc>> {
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

  /** As `toClaimed`; what is wrong with an instance that can not be read. */
  async toClaimedOrError(
    doc: InstanceDoc,
    entry: EntryDoc,
  ): Promise<ClaimedEntry | BackendError | null> {
    try {
      return await this.toClaimed(doc, entry)
    } catch (error) {
      if (isUnreadable(error)) return error
      throw error
    }
  }

  /** A claimed task, from its instance's document. */
  async toClaimed(doc: InstanceDoc, entry: EntryDoc): Promise<ClaimedEntry | null> {
    this.#upkeep.note(doc.u)
    if (doc.l.length > LONG_TAIL) this.#tails.move(doc._id, doc.g)
    const stored = await this.#snapshots.stored(doc)
    const claim = toClaim(entry)
    if (stored === null || claim === null) return null
    const { t: taskId, d: deliveries } = entry
    this.#db.clock.observe(claim.claimedAt)
    return { instanceId: doc._id, taskId, claim, deliveries, stored, ...inputOf(doc, entry) }
  }
}

/** What a claim of tasks makes of an instance that is known. */
export function claimIn(
  before: InstanceDoc,
  taskIds: readonly string[],
  { request: { workerId, ttlMs }, batch }: Claim,
  at: number,
  tk: number = nextToken(before.tk, at),
): InstanceDoc {
  const e = before.e.map((entry) =>
    taskIds.includes(entry.t) ? entryClaim(entry, workerId, tk, at, ttlMs, batch) : entry,
  )
  return { ...before, ...derive(OPEN, e, at), e, tk, y: before.y + 1 }
}

/**
 * The updates for claims. Those that do the same to instances that have one task each and are in
 * the same state are one: the server does it in half the time.
 */
function together(made: Made[], at: number) {
  const singles: InstanceUpdate[] = []
  const many: InstancesUpdate[] = []
  const groups = Map.groupBy(made, ({ claim: { request }, before, taskIds }) =>
    before.e.length === 1 && !forgets(before, taskIds)
      ? JSON.stringify([request.workerId, request.ttlMs, before.y])
      : '',
  )
  for (const [key, group] of groups) {
    if (key === '' || group.length < MIN_GROUP) {
      for (const one of group) singles.push(updateOne(one, at))
      continue
    }
    const token = Math.max(...group.map(({ doc }) => doc.tk))
    for (const one of group) one.doc = claimIn(one.before, one.taskIds, one.claim, at, token)
    many.push(updateMany(group, at))
  }
  return { many, singles }
}

/** Whether a commit's record goes away: it is forgotten with the next claim of its task. */
function forgets({ cm }: InstanceDoc, taskIds: readonly string[]): boolean {
  return cm.some(({ t }) => taskIds.includes(t))
}

function updateOne({ before, doc, taskIds }: Made, at: number): InstanceUpdate {
  const { _id, g, y } = before
  const sets = claimSets(before, doc, taskIds)
  return {
    updateOne: { filter: { _id, g, y }, update: [setInTime(sets, at, TOLERANCE_MS)] },
  }
}

/** What a claim sets in an instance of which it is known what becomes of it. */
export function claimSets(
  before: InstanceDoc,
  doc: InstanceDoc,
  taskIds: readonly string[],
): Readonly<Record<string, unknown>> {
  const sets: Record<string, unknown> = {
    e: literal(doc.e),
    q: literal(doc.q),
    x: literal(doc.x),
    u: doc.u,
    tk: doc.tk,
    y: doc.y,
  }
  if (forgets(before, taskIds)) {
    const stays = { $not: [{ $in: ['$$v.t', literal(taskIds)] }] }
    sets.cm = { $filter: { input: '$cm', as: 'v', cond: stays } }
  }
  return sets
}

/** One for instances with one task each, which differ in nothing that it writes but the names of the claims. */
function updateMany(group: readonly Made[], at: number): InstancesUpdate {
  const [first] = group as [Made]
  const { e, u, tk, y } = first.doc
  const [{ w, k, c, x }] = e as [EntryDoc]
  const ids = group.map(({ before }) => before._id)
  const batches = group.map(({ claim }) => claim.batch)
  const isOne = batches.every((batch) => batch === first.claim.batch)
  const b = isOne
    ? literal(first.claim.batch)
    : { $arrayElemAt: [literal(batches), { $indexOfArray: [literal(ids), '$_id'] }] }
  const fields = { w: literal(w), k, c, x, b, d: { $add: [{ $first: '$e.d' }, 1] } }
  const sets = {
    e: [{ $mergeObjects: [{ $first: '$e' }, fields] }],
    q: null,
    x: null,
    u,
    tk,
    y,
  }
  return {
    updateMany: {
      // A generation is of one instance only, so each is the one that was found, as it was found.
      filter: {
        _id: { $in: ids },
        g: { $in: group.map(({ before }) => before.g) },
        y: first.before.y,
      },
      update: [setInTime(sets, at, TOLERANCE_MS)],
    },
  }
}

/** The task's input, where the tail has it. */
export function inputOf(
  { l }: Pick<InstanceDoc, 'l'>,
  { i }: EntryDoc,
): { readonly input?: Uint8Array } {
  const payload = i === null ? undefined : l.find(({ t }) => t === i)?.p
  return payload instanceof Binary ? { input: bytesOf(payload) } : {}
}
