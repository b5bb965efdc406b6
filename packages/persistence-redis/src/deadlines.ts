import { timedOut } from './errors.ts'

/** Times are those of `performance.now()`. */
interface Waiting {
  readonly since: number
  readonly until: number
  reject(error: unknown): void
}

/** Bounds how long replies are waited for, with one timer for all: one each costs more than a reply does. */
export class Deadlines {
  readonly #timeoutMs: number
  readonly #silent: () => void
  #heardAt = 0
  readonly #waiting = new Set<Waiting>()
  #timer: NodeJS.Timeout | undefined
  #ringsAt: number = Number.POSITIVE_INFINITY

  /** @param silent Called when somebody waited for `timeoutMs` and nothing at all is heard any more. */
  constructor(timeoutMs: number, silent: () => void) {
    this.#timeoutMs = timeoutMs
    this.#silent = silent
  }

  /** The reply, or `UNAVAILABLE` where it does not come in time. */
  within<T>(reply: Promise<T>, ms: number): Promise<T> {
    return new Promise((resolve, reject) => this.watch(reply, ms, resolve, reject))
  }

  /** The same, told to whom it concerns. */
  watch<T>(
    reply: Promise<T>,
    ms: number,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ): void {
    const since = performance.now()
    const waiting: Waiting = { since, until: since + Math.max(ms, 1), reject }
    if (this.#waiting.size === 0) this.#timer?.ref()
    this.#waiting.add(waiting)
    if (waiting.until < this.#ringsAt) this.#arm(waiting.until)
    reply.then(
      (value) => {
        this.#heardAt = performance.now()
        // Late: it has been told otherwise.
        if (this.#end(waiting)) resolve(value)
      },
      (error: unknown) => {
        if (this.#end(waiting)) reject(error)
      },
    )
  }

  /** Whether it still waited. */
  #end(waiting: Waiting): boolean {
    const waited = this.#waiting.delete(waiting)
    // Whoever got a reply calls again, as a rule: the timer rings once more, and is no reason for a
    // process to go on.
    if (this.#waiting.size === 0) this.#timer?.unref()
    return waited
  }

  #arm(at: number): void {
    clearTimeout(this.#timer)
    this.#ringsAt = at
    const ms = Math.min(Math.max(at - performance.now(), 0), 2 ** 31 - 1)
    this.#timer = setTimeout(this.#ring, ms)
  }

  /** Forgets the timer, where nobody waits. */
  stop(): void {
    if (this.#waiting.size > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#ringsAt = Number.POSITIVE_INFINITY
  }

  readonly #ring = (): void => {
    // Timers may ring a millisecond early.
    const now = performance.now() + 1
    let next = Number.POSITIVE_INFINITY
    let isSilent = false
    for (const waiting of this.#waiting) {
      const { since, until, reject } = waiting
      if (until <= now) {
        this.#waiting.delete(waiting)
        // A call had all its time, and nothing came for half of it.
        const isLate = now - since >= this.#timeoutMs
        isSilent ||= isLate && now - this.#heardAt >= this.#timeoutMs / 2
        reject(timedOut(this.#timeoutMs))
      } else next = Math.min(next, until)
    }
    if (this.#waiting.size === 0) this.stop()
    else this.#arm(next)
    if (isSilent) this.#silent()
  }
}
