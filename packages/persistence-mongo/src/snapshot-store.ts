import type { SnapshotSummary } from '@sayiir/persistence-core'
import type {
  InstanceWrite,
  ListPage,
  OptimisticStore,
  StoredInstance,
} from '@sayiir/persistence-core/adapter'
import type { Document, Filter } from 'mongodb'
import type { BestClaim } from './best-claim.ts'
import type { Database } from './database.ts'
import { eventKey } from './event-update.ts'
import { NOW } from './expressions.ts'
import type { KnownDocument, KnownDocuments } from './known-documents.ts'
import { partsOf } from './part-ids.ts'
import {
  Gone,
  INLINE_BYTES,
  INLINE_RESULTS_BYTES,
  isBlob,
  mustDiffer,
  type Packed,
  type Payloads,
  packedOf,
} from './payloads.ts'
import { type InstanceDoc, toStored } from './records.ts'
import { MAX_READS, type MongoTaskResultStore, tooBusy } from './task-result-store.ts'
import { elapsedMs, planWrite, type WritePayloads } from './write-plan.ts'
import type { WriteQueue, Written } from './write-queue.ts'

/** Microseconds of a token for each millisecond. */
const TOKENS_PER_MS = 1000
/** How far a server's clock may be behind another's, or set back, for tokens to grow all the same. */
export const CLOCK_STEP_MS: number = 3_600_000

/** When a marker goes away: its tokens are behind all that will be given then, whatever clock. */
const MARKER_END: Document = { $add: [NOW, 2 * CLOCK_STEP_MS] }

/** Fields that reading an instance leaves out: they grow, and others need them. */
export const LIGHT: Document = { w: 0, cm: 0, ev: 0, ek: 0, rv: 0, cv: 0, l: 0 }

/** What is read of an instance beside itself. */
type Read = InstanceDoc & { readonly now: Date; readonly known?: boolean }

/** Instances: read, written, listed, removed. */
export class MongoSnapshotStore {
  readonly #db: Database
  readonly #payloads: Payloads
  readonly #results: MongoTaskResultStore
  readonly #queue: WriteQueue
  readonly #documents: KnownDocuments
  readonly #agingIntervalMs: number
  #writes = 0
  readonly #writer: string = crypto.randomUUID().slice(0, 8)

  constructor(
    db: Database,
    payloads: Payloads,
    results: MongoTaskResultStore,
    queue: WriteQueue,
    documents: KnownDocuments,
    agingIntervalMs: number,
  ) {
    this.#db = db
    this.#payloads = payloads
    this.#results = results
    this.#queue = queue
    this.#documents = documents
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
    let before = ''
    for (let tries = 0; tries < MAX_READS; tries += 1) {
      const doc = await this.#find(instanceId, LIGHT, known)
      if (doc === null) return { now: await this.#db.now(), stored: null, isKnownEvent: false }
      const stored = await this.stored(doc)
      if (stored === null) {
        before = mustDiffer(doc, before)
        continue
      }
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
    let before = ''
    for (let tries = 0; tries < MAX_READS; tries += 1) {
      const doc = await this.#find(instanceId, { w: 0, cm: 0, ev: 0, ek: 0, cv: 0 })
      if (doc === null) return null
      const stored = await this.stored(doc)
      const results = stored === null ? 'gone' : await this.#results.all(doc)
      if (results === 'gone') before = mustDiffer(doc, before)
      else if (stored !== null && results !== null)
        return { now: this.#db.saw(doc.now), stored, results }
    }
    throw tooBusy(instanceId)
  }

  /**
   * The compare-and-set; null: refused.
   *
   * @param startedAt When the store was asked for it, by the monotonic clock.
   * @param beside A claim that may travel with it.
   */
  async write(
    write: InstanceWrite,
    id: string,
    startedAt: number,
    beside: BestClaim | null,
  ): Promise<Written | null> {
    const packed = packedOf(write.after.generation)
    const payloads = await this.#pack(write, packed)
    let written: Written | null = null
    let isKnown = false
    try {
      if (write.before === null && !this.#db.clock.isKnown) await this.#db.now()
      // A document that is inserted can not ask the server for its time.
      const isLate =
        write.before === null &&
        Math.abs(this.#db.clock.now() - write.at) > write.toleranceMs + elapsedMs(startedAt)
      if (!isLate) {
        const document = write.before === null ? null : this.#documents.get(write.before)
        const plan = (there: KnownDocument | null, isExact: boolean) =>
          planWrite(write, id, payloads, this.#agingIntervalMs, startedAt, there, isExact)
        const first = plan(document, false)
        this.#documents.delete(write.instanceId)
        written = await this.#queue.write({ ...first, beside })
        // It may be for the count of changes only: the claim was renewed by another process, say.
        if (written === null && first.document !== null)
          written = await this.#queue.write({ ...plan(null, false), beside: null })
        // Or for the token.
        if (written === null && first.known?.own != null)
          written = await this.#queue.write({ ...plan(null, true), beside: null })
        const { document: after } = written ?? {}
        if (after !== undefined && first.own !== null) this.#documents.set(write.instanceId, after)
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
    let inline = INLINE_RESULTS_BYTES
    for (const { taskId, order, output } of results) {
      const p = await pack(output, Math.min(INLINE_BYTES.output, inline))
      if (!isBlob(p)) inline -= output.byteLength
      packedResults.push({ t: taskId, o: order, p })
    }
    const payloads = {
      initialInput,
      finalOutput: finalOutput === known ? undefined : await packEnd(finalOutput),
      results: packedResults,
      event: event?.payload == null ? null : await pack(event.payload, INLINE_BYTES.event),
    }
    await this.#payloads.flush(into)
    return payloads
  }

  /**
   * Deletes everything of an instance; whether it was there.
   *
   * @param only What it must be like to be deleted, in the step that deletes it.
   */
  async remove(instanceId: string, only: Filter<InstanceDoc> = {}): Promise<boolean> {
    const now = this.#db.clock.isKnown ? this.#db.clock.now() : await this.#db.now()
    const old = (now - CLOCK_STEP_MS) * TOKENS_PER_MS
    // Nothing was claimed lately, and nothing is apart: it goes in one step.
    const { deletedCount } = await this.#db.run(() =>
      this.#db.instances.deleteOne({
        ...only,
        _id: instanceId,
        g: { $exists: true },
        pa: false,
        tk: { $lte: old },
      }),
    )
    if (deletedCount > 0) return true
    const before = await this.#db.run(() =>
      this.#db.instances.findOneAndUpdate(
        { ...only, _id: instanceId, g: { $exists: true } },
        [
          {
            $replaceWith: {
              _id: '$_id',
              tk: '$tk',
              sw: { $cond: ['$pa', '$g', null] },
              u: { $cond: ['$pa', 1, MARKER_END] },
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
    const swept: Document[] = [{ $set: { sw: null, u: MARKER_END } }]
    const marker = { _id: instanceId, sw: generation, g: { $exists: false } }
    await this.#db.again(() => this.#db.instances.updateOne(marker as Document, swept))
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
