import { BackendError } from '@sayiir/persistence-core'
import { CallQueue, compareIds, quote } from '@sayiir/persistence-core/adapter'
import type { AnyBulkWriteOperation, Document } from 'mongodb'
import type { BestClaim } from './best-claim.ts'
import type { Database } from './database.ts'
import { bulkError, isDuplicate, isPassing, toBackendError } from './errors.ts'
import { isRefusal } from './expressions.ts'
import type { KnownDocument } from './known-documents.ts'
import { partsOf } from './part-ids.ts'
import type { EntryDoc, InstanceDoc, MarkerDoc } from './records.ts'
import { REMEMBERED_WRITES, type WritePlan } from './write-plan.ts'

/** A write, and what may travel with it. */
export interface QueuedWrite extends WritePlan {
  /** A claim that is sent with the write where that is alone; what becomes of it, it tells itself. */
  readonly beside: BestClaim | null
}

/** What a document tells after a write. */
export interface Written {
  /** The server's clock, about. */
  readonly now: number
  /** When it needs care. */
  readonly care: number | null
  /** The entry of the task that was claimed in the same step. */
  readonly own: EntryDoc | null
  /** The document, where it was known and still is. */
  readonly document?: KnownDocument
}

/** What is read back of a document that was written. */
const READ_BACK = {
  g: 1,
  n: 1,
  w: 1,
  u: 1,
  now: '$$NOW',
} as const

type ReadBack = Pick<InstanceDoc, '_id' | 'g' | 'n' | 'w' | 'u'> & {
  readonly e?: InstanceDoc['e']
  readonly now: Date
}

/**
 * Sends writes: a lone one as one update, those that are in flight together as one `bulkWrite`
 * (rule D10). Where as many landed as were sent, and what they left is known here, that is all;
 * otherwise one read tells which of them landed.
 *
 * Every write has an id, which the document remembers, so one that is sent again after a lost reply
 * is recognised (rule S7), whether or not the server numbers its writes.
 */
export class WriteQueue {
  readonly #db: Database
  readonly #queue: CallQueue<QueuedWrite, Written | null | Error>

