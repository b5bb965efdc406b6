import { closed } from './errors.ts'

/**
 * The life of a backend object, the same for all: calls are refused once it is closed, an aborted
 * call is given up at once, and closing waits for the calls that still run (rule M2).
 */
export class Lifecycle {
  readonly #name: string
  readonly #closing = new AbortController()
  /** Calls that still run, those among them that were given up too. */
  #running = 0
  #idle: (() => void) | null = null
  #closed: Promise<void> | null = null

  constructor(name: string) {
    this.#name = name
  }

  /** Aborts when closing begins: for waits and listings, which must not hold it up. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  /**
   * Throws what a call must fail with before it does anything.
   *
   * @throws `CLOSED`; the signal's reason if it has aborted.
   */
  check(signal?: AbortSignal): void {
    if (this.#closing.signal.aborted) throw closed(this.#name)
    signal?.throwIfAborted()
  }

  /**
   * Runs a call: checked first, given up with the signal's reason when it aborts (the work itself
   * goes on: whether its write lands is unknown to the caller), and waited for by `close`.
   *
   * @throws as `check`, and what the work throws before it returns anything.
   */
  run<T>(signal: AbortSignal | undefined, work: () => T | Promise<T>): Promise<T> {
    this.check(signal)
    const running = this.#count(work)
    if (signal === undefined) return running
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    return Promise.race([running, aborted]).finally(() => {
      signal.removeEventListener('abort', abort)
    })
  }

  // Without an async function, which every call would pay for.
  #count<T>(work: () => T | Promise<T>): Promise<T> {
    this.#running += 1
    try {
      const reply = work()
      if (reply instanceof Promise) return reply.then(this.#answered, this.#failed) as Promise<T>
      this.#ended()
      return Promise.resolve(reply)
    } catch (error) {
      this.#ended()
      throw error
    }
  }

  readonly #answered = <T>(reply: T): T => {
    this.#ended()
    return reply
  }

  readonly #failed = (error: unknown): never => {
    this.#ended()
    throw error
  }

  #ended(): void {
    this.#running -= 1
    if (this.#running === 0) this.#idle?.()
  }

  /** Refuses new calls, waits for the running ones, then calls `release`, once. */
  close(release: () => void | Promise<void>): Promise<void> {
    this.#closed ??= (async () => {
      this.#closing.abort()
      if (this.#running > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
      await release()
    })()
    return this.#closed
  }
}

/**
 * Resolves after `ms` milliseconds, within a call that somebody waits for: unlike `pause` it keeps the
 * process alive, which would else end in the middle of that call where nothing else does, such as an
 * open connection.
 */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/**
 * Resolves after `ms` milliseconds or when a signal aborts, whichever is first; the timer never
 * keeps a process alive.
 */
export function pause(ms: number, ...signals: readonly (AbortSignal | undefined)[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = (): void => resolve()
  // A longer delay would overflow Node's timers and fire at once.
  const timer = setTimeout(done, Math.min(ms, 2 ** 31 - 1))
  timer.unref()
  for (const signal of signals) {
    if (signal?.aborted === true) done()
    signal?.addEventListener('abort', done)
  }
  return promise.finally(() => {
    clearTimeout(timer)
    for (const signal of signals) signal?.removeEventListener('abort', done)
  })
}
