import { isEnded } from '@sayiir/persistence-core/adapter'
import type { InstanceItem, State } from './instance-item.ts'

/** Instances that are remembered, and bytes of them, roughly. */
const MAX_ITEMS = 4000
const MAX_BYTES: number = 32 * 1024 * 1024
/** Bytes of an instance's item up to which it is remembered. */
const MAX_ITEM_BYTES = 16 * 1024
/** What an instance takes in memory beside its payloads, and each of its dispatch entries, roughly. */
const BASE_BYTES = 2048
const ENTRY_BYTES = 256

interface Cached {
  readonly item: InstanceItem
  bytes: number
  isWeighed: boolean
}

/**
 * Instances' own items as they were last read or written here, with what they say once that was
 * decoded: guesses, which a compare-and-set decides on.
 */
export class ItemCache {
  readonly #items = new Map<string, Cached>()
  #bytes = 0

  get(instanceId: string): InstanceItem | undefined {
    return this.#items.get(instanceId)?.item
  }

  /** Remembers an item, unless it is large or has ended. */
  set(item: InstanceItem): void {
    const { instanceId, attributes } = item
    this.delete(instanceId)
    const { e, t, tl } = attributes
    const bytes = (e?.S?.length ?? 0) + (t?.S?.length ?? 0) + (tl?.B?.byteLength ?? 0)
    if (bytes > MAX_ITEM_BYTES || isEnded(item.status)) return
    this.#items.set(instanceId, { item, bytes: BASE_BYTES + bytes, isWeighed: false })
    this.#bytes += BASE_BYTES + bytes
    this.#makeRoom()
  }

  /** Takes in what an item says: what it refers to, such as a large input, is remembered with it. */
  decoded(item: InstanceItem, { head, entries }: State): void {
    const cached = this.#items.get(item.instanceId)
    if (cached?.item !== item || cached.isWeighed) return
    const more = (head.initialInput?.byteLength ?? 0) + entries.length * ENTRY_BYTES
    cached.isWeighed = true
    cached.bytes += more
    this.#bytes += more
    this.#makeRoom()
  }

  delete(instanceId: string): void {
    const cached = this.#items.get(instanceId)
    if (cached === undefined) return
    this.#items.delete(instanceId)
    this.#bytes -= cached.bytes
  }

  #makeRoom(): void {
    for (const oldest of this.#items.keys()) {
      if (this.#items.size <= MAX_ITEMS && this.#bytes <= MAX_BYTES) break
      this.delete(oldest)
    }
  }
}
