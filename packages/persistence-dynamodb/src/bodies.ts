import type { Clock } from './instance-item.ts'
import { datedName, type ItemKey, type Keys, shardOf } from './keys.ts'
import type { Service } from './service.ts'

/** Bytes of a chunk: an item has 400 KB, its key included. */
const CHUNK_BYTES = 390_000
/** Bytes from which on a body that nobody refers to is worth looking for. */
const LARGE_BYTES = 64 * 1024
/** Milliseconds after which a large body that was being written is looked at again. */
export const SWEEP_AFTER_MS = 3_600_000
/** Bytes of bodies that are kept in memory. */
const CACHE_BYTES: number = 16 * 1024 * 1024

/**
 * Payloads and texts that are too large, or too dear, to be in an instance's own item: in items
 * beside it, under a name that nobody has used. They are written first; only the write of the
 * instance's item that refers to them makes them count, so a writer that dies leaves nothing but
 * litter, for which a note with a date is left before anything large is written.
 */
export class Bodies {
  readonly #service: Service
  readonly #keys: Keys
  readonly #clock: Clock
  readonly #shards: number
  /** Names are never used again, so what is here is never out of date. */
  readonly #cache = new Map<string, Uint8Array>()
  #cached = 0

  constructor(service: Service, keys: Keys, clock: Clock, shards: number) {
    this.#service = service
    this.#keys = keys
    this.#clock = clock
    this.#shards = shards
  }

  /** Writes a body, and tells how to refer to it. */
  async put(instanceId: string, life: string, bytes: Uint8Array): Promise<string> {
    const p = this.#keys.instance(instanceId)
    const now = this.#clock.now()
    const name = `${life}~${datedName(now)}`
    const chunks = Math.max(1, Math.ceil(bytes.byteLength / CHUNK_BYTES))
    if (bytes.byteLength > LARGE_BYTES) {
      await this.#service.put(noteKey(p, name), {
        wp: { S: this.#keys.sweep(shardOf(instanceId, this.#shards)) },
        ws: { N: String(now + SWEEP_AFTER_MS) },
      })
    }
    await Promise.all(
      Array.from({ length: chunks }, (_, index) =>
        this.#service.put(chunkKey(p, name, index), {
          d: { B: bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES) },
        }),
      ),
    )
    const reference = `${name}.${chunks}`
    this.#remember(p, reference, bytes)
    return reference
  }

  /** Reads a body; null: it is gone, because nothing refers to it any more. */
  async get(instanceId: string, reference: string): Promise<Uint8Array | null> {
    const p = this.#keys.instance(instanceId)
    const known = this.#cache.get(p + reference)
    if (known !== undefined) return known
    const { name, chunks } = parse(reference)
    let parts: (Uint8Array | undefined)[]
    if (chunks === 1) {
      const item = await this.#service.get(chunkKey(p, name, 0))
      parts = [item?.d?.B]
    } else {
      const items = await this.#service.queryAll(p, `B#${name}#`)
      parts = items.map(({ d }) => d?.B)
    }
    if (parts.length !== chunks) return null
    const present = parts.filter((part) => part !== undefined)
    if (present.length !== chunks) return null
    const bytes = chunks === 1 ? (present[0] as Uint8Array) : join(present)
    this.#remember(p, reference, bytes)
    return bytes
  }

  /** Keys of the items of a body, its note among them. */
  itemsOf(instanceId: string, reference: string): ItemKey[] {
    const p = this.#keys.instance(instanceId)
    const { name, chunks } = parse(reference)
    return Array.from({ length: chunks }, (_, index) => chunkKey(p, name, index))
  }

  /** Takes the notes away that were left for bodies which count now. */
  async settle(instanceId: string, written: readonly Written[]): Promise<void> {
    const p = this.#keys.instance(instanceId)
    const notes = written
      .filter(({ bytes }) => bytes > LARGE_BYTES)
      .map(({ reference }) => noteKey(p, parse(reference).name))
    await this.#service.deleteAll(notes)
  }

  #remember(p: string, reference: string, bytes: Uint8Array): void {
    // Two who read it at once remember it once.
    if (bytes.byteLength > CACHE_BYTES / 4 || this.#cache.has(p + reference)) return
    this.#cache.set(p + reference, bytes)
    this.#cached += bytes.byteLength
    for (const [oldest, { byteLength }] of this.#cache) {
      if (this.#cached <= CACHE_BYTES) break
      this.#cache.delete(oldest)
      this.#cached -= byteLength
    }
  }
}

/** A body that was written. */
export interface Written {
  readonly reference: string
  readonly bytes: number
}

/** The name of a body in the sort key of one of its items. */
export function bodyNameOf(s: string): string {
  return s.split('#')[1] ?? ''
}

/** The name that a reference has. */
export function nameOf(reference: string): string {
  return parse(reference).name
}

function parse(reference: string): { readonly name: string; readonly chunks: number } {
  const end = reference.lastIndexOf('.')
  return { name: reference.slice(0, end), chunks: Number(reference.slice(end + 1)) }
}

function chunkKey(p: string, name: string, index: number): ItemKey {
  return { p, s: `B#${name}#${String(index).padStart(3, '0')}` }
}

function noteKey(p: string, name: string): ItemKey {
  return { p, s: `S#${name}` }
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}
