/** By how much this clock is off from the service's at most, in milliseconds: what `capabilities` promise. */
export const MAX_CLOCK_ERROR_MS = 1000
/** `Date` headers tell whole seconds. */
const RESOLUTION_MS = 1000
/** A reply that took longer tells too little. */
const MAX_ROUND_TRIP_MS = 1000
/** By how much a clock that is right may be beyond its bounds: whole milliseconds, a busy machine. */
const SLACK_MS = 20
/** By how much the process's monotonic clock may drift from the service's, as a part of the time. */
const DRIFT = 500e-6

/**
 * The service's clock, which no expression can read: the process's own, kept within what the `Date`
 * headers of replies allow.
 *
 * A reply that was sent at monotonic time `s`, came at `r` and says `D` proves that the service's
 * clock less the monotonic one is between `D - r` and `D + 1 s - s`. Replies at different parts of
 * a second narrow that; with time it widens by the drift. A wall clock within those bounds is taken
 * as it is; for any other (10 minutes off, or set while we run) the middle is.
 */
export class ServiceClock {
  readonly #wall: () => number
  #low = -Infinity
  #high = Infinity
  #since = 0

  /** @param wall The process's own clock: epoch milliseconds. */
  constructor(wall: () => number = Date.now) {
    this.#wall = wall
  }

  /** Whether anything is known of the service's clock. */
  get isKnown(): boolean {
    return this.#high < Infinity
  }

  /**
   * Takes in a reply.
   *
   * @param date Its `Date` header.
   * @param sentAt When the request was sent, by `performance.now()`.
   * @param receivedAt When the reply came.
   */
  observe(date: string | undefined, sentAt: number, receivedAt: number): void {
    const seconds = date === undefined ? Number.NaN : Date.parse(date)
    if (Number.isNaN(seconds)) return
    const isSlow = receivedAt - sentAt > MAX_ROUND_TRIP_MS
    if (isSlow && this.isKnown) return
    const low = seconds - receivedAt
    const high = seconds + RESOLUTION_MS - sentAt
    this.#widen(receivedAt)
    // A contradiction: one of the clocks was set, or the machine slept.
    if (low > this.#high || high < this.#low) {
      this.#low = low
      this.#high = high
      return
    }
    this.#low = Math.max(this.#low, low)
    this.#high = Math.min(this.#high, high)
  }

  /** Epoch milliseconds. */
  now(): number {
    const monotonic = performance.now()
    const own = this.#wall()
    if (!this.isKnown) return Math.floor(own)
    this.#widen(monotonic)
    const low = Math.max(this.#low, this.#high - MAX_CLOCK_ERROR_MS)
    const high = Math.min(this.#high, this.#low + MAX_CLOCK_ERROR_MS)
    const offset = own - monotonic
    // A clock that is plainly wrong tells nothing: then the middle is the best guess.
    const isWrong = offset < low - SLACK_MS || offset > high + SLACK_MS || low > high
    if (isWrong) return Math.floor(monotonic + (this.#low + this.#high) / 2)
    return Math.floor(monotonic + Math.min(Math.max(offset, low), high))
  }

  #widen(monotonic: number): void {
    const drift = (monotonic - this.#since) * DRIFT
    this.#since = monotonic
    this.#low -= drift
    this.#high += drift
  }
}
