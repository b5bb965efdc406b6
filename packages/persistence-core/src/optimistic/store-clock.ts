/** Milliseconds after which an observation no longer counts: two clocks drift apart. */
const WINDOW_MS = 60_000

/**
 * What the store's clock shows now, by what it showed in its replies and the process's monotonic
 * clock; so neither a wrong wall clock nor one that is set matters. Always a little behind, by the
 * way that the replies took, and never behind a time that the store told. Nothing rests on it but
 * how often a write has to be worked out again: the store refuses one whose time is far off.
 */
export class StoreClock {
  /** The store's time less the monotonic one's, at most: the reply on the shortest way tells the most. */
  #offset = Number.NEGATIVE_INFINITY
  /** The same, of the window that is being filled. */
  #nextOffset = Number.NEGATIVE_INFINITY
  #windowEnds = 0

  /** Takes in what the store's clock showed in a reply that has just come. */
  observe(now: number): void {
    const monotonic = performance.now()
    const offset = now - monotonic
    if (monotonic >= this.#windowEnds) {
      this.#offset = this.#nextOffset
      this.#nextOffset = offset
      this.#windowEnds = monotonic + WINDOW_MS
    }
    this.#nextOffset = Math.max(this.#nextOffset, offset)
    this.#offset = Math.max(this.#offset, offset)
  }

  /** Takes a time for right, whatever was observed before: the store's clock was set back. */
  reset(now: number): void {
    this.#offset = now - performance.now()
    this.#nextOffset = this.#offset
    this.#windowEnds = performance.now() + WINDOW_MS
  }

  /** Whether anything was observed. */
  get isKnown(): boolean {
    return this.#offset !== Number.NEGATIVE_INFINITY
  }

  /** Epoch milliseconds. */
  now(): number {
    return Math.floor(performance.now() + this.#offset)
  }
}
