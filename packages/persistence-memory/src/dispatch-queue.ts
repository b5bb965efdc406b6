import type { WorkerFilter } from '@sayiir/persistence-core'
import {
  compareIds,
  type DispatchEntry,
  Heap,
  isServed,
  orderKey,
} from '@sayiir/persistence-core/adapter'
import { handsOut, type InstanceRecord } from './records.ts'

/** Under this key an instance waits for its pending control signals to be applied. No task has it. */
export const SIGNALS_KEY = '\0'

/** A place in the queue. Only the one that its instance holds in `queued` counts; others are stale. */
export interface QueuedItem {
  readonly record: InstanceRecord
  /** A task's id, `TIMER_TASK_ID`, or {@link SIGNALS_KEY}. */
  readonly key: string
  /** When it can be handed out: it is due, and no claim is live. */
  readonly visibleAt: number
  /** Smaller is sooner. */
  readonly rank: number
  readonly availableSince: number
  readonly route: string
}

/** Tasks that the same workers take, best first: finding does not pass those that a worker can't take. */
interface Route {
  readonly definitionHash: string
  readonly tags: readonly string[]
  readonly lastFailedWorker: string | null
  readonly items: Heap<QueuedItem>
}

const FEW = 64

/**
 * The one dispatch index: what is not visible yet, by time, and what is, by route and rank. An item
 * that changed is not searched for but left behind as stale, and dropped when it comes up; so
 * finding costs O(routes + limit × log tasks), however many tasks wait.
 */
export class DispatchQueue {
  readonly #agingIntervalMs: number
  readonly #onSooner: () => void
  readonly #waiting = new Heap<QueuedItem>((a, b) => a.visibleAt - b.visibleAt)
  readonly #ready = new Map<string, Route>()
  #size = 0
  #stale = 0

  /** @param onSooner Called when something may be visible sooner than all that waited before. */
  constructor(agingIntervalMs: number, onSooner: () => void) {
    this.#agingIntervalMs = agingIntervalMs
    this.#onSooner = onSooner
  }

  /** Items that it holds, stale ones too. */
  get size(): number {
    return this.#size
  }

  /** Brings the queue up to date after a change of an instance, or of this one entry's claim. */
  offer(record: InstanceRecord, entry?: DispatchEntry): void {
    const nextBefore = this.nextVisibleAt() ?? Infinity
    const before = record.queued
    const isPart = entry !== undefined && handsOut(record)
    const fresh: QueuedItem[] = []
    if (isPart) {
      const item = this.#toItem(record, entry)
      const old = before.get(item.key)
      if (old !== undefined && isSame(old, item)) return
      if (old !== undefined) this.#stale += 1
      before.delete(item.key)
      fresh.push(item)
    } else {
      record.queued = new Map()
      for (const item of this.#itemsOf(record)) {
        const old = before.get(item.key)
        if (old !== undefined && isSame(old, item)) {
          before.delete(item.key)
          record.queued.set(item.key, old)
        } else fresh.push(item)
      }
      this.#stale += before.size
    }
    for (const item of fresh) this.#add(item)
    this.#compact()
    if (fresh.some(({ visibleAt }) => visibleAt < nextBefore)) this.#onSooner()
  }

  /** Forgets an instance. */
  withdraw(record: InstanceRecord): void {
    this.#stale += record.queued.size
    record.queued.clear()
    this.#compact()
  }

  /** Takes out the next item whose time has come; it must be made {@link ready} or be offered anew. */
  takeDue(at: number): QueuedItem | undefined {
    const item = this.#firstWaiting()
    if (item === undefined || item.visibleAt > at) return undefined
    this.#waiting.pop()
    this.#size -= 1
    item.record.queued.delete(item.key)
    return item
  }

  /** From now on the item, which was taken out, can be found. */
  ready(item: QueuedItem, entry: DispatchEntry): void {
    let route = this.#ready.get(item.route)
    if (route === undefined) {
      route = {
        definitionHash: item.record.snapshot.definitionHash,
        tags: entry.tags,
        lastFailedWorker: entry.lastFailedWorker,
        items: new Heap(byRank),
      }
      this.#ready.set(item.route, route)
    }
    route.items.push(item)
    item.record.queued.set(item.key, item)
    this.#size += 1
  }

  /** Puts an item that was taken out off. */
  postpone(item: QueuedItem, visibleAt: number): void {
    this.#add({ ...item, visibleAt })
  }

  /** When the next item becomes visible that is not yet; null if none does by itself. */
  nextVisibleAt(): number | null {
    return this.#firstWaiting()?.visibleAt ?? null
  }

