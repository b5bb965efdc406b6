import { timedOut } from './errors.ts'

interface Waiting {
  /** By `performance.now()`. */
  readonly at: number
  reject(error: unknown): void
}

/** Bounds how long replies are waited for, with one timer for all: one each costs more than a reply does. */
export class Deadlines {
  readonly #timeoutMs: number
  readonly #waiting = new Set<Waiting>()
  #timer: NodeJS.Timeout | undefined
  #ringsAt: number = Number.POSITIVE_INFINITY

  /** @param timeoutMs What whoever waited is told. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  /** The reply, or `UNAVAILABLE` where it does not come in time. */
  within<T>(reply: Promise<T>, ms: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { at: performance.now() + Math.max(ms, 1), reject }
      this.#waiting.add(waiting)
      if (waiting.at < this.#ringsAt) this.#arm(waiting.at)
      reply.then(
        (value) => {
          this.#end(waiting)
          resolve(value)
        },
        (error: unknown) => {
          this.#end(waiting)
          reject(error)
        },
      )
    })
  }

  #end(waiting: Waiting): void {
    this.#waiting.delete(waiting)
    if (this.#waiting.size === 0) this.#disarm()
  }

  #arm(at: number): void {
    clearTimeout(this.#timer)
    this.#ringsAt = at
    const ms = Math.min(Math.max(at - performance.now(), 0), 2 ** 31 - 1)
    this.#timer = setTimeout(this.#ring, ms)
  }

  #disarm(): void {
    clearTimeout(this.#timer)
    this.#ringsAt = Number.POSITIVE_INFINITY
  }

  readonly #ring = (): void => {
    // Timers may ring a millisecond early.
    const now = performance.now() + 1
    let next = Number.POSITIVE_INFINITY
    for (const waiting of this.#waiting) {
      if (waiting.at <= now) {
        this.#waiting.delete(waiting)
        waiting.reject(timedOut(this.#timeoutMs))
      } else next = Math.min(next, waiting.at)
    }
    if (this.#waiting.size === 0) this.#disarm()
    else this.#arm(next)
  }
}
