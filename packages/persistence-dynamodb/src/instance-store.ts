import type { TransactWriteItem } from '@aws-sdk/client-dynamodb'
import { BackendError } from '@sayiir/persistence-core'
import { delay, quote, Turns } from '@sayiir/persistence-core/adapter'
import type { Bodies } from './bodies.ts'
import type { Directory } from './directory.ts'
import type { DueNudge } from './due-nudge.ts'
import { type Attributes, keyOf } from './expressions.ts'
import { indexKeys } from './index-keys.ts'
import { addWrite, InstanceItem, type State, WRITE_NAME } from './instance-item.ts'
import { ItemCache } from './item-cache.ts'
import { conditionOf, difference, ItemUpdates } from './item-updates.ts'
import { type Keys, randomName, shardOf } from './keys.ts'
import { Leftovers } from './leftovers.ts'
import type { Markers } from './markers.ts'
import { fromIndex, pack, packWhole, sizeOf, WHOLE } from './packing.ts'
import type { Results } from './results.ts'
import type { Conditional, Service } from './service.ts'
import type { StateCodec } from './state-codec.ts'
import type { TaskClasses } from './task-class.ts'
import { mustDiffer } from './unreadable.ts'

/** Compare-and-sets in a row that may fail before that is taken for a failure. */
const MAX_TRIES = 200
/** Tries after which there are pauses between them. */
const EAGER_TRIES = 3
/** Milliseconds of a pause at most. */
const MAX_PAUSE_MS = 40
/** Bytes of a write unit. */
const UNIT_BYTES = 1024

/** What the parts of a store share. */
export interface Parts {
  readonly service: Service
  readonly keys: Keys
  readonly shards: number
  readonly bodies: Bodies
  readonly codec: StateCodec
  readonly results: Results
  readonly markers: Markers
  readonly directory: Directory
  readonly classes: TaskClasses
}

/** An instance that is there. */
export interface Known {
  readonly item: InstanceItem
  readonly state: State
}

/** What a change is decided on. */
export interface Basis {
  /** Null: there is no such instance. */
  readonly known: Known | null
  /** Epoch milliseconds. */
  readonly now: number
  /** The last token of a life that was deleted just now. */
  readonly floor: number
}

/** What a change comes to. */
export interface Change<T> {
  /** What is to be; null: nothing has to be written. */
  readonly next: State | null
  /** Done before the write: what it refers to. */
  first?(): Promise<unknown>
  /** Done after it, sooner or later. */
  finally?(): Promise<unknown>
  /** Written in the same step. */
  readonly others?: readonly TransactWriteItem[]
  /** The answer, with what is there now. */
  answer(after: Known | null): T
}

/** Instances' own items: read, remembered, and changed by compare-and-set. */
export class InstanceStore {
  readonly #parts: Parts
  readonly #updates: ItemUpdates
  readonly #turns = new Turns()
  readonly #cache = new ItemCache()
  readonly #background = new Set<Promise<unknown>>()
  readonly #nudge: DueNudge
  readonly #leftovers: Leftovers

  constructor(parts: Parts, nudge: DueNudge) {
    this.#parts = parts
    this.#nudge = nudge
    this.#updates = new ItemUpdates(parts.service)
    this.#leftovers = new Leftovers(parts, (work) => this.later(work))
  }

  get now(): number {
    return this.#parts.service.clock.now()
  }

  /** The instance as it was last seen here, which may be long ago. */
  cached(instanceId: string): InstanceItem | undefined {
    return this.#cache.get(instanceId)
  }