  /**
   * The best ready items, which stay in the queue: those that this worker failed last come after
   * all others (rule D4).
   */
  best(
    filter: WorkerFilter,
    workerId: string | undefined,
    limit: number,
    at: number,
  ): QueuedItem[] {
    const taken: [Route, QueuedItem][] = []
    for (const isOwnFailure of [false, true]) {
      const routes = new Heap<readonly [Route, QueuedItem]>(([, a], [, b]) => byRank(a, b))
      for (const [key, route] of this.#ready) {
        if ((route.lastFailedWorker === workerId) !== isOwnFailure) continue
        if (!isServed(filter, route.definitionHash, route.tags)) continue
        const first = this.#firstOf(route, at)
        if (first !== undefined) routes.push([route, first])
        else if (route.items.size === 0) this.#ready.delete(key)
      }
      while (taken.length < limit) {
        const best = routes.pop()
        if (best === undefined) break
        const [route, item] = best
        route.items.pop()
        taken.push([route, item])
        const next = this.#firstOf(route, at)
        if (next !== undefined) routes.push([route, next])
      }
    }
    return taken.map(([route, item]) => {
      route.items.push(item)
      return item
    })
  }

  *#itemsOf(record: InstanceRecord): Generator<QueuedItem> {
    if (handsOut(record)) {
      for (const entry of record.entries.values()) yield this.#toItem(record, entry)
      return
    }
    const { status } = record.snapshot.state
    if (record.cancel === null && (record.pause === null || status !== 'in-progress')) return
    let visibleAt = 0
    for (const { claim } of record.entries.values()) {
      if (claim !== null) visibleAt = Math.max(visibleAt, claim.expiresAt ?? Infinity)
    }
    yield { record, key: SIGNALS_KEY, visibleAt, rank: 0, availableSince: 0, route: '' }
  }

  #toItem(record: InstanceRecord, entry: DispatchEntry): QueuedItem {
    const { taskId, availableSince, claim, tags, lastFailedWorker } = entry
    const claimedUntil = claim === null ? 0 : (claim.expiresAt ?? Infinity)
    // No id has U+0000 in it.
    const route = [
      record.snapshot.definitionHash,
      lastFailedWorker ?? '',
      ...(tags.length > 1 ? tags.toSorted() : tags),
    ].join('\0')
    return {
      record,
      key: taskId,
      visibleAt: Math.max(availableSince, claimedUntil),
      rank: orderKey(entry, this.#agingIntervalMs),
      availableSince,
      route,
    }
  }

  #add(item: QueuedItem): void {
    // A claim that never expires: the task comes back when the claim is given up.
    if (item.visibleAt === Infinity) return
    item.record.queued.set(item.key, item)
    this.#waiting.push(item)
    this.#size += 1
  }

  #isCurrent = (item: QueuedItem): boolean => item.record.queued.get(item.key) === item

  #firstWaiting(): QueuedItem | undefined {
    return this.#dropStale(this.#waiting)
  }

  /** The best item of a route; what is not visible any more (the clock was put back) waits again. */
  #firstOf(route: Route, at: number): QueuedItem | undefined {
    for (;;) {
      const item = this.#dropStale(route.items)
      if (item === undefined || item.visibleAt <= at) return item
      route.items.pop()
      this.#waiting.push(item)
    }
  }

  #dropStale(items: Heap<QueuedItem>): QueuedItem | undefined {
    for (;;) {
      const item = items.peek()
      if (item === undefined || this.#isCurrent(item)) return item
      items.pop()
      this.#size -= 1
      this.#stale -= 1
    }
  }

  /** Bounds what stale items cost: there are never many more of them than of others. */
  #compact(): void {
    if (this.#stale < FEW || this.#stale * 2 < this.#size) return
    this.#waiting.retain(this.#isCurrent)
    for (const [key, { items }] of this.#ready) {
      items.retain(this.#isCurrent)
      if (items.size === 0) this.#ready.delete(key)
    }
    this.#size -= this.#stale
    this.#stale = 0
  }
}

function isSame(a: QueuedItem, b: QueuedItem): boolean {
  return a.visibleAt === b.visibleAt && a.rank === b.rank && a.route === b.route
}

/** The order of tasks that are available (rule D2); ties are broken so that it is total. */
export function byRank(a: QueuedItem, b: QueuedItem): number {
  return (
    a.rank - b.rank ||
    a.availableSince - b.availableSince ||
    compareIds(a.record.snapshot.instanceId, b.record.snapshot.instanceId) ||
    compareIds(a.key, b.key)
  )
}
