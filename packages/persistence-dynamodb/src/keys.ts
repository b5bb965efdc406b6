import { createHash, hash } from 'node:crypto'
import type { EndedStatus } from '@sayiir/persistence-core'
import { codeOf } from './instance-item.ts'

/** Key of an item of the table. */
export interface ItemKey {
  readonly p: string
  readonly s: string
}

/** Sort key of an instance's own item; all others of the instance have a longer one. */
export const HEAD = 'H'

/**
 * Names of items and of partitions of the indexes. All begin with the prefix, which has no `#`, so
 * two prefixes never meet; ids stand last in a partition key, so they may contain anything.
 */
export class Keys {
  readonly prefix: string

  constructor(prefix: string) {
    this.prefix = prefix
  }

  /** The partition of everything of an instance. */
  instance(instanceId: string): string {
    return `${this.prefix}#I#${instanceId}`
  }

  /** The instance whose partition this is. */
  instanceIdOf(partition: string): string {
    return partition.slice(this.prefix.length + 3)
  }

  head(instanceId: string): ItemKey {
    return { p: this.instance(instanceId), s: HEAD }
  }

  /** What all backends of this prefix agree on. */
  get meta(): ItemKey {
    return { p: `${this.prefix}#META`, s: 'M' }
  }

  /** The partition that lists the classes of tasks. */
  get classes(): string {
    return `${this.prefix}#CLASSES`
  }

  /** Index `work`: tasks of a class that wait, by when they became due. */
  ready(shard: number, classId: string): string {
    return `${this.prefix}#R#${shard}#${classId}`
  }

  /** Whether this is a partition of tasks that wait. */
  isReady(partition: string | undefined): boolean {
    return partition?.startsWith(`${this.prefix}#R#`) === true
  }

  /** Index `work`: instances to look at again at a time: claims that expire, timers, signals. */
  due(shard: number): string {
    return `${this.prefix}#D#${shard}`
  }

  /** Whether this is a partition of instances to look at again. */
  isDue(partition: string | undefined): boolean {
    return partition?.startsWith(`${this.prefix}#D#`) === true
  }

  /** Index `work`: instances of a shard that have ended so, by when. */
  ended(shard: number, status: EndedStatus): string {
    return `${this.prefix}#X#${shard}#${codeOf(status)}`
  }

  /** Index `work`: the partitions of all instances that have ended in one of these ways. */
  allEnded(shards: number, statuses: Iterable<EndedStatus>): string[] {
    const different = [...new Set(statuses)]
    return Array.from({ length: shards }, (_, shard) =>
      different.map((status) => this.ended(shard, status)),
    ).flat()
  }

  /** Index `work`: partitions to be swept at a time. */
  sweep(shard: number): string {
    return `${this.prefix}#S#${shard}`
  }

  /** Index `work`: paused instances that nothing has to be done about. */
  paused(shard: number): string {
    return `${this.prefix}#P#${shard}`
  }

  /** The partition that lists instances by id: see `directory.ts`. */
  list(shard: number): string {
    return `${this.prefix}#L#${shard}`
  }
}

/** Which of so many shards an instance belongs to. */
export function shardOf(instanceId: string, shards: number): number {
  return shards === 1 ? 0 : hash('sha256', instanceId, 'buffer').readUInt32BE() % shards
}

/** A short name for any text: 128 bits, so that two texts never share it. */
export function digest(...parts: readonly string[]): string {
  // JSON keeps the parts apart.
  const hash = createHash('sha256').update(JSON.stringify(parts)).digest()
  return hash.subarray(0, 16).toString('base64url')
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Random bytes for names to come: asking for them one name at a time takes many times as long. */
const noise: Uint8Array<ArrayBuffer> = new Uint8Array(2048)
let used: number = noise.length

/** Random characters. */
export function randomName(length: number): string {
  if (used + length > noise.length) {
    crypto.getRandomValues(noise)
    used = 0
  }
  let name = ''
  for (const end = used + length; used < end; used += 1)
    name += ALPHABET[(noise[used] as number) & 63]
  return name
}

/** A name that tells when it was made, to tell what is old from what is being written. */
export function datedName(now: number): string {
  return firstNameOf(now) + randomName(4)
}

/** Before all dated names of this time, and after those of any earlier one. */
export function firstNameOf(time: number): string {
  return time.toString(36).padStart(9, '0')
}

/** When a dated name was made: epoch milliseconds. */
export function dateOf(name: string): number {
  return Number.parseInt(name.slice(0, 9), 36)
}
