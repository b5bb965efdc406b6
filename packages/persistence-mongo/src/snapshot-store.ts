import { BackendError, type SnapshotSummary, type TaskResult } from '@sayiir/persistence-core'
import type {
  CommitRecord,
  InstanceWrite,
  ListPage,
  OptimisticStore,
  StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { Document } from 'mongodb'
import type { Database } from './database.ts'
import { eventKey } from './event-update.ts'
import { commitId, partsOf, resultId, resultsOf, taskOf } from './part-ids.ts'
import { Gone, INLINE_BYTES, type Packed, type Payloads } from './payloads.ts'
import { type CommitDoc, type InstanceDoc, type PayloadDoc, toStored } from './records.ts'
import { planWrite, type WritePayloads } from './write-plan.ts'
import type { WriteQueue, Written } from './write-queue.ts'

/** Tries of a read that needs several documents, each of which may change in between. */
const MAX_READS = 20
/** Ids of one `$in` at most. */
const MAX_IDS = 1000
/** Microseconds of a token for each millisecond. */
const TOKENS_PER_MS = 1000
/** How far a server's clock may be behind another's, or set back, for tokens to grow all the same. */
export const CLOCK_STEP_MS: number = 3_600_000

/** Fields that reading an instance leaves out: they grow, and others need them. */
export const LIGHT: Document = { w: 0, cm: 0, ev: 0, ek: 0, rv: 0, cv: 0, l: 0 }

/** What is read of an instance beside itself. */
type Read = InstanceDoc & { readonly now: Date; readonly known?: boolean }

/** Instances: read, written, listed, removed. */
export class MongoSnapshotStore {
  readonly #db: Database
  readonly #payloads: Payloads
  readonly #queue: WriteQueue
  readonly #agingIntervalMs: number
  #writes = 0
  readonly #writer: string = crypto.randomUUID().slice(0, 8)

  constructor(db: Database, payloads: Payloads, queue: WriteQueue, agingIntervalMs: number) {
    this.#db = db
    this.#payloads = payloads
    this.#queue = queue
    this.#agingIntervalMs = agingIntervalMs
  }

  /** An id that no other write or claim has. */
  newId(): string {
    this.#writes += 1
    return `${this.#writer}${this.#writes.toString(36)}`
  }

  async read(
    instanceId: string,
    event?: { readonly signalName: string; readonly eventId: string },
  ): ReturnType<OptimisticStore['read']> {
    const known = event === undefined ? undefined : eventKey(event.signalName, event.eventId)
    for (let tries = 0; tries < MAX_READS; tries += 1) {
      const doc = await this.#find(instanceId, LIGHT, known)
      if (doc === null) return { now: await this.#db.now(), stored: null, isKnownEvent: false }
      const stored = await this.stored(doc)
      if (stored === null) continue
      return { now: this.#db.saw(doc.now), stored, isKnownEvent: doc.known === true }
    }
    throw tooBusy(instanceId)
  }

  /** What a document says; null if its payloads were replaced meanwhile. */
  async stored(doc: InstanceDoc): Promise<StoredInstance | null> {
    try {
      const [initialInput, finalOutput] = await Promise.all([
        this.#payloads.unpackOrNull(doc.g, doc.i),
        this.#payloads.unpackOrNull(doc.g, doc.f),
      ])
      return toStored(doc, { initialInput, finalOutput })
    } catch (error) {
      if (error instanceof Gone) return null
      throw error
    }
  }

  async readWhole(instanceId: string): ReturnType<OptimisticStore['readWhole']> {
    for (let tries = 0; tries < MAX_READS; tries += 1) {
      const doc = await this.#find(instanceId, { w: 0, cm: 0, ev: 0, ek: 0, cv: 0 })
      if (doc === null) return null
      const stored = await this.stored(doc)
      const results = stored === null ? null : await this.#allResults(doc)
      if (stored === null || results === null) continue
      return { now: this.#db.saw(doc.now), stored, results }
    }
    throw tooBusy(instanceId)
  }

  /**
   * All results in order: those that were moved to parts, and over them the tail. Parts may be newer
   * than the document that was read, never older: then it is read again.
   */
  async #allResults(doc: InstanceDoc): Promise<TaskResult[] | null> {
    const found = new Map<string, { readonly o: number; readonly p: PayloadDoc }>()
    if (doc.pa) {
      const { from, to } = resultsOf(doc.g, doc.rg)
      const parts = await this.#db.again(() =>
        this.#db.parts.find({ _id: { $gte: from, $lt: to } }, { batchSize: 10_000 }).toArray(),
      )
      if (parts.length > 0) {
        const again = await this.#db.again(() =>
          this.#db.instances.findOne({ _id: doc._id }, { projection: { g: 1, rg: 1 } }),
        )
        if (again?.g !== doc.g || again.rg !== doc.rg) return null
      }
      for (const { _id, o, p } of parts) {
        if (o === undefined || p === undefined) continue
        if (o > doc.lo) return null
        const taskId = taskOf(_id, doc.g, doc.rg)
        if (!doc.rv.includes(taskId)) found.set(taskId, { o, p })
      }
    }
    for (const { t, o, p } of doc.l) found.set(t, { o, p })
    const ordered = [...found].sort(([, a], [, b]) => a.o - b.o)
    try {
      return await Promise.all(
        ordered.map(async ([taskId, { p }]) => ({
          taskId,
          output: await this.#payloads.unpack(doc.g, p),
        })),
      )
    } catch (error) {
      if (error instanceof Gone) return null
      throw error
    }
  }

  async readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): ReturnType<OptimisticStore['readOutputs']> {
    for (let tries = 0; tries < MAX_READS; tries += 1) {
      const doc = await this.#db.again(() =>
        this.#db.instances.findOne(
          { _id: instanceId, g: { $exists: true } },
          { projection: { g: 1, rg: 1, pa: 1, rv: 1, l: 1 } },
        ),
      )
      if (doc === null) return null
      const found = new Map(doc.l.map(({ t, p }) => [t, p]))
      const missing = taskIds.filter((taskId) => !found.has(taskId) && !doc.rv.includes(taskId))
      if (doc.pa) {
        for (let from = 0; from < missing.length; from += MAX_IDS) {
          const ids = missing
            .slice(from, from + MAX_IDS)
            .map((taskId) => resultId(doc.g, doc.rg, taskId))
          const parts = await this.#db.again(() =>
            this.#db.parts.find({ _id: { $in: ids } }).toArray(),
          )
          for (const { _id, p } of parts)
            if (p !== undefined) found.set(taskOf(_id, doc.g, doc.rg), p)
        }
      }
      try {
        const outputs = new Map<string, Uint8Array>()
        for (const taskId of taskIds) {
          const payload = found.get(taskId)
          if (payload !== undefined)
            outputs.set(taskId, await this.#payloads.unpack(doc.g, payload))
        }
        return outputs
      } catch (error) {
        if (!(error instanceof Gone)) throw error
      }
    }
    throw tooBusy(instanceId)
  }

  async readCommit(instanceId: string, taskId: string): Promise<CommitRecord | null> {
    const doc = await this.#db.again(() =>
      this.#db.instances.findOne(
        { _id: instanceId, g: { $exists: true } },
        { projection: { g: 1, pa: 1, cm: 1, cv: 1, e: 1 } },
      ),
    )
    if (doc === null) return null
    const inTail = doc.cm.find(({ t }) => t === taskId)
    const record = inTail ?? (doc.pa ? await this.#movedCommit(doc, taskId) : null)
    if (record == null) return null
    const { w: workerId, k: token, r: revision, s: status, b } = record
    const next = b === null ? null : await this.#broughtBy(b)
    return { workerId, token, revision, status, next }
  }

  /** A record that was moved to the parts, unless the task was claimed since. */
  async #movedCommit(
    doc: Pick<InstanceDoc, 'g' | 'e' | 'cv'>,
    taskId: string,
  ): Promise<CommitDoc | null> {
    const part = await this.#db.again(() =>
      this.#db.parts.findOne({ _id: commitId(doc.g, taskId) }),
    )
    const record = part?.c as CommitDoc | undefined
    if (record === undefined) return null
    const isVoid =
      doc.cv.some(({ t, k }) => t === taskId && k > record.k) ||
      doc.e.some(({ t, k, b }) => t === taskId && k > record.k && (b === null || b !== record.b))
    return isVoid ? null : record
  }

  /** The claim of that name. Instances with claims are in the index of those that will need care. */
  async #broughtBy(batch: string): Promise<CommitRecord['next']> {
    const doc = await this.#db.again(() =>
      this.#db.instances.findOne(
        { u: { $gt: 0 }, 'e.b': batch },
        { projection: { e: { $elemMatch: { b: batch } } } },
      ),
    )
    const entry = doc?.e[0]
    if (doc === null || entry === undefined || entry.w === null) return null
    return { instanceId: doc._id, taskId: entry.t, token: entry.k }
  }

  /** The compare-and-set; null: refused. */
  async write(write: InstanceWrite, id: string): Promise<Written | null> {
    const packed: Packed = { generation: write.after.generation, blobs: [] }
    const payloads = await this.#pack(write, packed)
    let written: Written | null = null
    let isKnown = false
    try {
      if (write.before === null && !this.#db.clock.isKnown) await this.#db.now()
      // A document that is inserted can not ask the server for its time.
      const isLate =
        write.before === null && Math.abs(this.#db.clock.now() - write.at) > write.toleranceMs
      if (!isLate) {
        const plan = (isExact: boolean) =>
          planWrite(write, id, payloads, this.#agingIntervalMs, isExact)
        const first = plan(false)
        written = await this.#queue.write(first)
        // It may be for the token only.
        if (written === null && first.known?.own != null)
          written = await this.#queue.write(plan(true))
      }
      isKnown = true
    } finally {
      if (written !== null) this.#payloads.settle(packed)
      else if (isKnown) this.#payloads.drop(packed)
    }
    return written
  }

  async #pack(write: InstanceWrite, into: Packed): Promise<WritePayloads> {
    const { instanceId, before, after, results, event } = write
    const pack = (bytes: Uint8Array, inline: number) =>
      this.#payloads.pack(instanceId, bytes, inline, into)
    const packEnd = (bytes: Uint8Array | null) =>
      bytes === null ? null : pack(bytes, INLINE_BYTES.ends)
    const finalOutput = outputOf(after)
    const known = before === null ? null : outputOf(before)
    const initialInput =
      before !== null && before.head.initialInput === after.head.initialInput
        ? undefined
        : await packEnd(after.head.initialInput)
    const packedResults = []
    for (const { taskId, order, output } of results) {
      packedResults.push({ t: taskId, o: order, p: await pack(output, INLINE_BYTES.output) })
    }
    return {
      initialInput,
      finalOutput: finalOutput === known ? undefined : await packEnd(finalOutput),
      results: packedResults,
      event: event?.payload == null ? null : await pack(event.payload, INLINE_BYTES.event),
    }
  }

  async remove(instanceId: string): Promise<boolean> {
    const now = this.#db.clock.isKnown ? this.#db.clock.now() : await this.#db.now()
    const old = (now - CLOCK_STEP_MS) * TOKENS_PER_MS
    // Nothing was claimed lately, and nothing is apart: it goes in one step.
    const { deletedCount } = await this.#db.run(() =>
      this.#db.instances.deleteOne({
        _id: instanceId,
        g: { $exists: true },
        pa: false,
        tk: { $lte: old },
      }),
    )
    if (deletedCount > 0) return true
    const before = await this.#db.run(() =>
      this.#db.instances.findOneAndUpdate(
        { _id: instanceId, g: { $exists: true } },
        [
          {
            $replaceWith: {
              _id: '$_id',
              tk: '$tk',
              sw: { $cond: ['$pa', '$g', null] },
              gone: { $cond: ['$pa', null, '$$NOW'] },
              u: { $cond: ['$pa', 1, null] },
            },
          },
        ],
        { returnDocument: 'before', projection: { g: 1, pa: 1 } },
      ),
    )
    if (before === null) return false
    if (before.pa) await this.sweep(instanceId, before.g)
    return true
  }

  /** Deletes the parts of an instance that was deleted, and then says so in its marker. */
  async sweep(instanceId: string, generation: string): Promise<void> {
    const { from, to } = partsOf(generation)
    await this.#db.again(() => this.#db.parts.deleteMany({ _id: { $gte: from, $lt: to } }))
    const gone: Document[] = [{ $set: { sw: null, u: null, gone: '$$NOW' } }]
    const marker = { _id: instanceId, sw: generation, g: { $exists: false } }
    await this.#db.again(() => this.#db.instances.updateOne(marker as Document, gone))
  }

  async list(page: ListPage): Promise<readonly SnapshotSummary[]> {
    const { start, inclusive, limit, statuses, definitionHashes } = page
    const docs = await this.#db.again(() =>
      this.#db.instances
        .find(
          {
            g: { $exists: true },
            ...(start === null ? undefined : { _id: inclusive ? { $gte: start } : { $gt: start } }),
            ...(statuses === null ? undefined : { s: { $in: [...statuses] } }),
            ...(definitionHashes === null ? undefined : { d: { $in: [...definitionHashes] } }),
          },
          { projection: { d: 1, s: 1, r: 1, c: 1, m: 1 }, batchSize: limit },
        )
        .sort({ _id: 1 })
        .limit(limit)
        .toArray(),
    )
    return docs.map(({ _id, d, s, r, c, m }) => ({
      instanceId: _id,
      definitionHash: d,
      status: s,
      revision: r,
      createdAt: c,
      updatedAt: m,
    }))
  }

  async #find(instanceId: string, projection: Document, key?: string): Promise<Read | null> {
    const stages: Document[] = [{ $match: { _id: instanceId, g: { $exists: true } } }]
    if (key !== undefined) stages.push({ $set: { known: { $in: [{ $literal: key }, '$ek'] } } })
    stages.push({ $project: projection }, { $set: { now: '$$NOW' } })
    const [doc] = await this.#db.again(() => this.#db.instances.aggregate<Read>(stages).toArray())
    return doc ?? null
  }
}

function outputOf({ head }: StoredInstance): Uint8Array | null {
  return head.state.status === 'completed' ? head.state.finalOutput : null
}

function tooBusy(instanceId: string): BackendError {
  return new BackendError(
    'UNAVAILABLE',
    'an instance is changed so often that it can not be read whole; try again later',
    { instanceId },
  )
}
