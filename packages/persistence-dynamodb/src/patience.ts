import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds of a pause before a throttled request is tried again, at first and at most. */
const FIRST_PAUSE_MS = 40
const MAX_PAUSE_MS = 500

/** Pauses that grow, with jitter, until a bound. */
export class Patience {
  #tries = 0
  readonly #until: number

  constructor(forMs: number) {
    this.#until = performance.now() + forMs
  }

  /** Waits a while; throws the error instead once the bound is reached. */
  async pause(error: () => unknown): Promise<void> {
    const longest = Math.min(FIRST_PAUSE_MS * 2 ** this.#tries, MAX_PAUSE_MS)
    this.#tries += 1
    const left = this.#until - performance.now()
    if (left <= 0) throw error()
    await sleep(Math.min(Math.random() * longest, left))
  }
}
