import { isUnreadable } from '@sayiir/persistence-core/adapter'
import { bodyNameOf, nameOf, SWEEP_AFTER_MS } from './bodies.ts'
import { MAX_CLOCK_ERROR_MS } from './clock.ts'
import type { Attributes } from './expressions.ts'
import { addWrite, InstanceItem, WRITE_NAME } from './instance-item.ts'
import type { InstanceStore, Parts } from './instance-store.ts'
import { dateOf, HEAD, type ItemKey, randomName, shardOf } from './keys.ts'
import { PACKED, WHOLE } from './packing.ts'
import { referenceOf } from './results.ts'
import { TTL_ATTRIBUTE } from './schema.ts'
import { referencesOf } from './state-codec.ts'
import { ifReadable } from './unreadable.ts'

/** Milliseconds after which the service may delete what the sweeper has not come to. */
const LEFTOVER_MS: number = 7 * 24 * 3_600_000
/** Stands for the life of an instance that can not be read: no item has it. */
const UNKNOWN = '-'
/** Partitions that are swept in one go at most. */
const MAX_SWEPT = 100

/**
 * Deletes instances, and sweeps up what writers that died have left.
 *
 * **Tokens (rule C3).** A token is the service's time in milliseconds, or one more than the last
 * one of the instance, whichever is greater; `k` in the instance's item is the last one. When the
 * item goes, `k` goes with it, and the first token of the next life is at least the time that its
 * claimer's clock shows. All clocks are off by `E` at most, so a clock that is read after the
 * deletion shows no less than the deleting one did, less `2 E`. So where `k` is less than that, no
 * later token can be as small, and the item may go. Where a task was claimed just before, a
 * tombstone stays in the item's place and keeps `k` for the next life, until the time has passed by
 * which `k` is small enough.
 */
export class Removal {
  readonly #parts: Parts
  readonly #instances: InstanceStore

  constructor(parts: Parts, instances: InstanceStore) {
    this.#parts = parts
    this.#instances = instances
  }

