import { isBusy } from './errors.ts'

/** Looks at once, a turn of the event loop apart, before the first real pause: locks are mostly short. */
const EAGER_TRIES = 16

/**
 * Repeats `attempt` while another connection holds the lock that it wants, without ever blocking
 * the event loop, until `timeoutMs` have passed; then the driver's error is thrown.
 */
export async function whileBusy<T>(timeoutMs: number, attempt: () => T): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (let tries = 0; ; tries += 1) {
    try {
      return attempt()
    } catch (error) {
      const left = deadline - performance.now()
      if (!isBusy(error) || left <= 0) throw error
      if (tries < EAGER_TRIES) await new Promise((resolve) => setImmediate(resolve))
      else await sleep(Math.min(left, 1 + Math.random() * Math.min(tries - EAGER_TRIES, 9)))
    }
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
