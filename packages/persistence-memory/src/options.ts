import type { BackendOptions } from '@sayiir/persistence-core'
import { checkBackendOptions, checkObject, checkTime } from '@sayiir/persistence-core/adapter'

/** Options of an `InMemoryBackend`. */
export interface InMemoryBackendOptions extends BackendOptions {
  /**
   * The store's clock: epoch milliseconds; by default `Date.now`. Every expiry, delay and retry is
   * judged by it. A test moves it at will and then calls `clockMoved()`.
   */
  readonly now?: () => number
}

/** Options with their defaults. */
export interface CheckedOptions {
  readonly agingIntervalMs: number
  readonly maxPayloadBytes: number
  now(): number
}

/** Throws `TypeError`/`RangeError` for a wrong option. */
export function checkOptions(options: InMemoryBackendOptions | undefined): CheckedOptions {
  const { now, ...common } = checkObject(options ?? {}, 'options')
  if (now !== undefined && typeof now !== 'function') {
    throw new TypeError('now must be a function that returns epoch milliseconds')
  }
  return {
    ...checkBackendOptions(common),
    // Read anew each time, so that a faked `Date` is seen; a clock may have fractions.
    now: () => checkTime(Math.floor(now === undefined ? Date.now() : now()), 'now()'),
  }
}
