import type { TransactWriteItem } from '@aws-sdk/client-dynamodb'
import { type InstanceWrite, isEnded } from '@sayiir/persistence-core/adapter'
import { type Attributes, keyOf } from './expressions.ts'
import { bytesOf, type State } from './instance-item.ts'
import type { Change, InstanceStore, Parts } from './instance-store.ts'
import { digest, type ItemKey, type Keys } from './keys.ts'
import { mustDiffer } from './unreadable.ts'

/** Bytes of an event in an item of its own; a transaction has room for 4 MB. */
const EVENT_BYTES: number = 64 * 1024

/**
 * Queued events, and ids of events that were sent: items of their own, which change in one
 * transaction with the instance's item (rule E4). Events are few beside commits, so that the double
 * price of a transaction does not matter.
 */
export class EventQueue {
  readonly #parts: Parts
  readonly #instances: InstanceStore

  constructor(parts: Parts, instances: InstanceStore) {
    this.#parts = parts
    this.#instances = instances
  }

  /** Whether an event of this id was sent in this life of the instance. */
  async isKnown(
    instanceId: string,
    life: string,
    { signalName, eventId }: { readonly signalName: string; readonly eventId: string },
  ): Promise<boolean> {
    const key = idKey(this.#parts.keys, instanceId, life, signalName, eventId)
    return (await this.#parts.service.get(key)) !== null
  }

  /** The payload of the oldest event of a name. */
  async read(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    let before = ''
    for (;;) {
      const known = await this.#instances.read(instanceId)
      if (known === null || known.state.queuedEvents === 0) return null
      const oldest = await this.#oldest(instanceId, known.state, signalName)
      if (oldest === null) return null
      const payload = await this.#payload(instanceId, oldest)
      if (payload !== null) return payload
      before = mustDiffer(instanceId, oldest.s?.S ?? '', before)
    }
  }

  /** Takes the oldest event of a name away. */
  take(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#instances.change<Uint8Array | null>(instanceId, async ({ known }) => {
      const nothing: Change<Uint8Array | null> = { next: null, answer: () => null }
      if (known === null || known.state.queuedEvents === 0) return nothing
      const { state } = known
      const found = await this.#oldestThere(instanceId, state, signalName)
      if (found === null) return nothing
      const { payload } = found
      const { p, s, ob } = found.oldest
      return {
        next: { ...state, version: state.version + 1, queuedEvents: state.queuedEvents - 1 },
        others: [this.#delete({ p: p?.S ?? '', s: s?.S ?? '' })],
        finally: async () => {
          if (ob?.S === undefined) return
          await this.#parts.service.deleteAll(this.#parts.bodies.itemsOf(instanceId, ob.S))
        },
        answer: () => payload,
      }
    })
  }

  /** What a write changes of events, in the transaction with the instance's item. */
  async changes(
    instanceId: string,
    state: State,
    { event, takenEvent }: InstanceWrite,
  ): Promise<TransactWriteItem[]> {
    const { keys, service, bodies } = this.#parts
    const { life, version } = state
    const changes: TransactWriteItem[] = []
    if (takenEvent !== null) {
      const oldest = await this.#oldest(instanceId, state, takenEvent)
      if (oldest !== null)
        changes.push(this.#delete({ p: oldest.p?.S ?? '', s: oldest.s?.S ?? '' }))
    }
    if (event === null || isEnded(state.head.state.status)) return changes
    const { signalName, eventId, payload } = event
    const put = (key: ItemKey, attributes: Attributes): void => {
      const Item = { ...keyOf(key), ...attributes }
      changes.push({ Put: { TableName: service.tableName, Item } })
    }
    if (payload !== null) {
      put(
        eventKey(keys, instanceId, life, signalName, version),
        payload.byteLength <= EVENT_BYTES
          ? { o: { B: payload } }
          : { ob: { S: await bodies.put(instanceId, life, payload) } },
      )
    }
    if (eventId !== null) put(idKey(keys, instanceId, life, signalName, eventId), {})
    return changes
  }

  async #oldest(
    instanceId: string,
    { life }: Pick<State, 'life'>,
    signalName: string,
  ): Promise<Attributes | null> {
    const { keys, service } = this.#parts
    const prefix = `E#${life}#${digest(signalName)}#`
    const { items } = await service.query({
      KeyConditionExpression: 'p = :p AND begins_with(s, :s)',
      ExpressionAttributeValues: { ':p': { S: keys.instance(instanceId) }, ':s': { S: prefix } },
      ConsistentRead: true,
      Limit: 1,
    })
    return items[0] ?? null
  }

  /** With its payload: where that is not there, somebody was just faster, or it is missing. */
  async #oldestThere(
    instanceId: string,
    state: State,
    signalName: string,
  ): Promise<{ readonly oldest: Attributes; readonly payload: Uint8Array } | null> {
    let before = ''
    for (;;) {
      const oldest = await this.#oldest(instanceId, state, signalName)
      if (oldest === null) return null
      const payload = await this.#payload(instanceId, oldest)
      if (payload !== null) return { oldest, payload }
      before = mustDiffer(instanceId, oldest.s?.S ?? '', before)
    }
  }

  async #payload(instanceId: string, { o, ob }: Attributes): Promise<Uint8Array | null> {
    if (ob?.S === undefined) return bytesOf(o)
    return (await this.#parts.bodies.get(instanceId, ob.S))?.slice() ?? null
  }

  #delete(key: ItemKey): TransactWriteItem {
    return { Delete: { TableName: this.#parts.service.tableName, Key: keyOf(key) } }
  }
}

/** Versions grow, so the oldest is the first. */
function eventKey(
  keys: Keys,
  instanceId: string,
  life: string,
  signalName: string,
  version: number,
): ItemKey {
  const place = String(version).padStart(12, '0')
  return { p: keys.instance(instanceId), s: `E#${life}#${digest(signalName)}#${place}` }
}

function idKey(
  keys: Keys,
  instanceId: string,
  life: string,
  signalName: string,
  eventId: string,
): ItemKey {
  return { p: keys.instance(instanceId), s: `N#${life}#${digest(signalName, eventId)}` }
}
