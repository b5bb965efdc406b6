import { wireText } from './wire.ts'

/** Slots of a cluster. */
const SLOTS = 16_384

/** The keys that a shard's scripts get, in the order of `scripts/prelude.lua`. */
const NAMES = [
  'meta',
  'instances',
  'claims',
  'payloads',
  'ids',
  'queue',
  'classes',
  'claimed',
  'due',
  'ended',
  'wake',
] as const

/** A part of a namespace whose keys are all in one slot of a cluster, so that a script can work on them. */
export class Shard {
  readonly index: number
  /** What every script of the shard gets first. */
  readonly keys: readonly string[]
  /** Instances that somebody must take care of. */
  readonly due: string
  /** The channel that tells of work. */
  readonly channel: string
  /** `keys` as they go over the wire. */
  readonly wire: string
  readonly #base: string

  constructor(prefix: string, index: number, count: number) {
    this.index = index
    this.#base = `${prefix}{${tagOf(index, count)}}:`
    this.keys = NAMES.map((name) => this.#base + name)
    this.wire = this.keys.map(wireText).join('')
    this.due = `${this.#base}due`
    this.channel = `${this.#base}wake`
  }

  /** Outputs of an instance, and its commits. */
  results(instanceId: string): string {
    return `${this.#base}r:${instanceId}`
  }

  /** Queued events of an instance, and their ids. */
  events(instanceId: string): string {
    return `${this.#base}e:${instanceId}`
  }
}

/** Which shard an instance belongs to, for ever. */
export class Layout {
  readonly shards: readonly Shard[]

  constructor(prefix: string, count: number) {
    this.shards = Array.from({ length: count }, (_, index) => new Shard(prefix, index, count))
  }

  shardOf(instanceId: string): Shard {
    const { length } = this.shards
    return this.shards[length === 1 ? 0 : hash(instanceId) % length] as Shard
  }
}

/** The key that describes a namespace. */
export function descriptionKey(prefix: string): string {
  return `${prefix}format`
}

/**
 * A hash tag in the shard's own part of the slots, so that a cluster that divides the slots into
 * ranges divides the shards evenly.
 */
function tagOf(index: number, count: number): string {
  if (count === 1) return '0'
  const from = Math.floor((index * SLOTS) / count)
  const to = Math.floor(((index + 1) * SLOTS) / count)
  for (let attempt = 0; ; attempt += 1) {
    const tag = `${index}.${attempt}`
    const slot = crc16(tag) % SLOTS
    if (slot >= from && slot < to) return tag
  }
}

/** CRC-16/XMODEM, as clusters use it. */
function crc16(text: string): number {
  let crc = 0
  for (const byte of Buffer.from(text)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) {
      crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
    }
    crc &= 0xffff
  }
  return crc
}

/** FNV-1a over UTF-8: the same in every process and version. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193)
  return value >>> 0
}
