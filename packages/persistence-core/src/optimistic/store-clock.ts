/** Milliseconds after which an observation gives way to newer ones. */
const WINDOW_MS = 5000
/** By how much the process's clock may run faster than the store's, as a part of the time. */
const DRIFT = 200e-6

/** What the store's clock showed, and when that was. */
interface Observation {
  /** The store's time less the monotonic one's. */
  readonly offset: number
  readonly monotonic: number
}

/**
 * What the store's clock shows now, by what it showed in its replies and the process's monotonic
 * clock; so neither a wrong wall clock nor one that is set matters. It is meant to be a little
 * behind, by the way that the replies took at least, so that what happens now is not in the
 * store's future. Nothing rests on it but how often a write has to be worked out again: the store
 * refuses one whose time is far off.
 */
export class StoreClock {
  #best: Observation | null = null
  #newer: Observation | null = null
  #last = 0

  /** Takes in what the store's clock showed in a reply that has just come. */
  observe(now: number): void {
    // Of many replies that came together the first tells all.
    if (now === this.#last) return
    this.#last = now
    const monotonic = performance.now()
    const seen: Observation = { offset: now - monotonic, monotonic }
    if (this.#best === null) this.#best = seen
    if (monotonic - this.#best.monotonic > WINDOW_MS) {
      this.#best = this.#newer ?? seen
      this.#newer = null
    }
    // The reply that was shortest on its way is the latest, and tells the most.
    if (seen.offset >= this.#best.offset) this.#best = seen
    else if (this.#newer === null || seen.offset >= this.#newer.offset) this.#newer = seen
  }

  /** Takes a time for right, whatever was observed before: the store's clock was set back. */
  reset(now: number): void {
    this.#last = now
    const monotonic = performance.now()
    this.#best = { offset: now - monotonic, monotonic }
    this.#newer = null
  }

  /** Whether anything was observed. */
  get isKnown(): boolean {
    return this.#best !== null
  }

  /** Epoch milliseconds. */
  now(): number {
    if (this.#best === null) return 0
    const monotonic = performance.now()
    const { offset, monotonic: seenAt } = this.#best
    return Math.floor(monotonic + offset - (monotonic - seenAt) * DRIFT)
  }
}