  /**
   * Deletes everything of an instance; whether it was there.
   *
   * @param only Whether it may be deleted as it is now.
   */
  async remove(
    instanceId: string,
    only: (item: InstanceItem) => boolean = () => true,
  ): Promise<boolean> {
    const { service, keys, directory } = this.#parts
    const key = keys.head(instanceId)
    this.#instances.forget(instanceId)
    for (;;) {
      const { oldest } = directory
      const [head, others] = await this.#partition(instanceId)
      if (head === null || head.isTombstone || !only(head)) return false
      const keepUntil = head.token + 2 * MAX_CLOCK_ERROR_MS
      const needsTombstone = keepUntil >= service.clock.now()
      if (!needsTombstone && others.length === 0) {
        const { written, found, repeated } = await service.deleteIf(key, whileLast(head))
        // Its own repeated request may have found nothing because the first one did it.
        const isGone = written || (found === null && repeated)
        if (isGone) await this.#unlist(head, oldest)
        if (isGone || found === null) return isGone
        continue
      }
      const name = randomName(WRITE_NAME)
      const writes = addWrite(name, head.writes)
      const now = service.clock.now()
      const tombstone: Attributes = {
        w: { S: writes },
        z: { S: head.life || UNKNOWN },
        k: { N: String(head.token) },
        wp: { S: keys.sweep(shardOf(instanceId, this.#parts.shards)) },
        ws: { N: String(needsTombstone ? keepUntil + 1 : now) },
        [TTL_ATTRIBUTE]: { N: String(Math.ceil((now + LEFTOVER_MS) / 1000)) },
      }
      const { written, found } = await service.putIf(key, tombstone, whileLast(head))
      if (!written) {
        const there = found === null ? null : new InstanceItem(instanceId, found)
        if (there?.hasWrite(name) !== true) {
          if (there === null) return false
          continue
        }
      }
      await Promise.all([this.#clear(instanceId, head.life, others), this.#unlist(head, oldest)])
      if (!needsTombstone) {
        await service.deleteIf(key, { attribute: 'w', is: { S: writes } })
      }
      return true
    }
  }

  /** Sweeps up what is due; how many partitions it looked at. */
  async sweep(signal: AbortSignal | undefined, shards: number): Promise<number> {
    const { service, keys } = this.#parts
    let swept = 0
    for (let shard = 0; shard < shards && swept < MAX_SWEPT; shard += 1) {
      const { items } = await service.query({
        IndexName: 'work',
        KeyConditionExpression: 'wp = :p AND ws <= :now',
        ExpressionAttributeValues: {
          ':p': { S: keys.sweep(shard) },
          ':now': { N: String(service.clock.now()) },
        },
        Limit: MAX_SWEPT - swept,
      })
      const ids = new Set(items.map(({ p }) => keys.instanceIdOf(p?.S ?? '')))
      for (const instanceId of ids) {
        signal?.throwIfAborted()
        try {
          await this.#sweepOne(instanceId)
        } catch (error) {
          // What it refers to is not known, and nobody else's litter must stay for it.
          if (!isUnreadable(error)) throw error
        }
        swept += 1
      }
    }
    return swept
  }

  async #sweepOne(instanceId: string): Promise<void> {
    const { service, keys } = this.#parts
    const [head, others] = await this.#partition(instanceId)
    if (head?.isTombstone === true) {
      await this.#clear(instanceId, head.attributes.z?.S ?? '', others)
      if (head.token + 2 * MAX_CLOCK_ERROR_MS < service.clock.now()) {
        await service.deleteIf(keys.head(instanceId), whileLast(head))
      }
    }
    await this.#collect(instanceId, others)
  }

  /** Deletes bodies that nothing refers to and that nobody can still be writing, and the notes of them. */
  async #collect(instanceId: string, others: readonly Attributes[]): Promise<void> {
    const { service, keys } = this.#parts
    const known = await this.#instances.read(instanceId)
    const references = new Set<string>()
    if (known !== null) {
      for (const one of referencesOf(known.item.attributes)) references.add(nameOf(one))
      for (const { result } of known.state.tail) {
        const reference = referenceOf(result ?? null)
        if (reference !== undefined) references.add(nameOf(reference))
      }
    }
    // Read after the instance: what was in its tail then is in its place now, or there still.
    const p = keys.instance(instanceId)
    for (const { ob } of [
      ...(await service.queryAll(p, 'T#')),
      ...(await service.queryAll(p, 'E#')),
    ]) {
      if (ob?.S !== undefined) references.add(nameOf(ob.S))
    }
    const now = service.clock.now()
    const litter = others.flatMap(({ s }): ItemKey[] => {
      const sort = s?.S ?? ''
      if (!sort.startsWith('B#') && !sort.startsWith('S#')) return []
      const name = bodyNameOf(sort)
      const isOld = dateOf(name.split('~')[1] ?? '') + SWEEP_AFTER_MS < now
      return isOld && (sort.startsWith('S#') || !references.has(name)) ? [{ p, s: sort }] : []
    })
    await service.deleteAll(litter)
  }

  /** A life of an instance is over: it is no longer in the directory. */
  #unlist({ instanceId, life, attributes }: InstanceItem, oldest: string): Promise<void> {
    const { directory, shards } = this.#parts
    const shard =
      attributes.l?.N === undefined ? shardOf(instanceId, shards) : Number(attributes.l.N)
    return directory.remove({ instanceId, shard, life }, oldest)
  }

  /** Deletes what belonged to a life of an instance. */
  async #clear(instanceId: string, life: string, others: readonly Attributes[]): Promise<void> {
    const { service, keys, markers } = this.#parts
    const p = keys.instance(instanceId)
    const sorts = others.map(({ s }) => s?.S ?? '')
    const own = sorts.filter((s) =>
      ['B', 'S', 'T', 'E', 'N'].some((kind) => s.startsWith(`${kind}#${life}`)),
    )
    await service.deleteAll(own.map((s) => ({ p, s })))
    const marked = sorts.filter((s) => s.startsWith('M#'))
    if (marked.length === 0) return
    const current = await service.get(keys.head(instanceId))
    const item = current === null ? null : this.#head(instanceId, current)
    await Promise.all(
      marked.map((s) => markers.removeStale(instanceId, s.slice(2), item, service.clock.now())),
    )
  }

  /** Of one that can not be read nothing is known but its last write; no token was greater than the time, about. */
  #head(instanceId: string, stored: Attributes): InstanceItem {
    const token = { N: String(this.#parts.service.clock.now() + MAX_CLOCK_ERROR_MS) }
    return (
      ifReadable(() => new InstanceItem(instanceId, stored)) ??
      new InstanceItem(instanceId, stored, { ...stored, k: token })
    )
  }

  /** The instance's own item, and the keys of all others of its partition. */
  async #partition(instanceId: string): Promise<[InstanceItem | null, Attributes[]]> {
    const { service, keys } = this.#parts
    let head: InstanceItem | null = null
    const others: Attributes[] = []
    let start: Attributes | null = null
    do {
      const page: { readonly items: readonly Attributes[]; readonly next: Attributes | null } =
        await service.query({
          KeyConditionExpression: 'p = :p',
          ExpressionAttributeValues: { ':p': { S: keys.instance(instanceId) } },
          ProjectionExpression: `s, w, z, k, ${PACKED}, ${WHOLE}`,
          ConsistentRead: true,
          ...(start === null ? undefined : { ExclusiveStartKey: start }),
        })
      for (const item of page.items) {
        if (item.s?.S === HEAD) head = this.#head(instanceId, item)
        else others.push(item)
      }
      start = page.next
    } while (start !== null)
    return [head, others]
  }
}

function whileLast(item: InstanceItem): { readonly attribute: string; readonly is: { S: string } } {
  return { attribute: 'w', is: { S: item.writes } }
}
