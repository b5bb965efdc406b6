/** Milliseconds that an estimate may be behind. */
const SLACK_MS = 1000

/**
 * About what the server's clock shows: a claim that comes so late that nobody waits for it any more
 * is not made.
 */
export class StoreClock {
  #offset: number | null = null

  observe(now: number): void {
    this.#offset = now - performance.now()
  }

  /** When a call that begins now has been given up; epoch milliseconds. */
  latest(timeoutMs: number): number {
    return this.#offset === null
      ? Number.MAX_SAFE_INTEGER
      : Math.ceil(performance.now() + this.#offset + timeoutMs + SLACK_MS)
  }

  /** Milliseconds until the clock shows a time. */
  msUntil(time: number): number {
    return this.#offset === null ? 0 : time - (performance.now() + this.#offset)
  }
}
