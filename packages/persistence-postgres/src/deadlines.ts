/** Looks at the calls in the time that one may take. */
const LOOKS = 8

/**
 * Ends calls that take too long, all the same time, with one timer for all of them: a timer for each
 * is a good part of what a short call costs. So a call may take an eighth longer.
 */
export class Deadlines<Call extends object> {
  readonly #everyMs: number
  readonly #expire: (call: Call) => void
  /** Calls under way, those that began first at the front, with the look that came before each. */
  readonly #calls = new Map<Call, number>()
  #looks = 0
  #timer: NodeJS.Timeout | null = null
  /** Whether a call began since the last look. */
  #isUsed = false

  /**
   * @param ms How long a call may take.
   * @param expire Ends one that has taken longer.
   */
  constructor(ms: number, expire: (call: Call) => void) {
    this.#expire = expire
    this.#everyMs = Math.ceil(ms / LOOKS)
  }

  /** A call has begun. */
  begin(call: Call): void {
    this.#calls.set(call, this.#looks)
    this.#isUsed = true
    // Whoever waits for a call has something else that keeps the process alive: its connection.
    this.#timer ??= setInterval(() => this.#look(), this.#everyMs).unref()
  }

  /** A call has ended. */
  end(call: Call): void {
    this.#calls.delete(call)
  }

  #look(): void {
    this.#looks += 1
    for (const [call, before] of this.#calls) {
      // The first look after it began may have come at once.
      if (this.#looks - before <= LOOKS) break
      this.#calls.delete(call)
      this.#expire(call)
    }
    if (this.#calls.size === 0 && !this.#isUsed && this.#timer !== null) {
      clearInterval(this.#timer)
      this.#timer = null
    }
    this.#isUsed = false
  }
}