  constructor(db: Database) {
    this.#db = db
    this.#queue = new CallQueue<QueuedWrite, Written | null | Error>({
      send: (plans) => this.#send(plans),
      maxCalls: 100,
      maxBytes: 8 * 1024 * 1024,
      maxInFlight: 2,
      aloneAtOnce: true,
      sizeOf: sizeOf,
    })
  }

  /** Null: it was refused. */
  async write(plan: QueuedWrite): Promise<Written | null> {
    const result = await this.#queue.call(plan)
    if (result instanceof Error) throw result
    return result
  }

  async #send(plans: readonly QueuedWrite[]): Promise<readonly (Written | null | Error)[]> {
    const [only, ...others] = plans
    if (only !== undefined && others.length === 0)
      return [await settled(this.#one(only, only.beside))]
    // Of two writes of one instance, the second can be right only once the first has landed.
    const seen = new Set<string>()
    const together: WritePlan[] = []
    const after: WritePlan[] = []
    for (const plan of plans) {
      const target = seen.has(plan.write.instanceId) ? after : together
      target.push(plan)
      seen.add(plan.write.instanceId)
    }
    const results = new Map<WritePlan, Written | null | Error>()
    // In the order in which everybody locks them.
    together.sort((a, b) => compareIds(a.write.instanceId, b.write.instanceId))
    await this.#together(together, results)
    for (const plan of after) results.set(plan, await settled(this.#one(plan)))
    return plans.map((plan) => results.get(plan) ?? null)
  }

  async #together(
    plans: readonly WritePlan[],
    results: Map<WritePlan, Written | null | Error>,
  ): Promise<void> {
    const operations = plans.map(
      ({ insert, filter, update }): AnyBulkWriteOperation<InstanceDoc> =>
        insert === null
          ? { updateOne: { filter, update: update() } }
          : { insertOne: { document: insert } },
    )
    let landed = 0
    const failed = new Map<number, unknown>()
    try {
      const { matchedCount, insertedCount } = await this.#db.raw(() =>
        this.#db.instances.bulkWrite(operations, { ordered: false }),
      )
      landed = matchedCount + insertedCount
    } catch (error) {
      const { result, writeErrors } = bulkError(error)
      for (const one of writeErrors) failed.set(one.index, one)
      if (
        writeErrors.length === 0 ||
        writeErrors.some((one) => !isDuplicate(one) && !isRefusal(one))
      ) {
        // Whatever it was, it may concern only some of them.
        const resend = plans.map(async (plan) =>
          results.set(plan, await settled(this.#again(plan))),
        )
        return void (await Promise.all(resend))
      }
      landed = (result?.matchedCount ?? 0) + (result?.insertedCount ?? 0)
    }
    const isSure = landed === plans.length - failed.size
    const unsure: WritePlan[] = []
    const occupied: WritePlan[] = []
    for (const [index, plan] of plans.entries()) {
      const error = failed.get(index)
      if (error !== undefined) {
        results.set(plan, null)
        if (isDuplicate(error)) occupied.push(plan)
      } else if (isSure && plan.known !== null) {
        results.set(plan, { now: this.#db.clock.now(), ...plan.known })
      } else unsure.push(plan)
    }
    for (const plan of occupied) results.set(plan, await settled(this.#occupied(plan)))
    if (unsure.length > 0) await this.#look(unsure, results)
  }

  /** Reads what became of writes. */
  async #look(
    plans: readonly WritePlan[],
    results: Map<WritePlan, Written | null | Error>,
  ): Promise<void> {
    const ids = plans.map(({ write }) => write.instanceId)
    const docs = await this.#db.again(() =>
      this.#db.instances
        .find<ReadBack>({ _id: { $in: ids } }, { projection: { ...READ_BACK, e: 1 } })
        .toArray(),
    )
    const byId = new Map(docs.map((doc) => [doc._id, doc]))
    for (const plan of plans) results.set(plan, this.#answer(plan, byId.get(plan.write.instanceId)))
  }

  async #one(plan: WritePlan, beside: BestClaim | null = null): Promise<Written | null> {
    try {
      return await this.#once(plan, beside)
    } catch (error) {
      if (!isPassing(error)) throw toBackendError(error)
    }
    return this.#again(plan)
  }

  /** Sent again: either it lands now, or what is there tells that it landed before. */
  async #again(plan: WritePlan): Promise<Written | null> {
    try {
      const written = await this.#once(plan)
      if (written !== null) return written
      await this.#db.catchUp([plan.write.instanceId])
      return await this.#landedBefore(plan)
    } catch (error) {
      throw toBackendError(error)
    }
  }

  async #once(plan: WritePlan, beside: BestClaim | null = null): Promise<Written | null> {
    const { insert, filter, update, own, known } = plan
    if (insert !== null) {
      try {
        await this.#db.raw(() => this.#db.instances.insertOne(insert))
      } catch (error) {
        if (isDuplicate(error)) return this.#occupied(plan)
        throw error
      }
      return { now: this.#db.clock.now(), care: insert.u, own: null }
    }
    try {
      if (known !== null) {
        const hasLanded =
          beside === null ? await this.#update(plan) : await this.#updateBeside(plan, beside)
        if (!hasLanded) return null
        const { document } = plan
        const there = document === null ? undefined : { document }
        return { now: this.#db.clock.now(), ...known, ...there }
      }
      const doc = await this.#db.raw(() =>
        this.#db.instances.findOneAndUpdate(filter, update(), {
          returnDocument: 'after',
          projection: own === null ? READ_BACK : { ...READ_BACK, e: 1 },
        }),
      )
      return this.#answer(plan, doc as unknown as ReadBack | null)
    } catch (error) {
      if (isRefusal(error)) return null
      throw error
    }
  }

  async #update(plan: WritePlan): Promise<boolean> {
    const { filter, update } = plan.lone()
    const { matchedCount } = await this.#db.raw(() => this.#db.instances.updateOne(filter, update))
    return matchedCount > 0
  }

  /** The write and a claim in one command; whether the write has landed. */
  async #updateBeside(plan: WritePlan, beside: BestClaim): Promise<boolean> {
    const operations: AnyBulkWriteOperation<InstanceDoc>[] = [
      { updateOne: plan.lone() },
      { updateOne: beside.send() },
    ]
    try {
      const { matchedCount } = await this.#db.raw(() =>
        this.#db.instances.bulkWrite(operations, { ordered: false }),
      )
      if (matchedCount === 1) {
        // One of the two. The write tells itself: the claim may have been lost again by now.
        const written = await this.#landedBefore(plan)
        beside.outcome = written === null ? 'unknown' : 'refused'
        return written !== null
      }
      beside.outcome = matchedCount === 0 ? 'refused' : 'landed'
      return matchedCount > 0
    } catch (error) {
      const { writeErrors, result } = bulkError(error)
      if (writeErrors.length === 0) throw error
      const failed = writeErrors.find(({ index }) => index === 0)
      const refused = writeErrors.find(({ index }) => index === 1)
      const landed = result?.matchedCount === 1
      if (refused !== undefined) beside.outcome = isRefusal(refused) ? 'refused' : 'unknown'
      else beside.outcome = landed ? 'landed' : 'refused'
      if (failed !== undefined && !isRefusal(failed)) throw error
      return failed === undefined && landed
    }
  }

  /** What a document tells of a write that was sent once. */
  #answer(plan: WritePlan, doc: ReadBack | null | undefined): Written | null {
    if (doc == null || doc.g !== plan.write.after.generation || !doc.w?.includes(plan.id)) {
      if (doc != null) this.#db.saw(doc.now)
      return null
    }
    const own = doc.e?.find(({ t, b }) => t === plan.own && b === plan.id) ?? null
    return { now: this.#db.saw(doc.now), care: doc.u, own }
  }

  async #landedBefore(plan: WritePlan): Promise<Written | null> {
    const { instanceId, before } = plan.write
    const doc = await this.#db.raw(() =>
      this.#db.instances.findOne<ReadBack>(
        { _id: instanceId },
        { projection: { ...READ_BACK, e: 1 } },
      ),
    )
    const written = this.#answer(plan, doc)
    if (written !== null || doc === null || doc.g !== before?.generation) return written
    if (doc.n - before.version <= REMEMBERED_WRITES) return null
    throw new BackendError(
      'UNAVAILABLE',
      `a connection failed, and what became of a write of instance ${quote(instanceId)} is not known; try again`,
      { instanceId },
    )
  }

  /** An instance to be created is there already: by an earlier try of the same write, or only its marker, or really. */
  async #occupied(plan: WritePlan): Promise<Written | null> {
    const { insert, id } = plan
    if (insert === null) return null
    const { _id } = insert
    const there = (await this.#db.run(() => this.#db.instances.findOne({ _id }))) as
      | InstanceDoc
      | MarkerDoc
      | null
    if (there === null) {
      // It has been deleted, or those that this read is of do not have it yet.
      await this.#db.catchUp([_id])
      return this.#one(plan)
    }
    const written = { now: this.#db.clock.now(), care: insert.u, own: null }
    if ('g' in there) return there.w.includes(id) ? written : null
    if (there.sw !== null) {
      const { from, to } = partsOf(there.sw)
      await this.#db.again(() => this.#db.parts.deleteMany({ _id: { $gte: from, $lt: to } }))
    }
    const fresh: Document = { $literal: insert }
    const doc = await this.#db.run(() =>
      this.#db.instances.findOneAndUpdate(
        { _id, g: { $exists: false } },
        [{ $replaceWith: { $mergeObjects: [fresh, { tk: '$tk' }] } }],
        { returnDocument: 'after', projection: READ_BACK },
      ),
    )
    return doc === null ? null : this.#answer(plan, doc as unknown as ReadBack)
  }
}

/** A result, or the error that it ended in. */
async function settled(work: Promise<Written | null>): Promise<Written | null | Error> {
  try {
    return await work
  } catch (error) {
    const told = toBackendError(error)
    return told instanceof Error ? told : new Error(String(told))
  }
}

function sizeOf({ write }: WritePlan): number {
  return (
    1024 +
    write.results.reduce((bytes, { output }) => bytes + Math.min(output.byteLength, 16384), 0)
  )
}
