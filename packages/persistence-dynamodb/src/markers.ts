import type { Attributes } from './expressions.ts'
import { FRACTION } from './index-keys.ts'
import type { InstanceItem } from './instance-item.ts'
import type { ItemKey, Keys } from './keys.ts'
import type { Service } from './service.ts'

/** Milliseconds that a write may be on its way, at the very most. */
const IN_FLIGHT_MS = 600_000

/**
 * An item has one place in an index, but an instance at a fork may have waiting tasks of several
 * classes, and claims besides. Its own item stands in the index for its claims, else for one of the
 * classes, and a marker beside it for each other class.
 *
 * A marker is a hint, and must be there before the task that it leads to. So it is written first,
 * with the name of the write that the instance's item must still have for the writer to succeed
 * (its fence). That makes litter safe to tell from what is on its way: a marker that the
 * instance does not know of (`mk`), while its item has been written since, belongs to nothing, and
 * never will.
 */
export class Markers {
  readonly #service: Service
  readonly #keys: Keys

  constructor(service: Service, keys: Keys) {
    this.#service = service
    this.#keys = keys
  }

  /** Writes the markers that are wanted and not there, or there for a later time. */
  async put(
    instanceId: string,
    before: InstanceItem | null,
    known: ReadonlyMap<string, number>,
    wanted: ReadonlyMap<string, number>,
    shard: number,
    now: number,
  ): Promise<void> {
    await Promise.all(
      Array.from(wanted, async ([classId, since]) => {
        const there = known.get(classId)
        if (there !== undefined && there <= since) return
        await this.#service.put(markerKey(this.#keys.instance(instanceId), classId), {
          wp: { S: this.#keys.ready(shard, classId) },
          ws: { N: String(since + FRACTION.several) },
          f: { S: before?.lastWrite ?? '' },
          a: { N: String(now) },
        })
      }),
    )
  }

  /** Removes markers that the instance's item no longer knows of, unless they were written anew. */
  async remove(item: InstanceItem, classIds: Iterable<string>): Promise<void> {
    await Promise.all(
      Array.from(classIds, async (classId) => {
        const key = markerKey(this.#keys.instance(item.instanceId), classId)
        const marker = await this.#service.get(key)
        if (marker !== null) await this.#removeIfStale(key, marker, item)
      }),
    )
  }

  /** Removes a marker that led to nothing, if nobody is about to need it. */
  async removeStale(
    instanceId: string,
    classId: string,
    item: InstanceItem | null,
    now: number,
  ): Promise<void> {
    const key = markerKey(this.#keys.instance(instanceId), classId)
    const marker = await this.#service.get(key)
    if (marker === null) return
    if (item !== null && isKnown(item, classId)) return
    const isOnItsWay = marker.f?.S === (item?.lastWrite ?? '')
    if (isOnItsWay && now - Number(marker.a?.N) < IN_FLIGHT_MS) return
    await this.#delete(key, marker)
  }

  async #removeIfStale(key: ItemKey, marker: Attributes, item: InstanceItem): Promise<void> {
    if (marker.f?.S !== item.lastWrite) await this.#delete(key, marker)
  }

  async #delete(key: ItemKey, { f = { S: '' }, a = { N: '0' } }: Attributes): Promise<void> {
    await this.#service.deleteIf(key, {
      expression: 'f = :f AND a = :a',
      values: { ':f': f, ':a': a },
    })
  }
}

/** Whether the instance's item says that it has this marker. */
function isKnown(item: InstanceItem, classId: string): boolean {
  const { mk } = item.attributes
  return (
    mk?.S !== undefined &&
    (JSON.parse(mk.S) as [string, number][]).some(([known]) => known === classId)
  )
}

function markerKey(p: string, classId: string): ItemKey {
  return { p, s: `M#${classId}` }
}

/** The class of a marker; null: the item is none. */
export function markedClassOf(s: string): string | null {
  return s.startsWith('M#') ? s.slice(2) : null
}
