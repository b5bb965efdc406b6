import { BackendError } from '@sayiir/persistence-core'
import { quote } from '@sayiir/persistence-core/adapter'
import { Binary, type Filter } from 'mongodb'
import type { Database, PartDoc } from './database.ts'
import { bulkError, isDuplicate } from './errors.ts'
import { chunkId, chunksOf } from './part-ids.ts'
import type { BlobDoc, InstanceDoc, PayloadDoc } from './records.ts'

/** Bytes of a chunk: a few fit into a message, and one into a document. */
const CHUNK_BYTES: number = 4 * 1024 * 1024

/** Bytes of chunks that are written together. */
const FLUSH_BYTES: number = CHUNK_BYTES
/** Ids of one `$in` at most. */
const MAX_IDS = 1000
/** Payloads of one chunk that are read together: how large each is, and how many, at most. */
const SMALL_BYTES: number = 64 * 1024
const MAX_SMALL = 200
/** Bytes of outputs in place that one write brings at most: a few such writes fit into a document. */
export const INLINE_RESULTS_BYTES: number = 256 * 1024

/** Bytes up to which a payload of its kind is in the instance's document. */
export const INLINE_BYTES: Readonly<Record<'ends' | 'output' | 'event', number>> = {
  /** The initial input and the final output: a worker gets the former with every task. */
  ends: 64 * 1024,
  /** An output of the tail. */
  output: 16 * 1024,
  /** An event: any number may wait. */
  event: 1024,
}

/** Payloads that are written apart, before the document that will refer to them. */
export interface Packed {
  readonly generation: string
  /** Of their chunks, those that are written and those that are not yet. */
  readonly ids: string[]
  /** Chunks that are not written yet, and how much they are. */
  readonly chunks: PartDoc[]
  chunkBytes: number
}

/** Nothing yet. */
export function packedOf(generation: string): Packed {
  return { generation, ids: [], chunks: [], chunkBytes: 0 }
}

let blobs = 0

/**
 * Payloads, in place where they are small, else in chunks (rule S5): the chunks are written first,
 * and count for nothing until a document refers to them. Until then they have the time at which
 * they were written, by which those that a writer left behind are found.
 */