  /** Reads an instance: strongly consistent. Null: there is none. */
  async read(instanceId: string): Promise<Known | null> {
    let before = ''
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const item = await this.#get(instanceId)
      if (item === null || item.isTombstone) return null
      const state = await this.decode(item)
      if (state !== null) return { item, state }
      before = mustDiffer(instanceId, item.lastWrite, before)
    }
    throw tooBusy(instanceId)
  }

  /** Takes in an item that a query brought, perhaps not the newest. */
  seen(attributes: Attributes): InstanceItem {
    const { p, s: _, ...stored } = attributes
    const instanceId = this.#parts.keys.instanceIdOf(p?.S ?? '')
    return this.#newest(new InstanceItem(instanceId, stored))
  }

  /** As `seen`, of an entry of the index `work`; null: it has not the whole item. */
  seenInIndex(entry: Attributes): InstanceItem | null {
    const instanceId = this.#parts.keys.instanceIdOf(entry.p?.S ?? '')
    const known = this.#cache.get(instanceId)
    const whole = entry[WHOLE]?.B
    const old = known?.stored[WHOLE]?.B
    if (known !== undefined && whole !== undefined && old !== undefined) {
      // Looks overlap: what is known need not be taken apart again.
      if (Buffer.compare(whole, old) === 0) return known
    }
    const found = fromIndex(entry)
    if (found === null) return null
    return this.#newest(new InstanceItem(instanceId, found.stored, found.attributes))
  }

  /** What is known of an instance once this was seen. */
  #newest(item: InstanceItem): InstanceItem {
    const known = this.#cache.get(item.instanceId)
    // What was written here since is newer.
    if (known?.hasWrite(item.lastWrite) === true) return known
    this.#cache.set(item)
    return item
  }

  /** What an item says; null: it is out of date. */
  async decode(item: InstanceItem): Promise<State | null> {
    const state = await this.#parts.codec.decode(item)
    if (state !== null) this.#cache.decoded(item, state)
    return state
  }

  /**
   * Changes an instance. What `decide` wants to write is written if nobody has written since; else
   * it decides again, on what is there now. That nothing is to be written is concluded only from
   * what was read in this call.
   *
   * @param options.supposed What is there, as far as the caller knows: `cached`, `absent`, or an item.
   */
  change<T>(
    instanceId: string,
    decide: (basis: Basis) => Promise<Change<T>> | Change<T>,
    options: { readonly supposed?: 'absent' | 'cached' | InstanceItem } = {},
  ): Promise<T> {
    return this.#turns.run(instanceId, () => this.#change(instanceId, decide, options))
  }

  /** Does something after a write that nobody has to wait for; where it fails, `prune` makes up for it. */
  later(work: () => Promise<unknown>): void {
    const running = work().catch(() => undefined)
    this.#background.add(running)
    void running.finally(() => this.#background.delete(running))
  }

  /** Waits for what is done behind the scenes. */
  async idle(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background)
  }

  /** Puts an instance where it belongs in the indexes now: claims have expired, or a key was early. */
  refile(instanceId: string): Promise<void> {
    const { keys, shards } = this.#parts
    return this.change<void>(instanceId, ({ known, now }) => {
      const nothing = { next: null, answer: () => undefined }
      if (known === null) return nothing
      const { attributes } = known.item
      const place = indexKeys(known.state, { keys, shards, now, before: attributes })
      const { markers } = known.state
      const isInPlace =
        place.attributes.wp?.S === attributes.wp?.S &&
        place.attributes.ws?.N === attributes.ws?.N &&
        place.markers.size === markers.size &&
        [...markers.keys()].every((classId) => place.markers.has(classId))
      return isInPlace ? nothing : { next: known.state, answer: () => undefined }
    })
  }

  /** Forgets what is remembered of an instance. */
  forget(instanceId: string): void {
    this.#cache.delete(instanceId)
  }

  async #change<T>(
    instanceId: string,
    decide: (basis: Basis) => Promise<Change<T>> | Change<T>,
    { supposed = 'cached' }: { readonly supposed?: 'absent' | 'cached' | InstanceItem },
  ): Promise<T> {
    const known = this.#cache.get(instanceId)
    const guess = known ?? (typeof supposed === 'string' ? undefined : supposed)
    let item = guess ?? (supposed === 'absent' ? null : await this.#get(instanceId))
    let isFresh = guess === undefined && supposed !== 'absent'
    let before = ''
    for (let tries = 1; tries < MAX_TRIES; tries += 1) {
      const state = item === null || item.isTombstone ? null : await this.decode(item)
      const isOutOfDate = item !== null && !item.isTombstone && state === null
      if (!isOutOfDate) {
        const known = item === null || state === null ? null : { item, state }
        const change = await decide({ known, now: this.now, floor: item?.token ?? 0 })
        if (change.next === null) {
          if (isFresh) return change.answer(known)
        } else {
          const done = await this.#write(instanceId, item, known, change)
          if ('after' in done) return change.answer(done.after)
          item = done.found
          isFresh = true
          if (tries > EAGER_TRIES) await delay(Math.random() * Math.min(tries * 2, MAX_PAUSE_MS))
          continue
        }
      }
      if (isOutOfDate && item !== null && isFresh)
        before = mustDiffer(instanceId, item.lastWrite, before)
      item = await this.#get(instanceId)
      isFresh = true
    }
    throw tooBusy(instanceId)
  }

  async #write(
    instanceId: string,
    item: InstanceItem | null,
    known: Known | null,
    change: Change<unknown>,
  ): Promise<{ readonly after: Known } | { readonly found: InstanceItem | null }> {
    const { keys, shards, codec, classes, markers, directory } = this.#parts
    const { next, others = [] } = change
    if (next === null) throw new TypeError('there is nothing to write')
    const before = item?.attributes ?? {}
    const place = indexKeys(next, { keys, shards, now: this.now, before })
    const oldMarkers = known?.state.markers ?? new Map<string, number>()
    const shard = shardOf(instanceId, shards)
    await Promise.all([
      classes.ensure(place.classes),
      markers.put(instanceId, item, oldMarkers, place.markers, shard, this.now),
      change.first?.(),
      known === null ? directory.put(instanceId, shard, next.life) : undefined,
    ])
    const encoded = await codec.encode({ ...next, markers: place.markers }, known)
    const name = randomName(WRITE_NAME)
    const after: Attributes = {
      ...encoded.attributes,
      ...place.attributes,
      w: { S: addWrite(name, item?.writes ?? '') },
    }
    // Until the reply has come it is not known what is there.
    this.#cache.delete(instanceId)
    const stored = this.#stored(instanceId, after)
    const result = await this.#compareAndSet(instanceId, item, stored, others)
    const found = result.found === null ? null : withoutKey(instanceId, result.found)
    // A request that was repeated because its reply was lost finds itself (rule S7).
    if (!result.written && found?.hasWrite(name) !== true) {
      this.#leftovers.refused(instanceId, encoded.written)
      if (found !== null && !found.isTombstone) this.#cache.set(found)
      return { found }
    }
    if (known === null) await directory.confirm(instanceId, shard, next.life)
    const written = new InstanceItem(instanceId, stored, after)
    const state: State = { ...next, markers: place.markers, tail: encoded.tail }
    written.state = Promise.resolve(state)
    if (result.written) {
      this.#cache.set(written)
      this.#cache.decoded(written, state)
    }
    this.#leftovers.replaced({ item: written, state }, known, encoded.written)
    if (place.classes.length > 0) this.#nudge.nudge()
    if (place.dueAt !== null) this.#nudge.due(place.dueAt)
    if (change.finally !== undefined) this.later(() => change.finally?.() ?? Promise.resolve())
    return { after: { item: written, state } }

    function withoutKey(id: string, attributes: Attributes): InstanceItem {
      const { p: _, s: __, ...rest } = attributes
      return new InstanceItem(id, rest)
    }
  }

  /** As the table is to have it: what waits for a worker so that the index has it too, where that costs no more units. */
  #stored(instanceId: string, after: Attributes): Attributes {
    const { keys } = this.#parts
    const isWaiting = keys.isReady(after.wp?.S)
    const room = UNIT_BYTES - sizeOf(keyOf(keys.head(instanceId)))
    return (isWaiting ? packWhole(after, room) : null) ?? pack(after)
  }

  #compareAndSet(
    instanceId: string,
    item: InstanceItem | null,
    after: Attributes,
    others: readonly TransactWriteItem[],
  ): Promise<Conditional> {
    const { service, keys } = this.#parts
    const key = keys.head(instanceId)
    if (others.length === 0) return this.#updates.compareAndSet(key, item, after)
    const update = difference(item?.stored ?? {}, after)
    return service.transact(key, update, conditionOf(item?.writes ?? null), others)
  }

  async #get(instanceId: string): Promise<InstanceItem | null> {
    const { service, keys } = this.#parts
    const attributes = await service.get(keys.head(instanceId))
    if (attributes === null) {
      this.#cache.delete(instanceId)
      return null
    }
    const { p: _, s: __, ...rest } = attributes
    const item = new InstanceItem(instanceId, rest)
    const known = this.#cache.get(instanceId)
    // Nothing that was decoded before need be decoded again.
    if (known?.writes === item.writes) return known
    if (!item.isTombstone) this.#cache.set(item)
    return item
  }
}

function tooBusy(instanceId: string): BackendError {
  return new BackendError(
    'UNAVAILABLE',
    `instance ${quote(instanceId)} is changed by too many at once; try again later`,
    { instanceId },
  )
}
