import type { BackendOptions } from './backend.ts'
import { BaseCalls } from './base-calls.ts'
import { checkBackendOptions, checkTtl } from './check.ts'
import { CheckedBackend } from './checked-backend.ts'
import type { CheckedCalls } from './checked-calls.ts'
import type { InstanceStore } from './instance-store.ts'

/** What a {@link BaseBackend} is told at its making. */
export interface BaseBackendOptions extends BackendOptions {
  /** Milliseconds between two looks of `waitForWakeup`, by default 100. */
  readonly pollIntervalMs?: number
}

/**
 * A whole backend from seven primitives: right for any store that has a compare-and-set, in an
 * afternoon. It keeps each instance as one value and looks at all of them to find work, so it does
 * not keep the promises about cost (rules S6 and D8), nor those of one round trip; override what
 * your store can do at once. See docs/adapter-guide.md.
 */
export abstract class BaseBackend extends CheckedBackend {
  readonly #agingIntervalMs: number
  readonly #pollIntervalMs: number
  #made: CheckedCalls | null = null

  constructor(options: BaseBackendOptions = {}) {
    const { agingIntervalMs, maxPayloadBytes } = checkBackendOptions(options)
    super(maxPayloadBytes)
    this.#agingIntervalMs = agingIntervalMs
    this.#pollIntervalMs = checkTtl(options.pollIntervalMs ?? 100, 'pollIntervalMs')
  }

  /** The store's seven primitives. */
  protected abstract readonly store: InstanceStore

  // Made late: `store` is a field of the class that extends this one.
  protected get calls(): CheckedCalls {
    this.#made ??= new BaseCalls(this.store, {
      lifecycle: this.lifecycle,
      agingIntervalMs: this.#agingIntervalMs,
      pollIntervalMs: this.#pollIntervalMs,
    })
    return this.#made
  }
}