export class Payloads {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  /** A payload as the document will have it; what of it is apart is written by `flush`. */
  async pack(
    instanceId: string,
    bytes: Uint8Array,
    inlineBytes: number,
    into: Packed,
  ): Promise<PayloadDoc> {
    if (bytes.byteLength <= inlineBytes) return new Binary(bytes)
    blobs += 1
    const blob = `${process.pid.toString(36)}-${Date.now().toString(36)}-${blobs.toString(36)}-${crypto.randomUUID().slice(0, 8)}`
    const at = this.#db.clock.isKnown ? this.#db.clock.now() : await this.#db.now()
    for (let index = 0; index * CHUNK_BYTES < bytes.byteLength; index += 1) {
      const chunk = bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)
      const _id = chunkId(into.generation, blob, index)
      into.ids.push(_id)
      into.chunks.push({ _id, k: new Binary(chunk), i: instanceId, at })
      into.chunkBytes += chunk.byteLength
      if (into.chunkBytes >= FLUSH_BYTES) await this.flush(into)
    }
    return { b: blob, z: bytes.byteLength }
  }

  /** Writes what was packed and is not written yet. */
  async flush(into: Packed): Promise<void> {
    const docs = into.chunks.splice(0)
    into.chunkBytes = 0
    if (docs.length === 0) return
    await this.#db.again(async () => {
      try {
        await this.#db.parts.insertMany(docs, { ordered: false })
      } catch (error) {
        // Those that are there were written by a try whose reply was lost.
        const { writeErrors } = bulkError(error)
        if (writeErrors.length === 0 || !writeErrors.every(isDuplicate)) throw error
      }
    })
  }

  /**
   * The bytes of a payload.
   *
   * @throws `Gone` where its chunks are not there (any more): the document has changed meanwhile.
   */
  async unpack(generation: string, payload: PayloadDoc): Promise<Uint8Array> {
    if (!isBlob(payload)) return bytesOf(payload)
    const { from, to } = chunksOf(generation, payload.b)
    const chunks = await this.#db.again(() =>
      this.#db.parts
        .find({ _id: { $gte: from, $lt: to } }, { projection: { k: 1 } })
        .sort({ _id: 1 })
        .toArray(),
    )
    const bytes = new Uint8Array(payload.z)
    let length = 0
    for (const { k } of chunks) {
      const chunk = k instanceof Binary ? bytesOf(k) : new Uint8Array(0)
      bytes.set(chunk.subarray(0, bytes.byteLength - length), length)
      length += chunk.byteLength
    }
    if (length !== payload.z) throw new Gone(payload.b)
    return bytes
  }

  /** As `unpack`, of one that may be missing. */
  async unpackOrNull(
    generation: string,
    payload: PayloadDoc | null | undefined,
  ): Promise<Uint8Array | null> {
    return payload == null ? null : this.unpack(generation, payload)
  }

  /** The bytes of many payloads, in their order: small ones together. */
  async unpackAll(generation: string, payloads: readonly PayloadDoc[]): Promise<Uint8Array[]> {
    const small = payloads.filter((one): one is BlobDoc => isBlob(one) && one.z <= SMALL_BYTES)
    const found = new Map<string, Uint8Array>()
    for (let from = 0; from < small.length; from += MAX_SMALL) {
      const ids = small.slice(from, from + MAX_SMALL).map(({ b }) => chunkId(generation, b, 0))
      const chunks = await this.#db.again(() =>
        this.#db.parts.find({ _id: { $in: ids } }, { projection: { k: 1 } }).toArray(),
      )
      for (const { _id, k } of chunks) if (k instanceof Binary) found.set(_id, bytesOf(k))
    }
    return Promise.all(
      payloads.map((payload) => {
        const bytes = isBlob(payload) ? found.get(chunkId(generation, payload.b, 0)) : undefined
        return bytes ?? this.unpack(generation, payload)
      }),
    )
  }

  /** A document refers to them now: they are nobody's leftovers. */
  settle(packed: Packed): void {
    for (const filter of filtersOf(packed))
      this.#db.later(() => this.#db.parts.updateMany(filter, { $unset: { at: '' } }))
  }

  /** Nothing refers to them, and nothing will. */
  drop(packed: Packed): void {
    for (const filter of filtersOf(packed)) this.#db.later(() => this.#db.parts.deleteMany(filter))
  }

  /** As `drop`, of a payload that a document referred to. */
  dropBlob(generation: string, { b }: BlobDoc): void {
    const { from, to } = chunksOf(generation, b)
    this.#db.later(() => this.#db.parts.deleteMany({ _id: { $gte: from, $lt: to } }))
  }
}

/** Select chunks, so many at a time. */
function filtersOf({ ids }: Packed): Filter<PartDoc>[] {
  const filters: Filter<PartDoc>[] = []
  for (let from = 0; from < ids.length; from += MAX_IDS) {
    filters.push({ _id: { $in: ids.slice(from, from + MAX_IDS) } })
  }
  return filters
}

/** The chunks of a payload are not there. */
export class Gone extends BackendError {
  constructor(blob: string) {
    super('SERIALIZATION', `a payload is incomplete: chunks of ${blob} are missing`)
  }
}

/** What an instance is answered with whose payloads are missing still when it is read once more. */
function incomplete(instanceId: string): BackendError {
  return new BackendError(
    'SERIALIZATION',
    `instance ${quote(instanceId)} can not be read: chunks of a payload that it refers to are missing`,
    { instanceId },
  )
}

/**
 * The version of an instance of which a payload is not there, to be given the next time: that goes only
 * once the document has changed, else it is missing.
 */
export function mustDiffer(
  { _id, g, n }: Pick<InstanceDoc, '_id' | 'g' | 'n'>,
  before: string,
): string {
  const version = `${g}:${n}`
  if (version === before) throw incomplete(_id)
  return version
}

export function isBlob(payload: PayloadDoc): payload is BlobDoc {
  return !(payload instanceof Binary)
}

/** A plain copy of bytes in a document. */
export function bytesOf(binary: Binary): Uint8Array {
  return new Uint8Array(binary.buffer.subarray(0, binary.position))
}
