import { Heap } from '@sayiir/persistence-core/adapter'

/** Times are rounded up to this many milliseconds. */
const GRAIN_MS = 2
/** Below so many it is not worth it. */
const MIN_CLEARED = 1000
/** Forgotten times for each that counts, at most, before they are cleared away. */
const STALE = 4

/** Times at which something needs care, of which the first is wanted, and most are forgotten before they come. */
export class CareTimes {
  readonly #heap = new Heap<number>((a, b) => a - b)
  /** How often each time that counts was noted. */
  readonly #counts = new Map<number, number>()

  /** Times that are kept, those among them that were forgotten too. */
  get size(): number {
    return this.#heap.size
  }

  note(time: number): void {
    const rounded = roundedUp(time)
    const count = this.#counts.get(rounded) ?? 0
    this.#counts.set(rounded, count + 1)
    if (count === 0) this.#heap.push(rounded)
  }

  /** Takes one back. */
  forget(time: number): void {
    const rounded = roundedUp(time)
    const count = this.#counts.get(rounded)
    if (count === undefined) return
    if (count > 1) {
      this.#counts.set(rounded, count - 1)
      return
    }
    this.#counts.delete(rounded)
    // Behind one that stays for long they would gather without end.
    if (this.#heap.size > STALE * (this.#counts.size + MIN_CLEARED)) this.#clear()
  }

  /** The first that counts; undefined: there is none. */
  first(): number | undefined {
    let first = this.#heap.peek()
    while (first !== undefined && !this.#counts.has(first)) {
      this.#heap.pop()
      first = this.#heap.peek()
    }
    return first
  }

  /** Forgets all up to a time. */
  passed(now: number): void {
    for (let first = this.#heap.peek(); first !== undefined && first <= now; ) {
      this.#counts.delete(first)
      this.#heap.pop()
      first = this.#heap.peek()
    }
  }

  #clear(): void {
    const seen = new Set<number>()
    this.#heap.retain((time) => {
      const isKept = this.#counts.has(time) && !seen.has(time)
      seen.add(time)
      return isKept
    })
  }
}

function roundedUp(time: number): number {
  return Math.ceil(time / GRAIN_MS) * GRAIN_MS
}
