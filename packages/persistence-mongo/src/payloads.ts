import { BackendError } from '@sayiir/persistence-core'
import { Binary } from 'mongodb'
import type { Database } from './database.ts'
import { chunkId, chunksOf } from './part-ids.ts'
import type { BlobDoc, PayloadDoc } from './records.ts'

/** Bytes of a chunk: a few fit into a message, and one into a document. */
const CHUNK_BYTES: number = 4 * 1024 * 1024

/** Bytes up to which a payload of its kind is in the instance's document. */
export const INLINE_BYTES: Readonly<Record<'ends' | 'output' | 'event', number>> = {
  /** The initial input and the final output: a worker gets the former with every task. */
  ends: 64 * 1024,
  /** An output of the tail. */
  output: 16 * 1024,
  /** An event: any number may wait. */
  event: 1024,
}

/** Payloads that were written apart, before the document that will refer to them. */
export interface Packed {
  readonly generation: string
  readonly blobs: string[]
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

  async pack(
    instanceId: string,
    bytes: Uint8Array,
    inlineBytes: number,
    into: Packed,
  ): Promise<PayloadDoc> {
    if (bytes.byteLength <= inlineBytes) return new Binary(bytes)
    blobs += 1
    const blob = `${process.pid.toString(36)}-${Date.now().toString(36)}-${blobs.toString(36)}-${crypto.randomUUID().slice(0, 8)}`
    into.blobs.push(blob)
    const at = this.#db.clock.isKnown ? this.#db.clock.now() : await this.#db.now()
    for (let index = 0; index * CHUNK_BYTES < bytes.byteLength; index += 1) {
      const chunk = bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)
      const _id = chunkId(into.generation, blob, index)
      const k = new Binary(chunk)
      // Twice is as good as once.
      await this.#db.again(() =>
        this.#db.parts.replaceOne({ _id }, { k, i: instanceId, at }, { upsert: true }),
      )
    }
    return { b: blob, z: bytes.byteLength }
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

  /** A document refers to them now: they are nobody's leftovers. */
  settle({ generation, blobs }: Packed): void {
    if (blobs.length === 0) return
    const ranges = blobs.map((blob) => chunksOf(generation, blob))
    this.#db.later(() =>
      this.#db.parts.updateMany(
        { $or: ranges.map(({ from, to }) => ({ _id: { $gte: from, $lt: to } })) },
        { $unset: { at: '' } },
      ),
    )
  }

  /** Nothing refers to them, and nothing will. */
  drop({ generation, blobs }: Packed): void {
    if (blobs.length === 0) return
    const ranges = blobs.map((blob) => chunksOf(generation, blob))
    this.#db.later(() =>
      this.#db.parts.deleteMany({
        $or: ranges.map(({ from, to }) => ({ _id: { $gte: from, $lt: to } })),
      }),
    )
  }
}

/** The chunks of a payload are not there. */
export class Gone extends BackendError {
  constructor(blob: string) {
    super('SERIALIZATION', `a payload is incomplete: chunks of ${blob} are missing`)
  }
}

export function isBlob(payload: PayloadDoc): payload is BlobDoc {
  return !(payload instanceof Binary)
}

/** A plain copy of bytes in a document. */
export function bytesOf(binary: Binary): Uint8Array {
  return new Uint8Array(binary.buffer.subarray(0, binary.position))
}
