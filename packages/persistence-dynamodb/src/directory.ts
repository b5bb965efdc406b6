import { CallQueue } from '@sayiir/persistence-core/adapter'
import type { Attributes } from './expressions.ts'
import { dateOf, firstNameOf, type ItemKey, type Keys } from './keys.ts'
import { type Service, WRITE_REQUESTS } from './service.ts'

/** Milliseconds that a creation may be on its way, at the very most. */
const IN_FLIGHT_MS = 600_000
/** Bytes of a request at most; an entry has some hundreds. */
const MAX_BYTES = 1_000_000
/** Requests on their way at a time, before entries wait for company. */
const MAX_IN_FLIGHT = 4

/** An instance in the directory. */
export interface DirectoryEntry {
  readonly instanceId: string
  /** The partition that it stands in. */
  readonly partition: string
  /** The life of the instance that it was written for. */
  readonly life: string
}

/**
 * Which instances there are, in the order of their ids: items in partitions by shard, each of an id and
 * nothing that changes, so that only creation and deletion write here. An index would do without the
 * second request at creation, but takes part in every write of every instance, and costs a unit more
 * where one ends.
 *
 * An entry is written before its instance and deleted after it, so there may be an entry without an
 * instance, and never the other way round. It names the life that it was written for: whoever deletes
 * it says which one, so one that is just being created anew keeps its entry.
 */
export class Directory {
  readonly #service: Service
  readonly #keys: Keys
  readonly #puts: CallQueue<DirectoryEntry, undefined>

  constructor(service: Service, keys: Keys) {
    this.#service = service
    this.#keys = keys
    this.#puts = new CallQueue({
      send: (entries) => this.#put(entries),
      maxCalls: WRITE_REQUESTS,
      maxBytes: MAX_BYTES,
      maxInFlight: MAX_IN_FLIGHT,
      sizeOf: ({ instanceId, partition }) => instanceId.length + partition.length,
    })
  }

  /** Lives that began before this are not being created any more. */
  get oldest(): string {
    return firstNameOf(this.#service.clock.now() - IN_FLIGHT_MS)
  }

  /**
   * Enters an instance that is about to be written. Entries of one instance follow each other, as its
   * changes do, so no request has two.
   */
  put(instanceId: string, shard: number, life: string): Promise<void> {
    return this.#puts.call({ instanceId, partition: this.#keys.list(shard), life })
  }

  /** Enters an instance that was written so late that its entry may have been taken for stale. */
  async confirm(instanceId: string, shard: number, life: string): Promise<void> {
    const isLate = this.#service.clock.now() - dateOf(life) > IN_FLIGHT_MS / 2
    if (isLate) await this.put(instanceId, shard, life)
  }

  /**
   * Takes an instance out that has been deleted. Where it was not taken out it is of a life that is being
   * created, or a listing sweeps it later.
   *
   * @param oldest What `oldest` was before the deletion: a life since then has its own entry, however
   * long this process has been asleep.
   */
  async remove(
    {
      instanceId,
      shard,
      life,
    }: { readonly instanceId: string; readonly shard: number; readonly life: string },
    oldest: string,
  ): Promise<void> {
    await this.#service.deleteIf(keyOf({ instanceId, partition: this.#keys.list(shard) }), {
      expression: 'x = :x OR x < :old',
      values: { ':x': { S: life }, ':old': { S: oldest } },
    })
  }

  /** Takes out what has no instance, unless somebody may just be writing it. */
  async removeStale(entries: readonly DirectoryEntry[]): Promise<void> {
    const { oldest } = this
    await Promise.all(
      entries
        .filter(({ life }) => life < oldest)
        .map((one) => this.#service.deleteIf(keyOf(one), { attribute: 'x', is: { S: one.life } })),
    )
  }

  /** A page of a shard, ascending: strongly consistent. */
  async page(
    shard: number,
    {
      from,
      inclusive,
      start,
      limit,
    }: {
      readonly from: string | null
      readonly inclusive: boolean
      readonly start: Attributes | null
      readonly limit?: number
    },
  ): Promise<{ readonly entries: readonly DirectoryEntry[]; readonly next: Attributes | null }> {
    const partition = this.#keys.list(shard)
    const { items, next } = await this.#service.query({
      KeyConditionExpression:
        from === null ? 'p = :p' : `p = :p AND s ${inclusive ? '>=' : '>'} :s`,
      ExpressionAttributeValues: {
        ':p': { S: partition },
        ...(from === null ? undefined : { ':s': { S: from } }),
      },
      ConsistentRead: true,
      ...(start === null ? undefined : { ExclusiveStartKey: start }),
      ...(limit === undefined ? undefined : { Limit: limit }),
    })
    const entries = items.map(({ s, x }) => ({
      instanceId: s?.S ?? '',
      partition,
      life: x?.S ?? '',
    }))
    return { entries, next }
  }

  async #put(entries: readonly DirectoryEntry[]): Promise<undefined[]> {
    const [only] = entries
    if (entries.length === 1 && only !== undefined) {
      await this.#service.put(keyOf(only), { x: { S: only.life } })
    } else {
      await this.#service.putAll(
        entries.map((one) => ({ key: keyOf(one), attributes: { x: { S: one.life } } })),
      )
    }
    return entries.map(() => undefined)
  }
}

function keyOf({
  partition,
  instanceId,
}: Pick<DirectoryEntry, 'partition' | 'instanceId'>): ItemKey {
  return { p: partition, s: instanceId }
}
