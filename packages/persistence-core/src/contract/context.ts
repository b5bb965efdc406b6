import { expect } from 'vitest'
import type { BackendOptions, Capabilities, PersistentBackend } from '../backend.ts'
import { BackendError, type BackendErrorCode } from '../errors.ts'
import type { ContractHarness } from './harness.ts'

/** One test of the suite. Tests are data, so that a wrong backend can be shown to fail the right one. */
export interface ContractTest {
  /** The rule that it proves, such as `C3`; the title begins with it. */
  readonly rule: string
  readonly title: string
  /** Milliseconds; by default the runner's. */
  readonly timeoutMs?: number
  run(context: ContractContext): Promise<void>
}

/** A test of a rule: its title says what holds. */
export function rule(
  id: string,
  title: string,
  run: (context: ContractContext) => Promise<void>,
  options: { readonly timeoutMs?: number } = {},
): ContractTest {
  return { rule: id, title: `${id} ${title}`, run, ...options }
}

let namespaces = 0

/** What a test works with: backends on namespaces of its own, which are closed and dropped after it. */
export class ContractContext implements AsyncDisposable {
  readonly harness: ContractHarness
  readonly #opened: PersistentBackend[] = []
  readonly #namespaces = new Set<string>()

  constructor(harness: ContractHarness) {
    this.harness = harness
  }

  get capabilities(): Capabilities {
    return this.harness.capabilities
  }

  /** A namespace that nobody has used: runs and processes do not share any. */
  namespace(): string {
    namespaces += 1
    const namespace = `t${process.pid.toString(36)}_${Date.now().toString(36)}_${namespaces.toString(36)}`
    this.#namespaces.add(namespace)
    return namespace
  }

  /** A backend on a fresh namespace. */
  open(options?: BackendOptions): Promise<PersistentBackend> {
    return this.openOn(this.namespace(), options)
  }

  /** A backend on this namespace: another object on the same data, if the backend is shared or durable. */
  async openOn(namespace: string, options?: BackendOptions): Promise<PersistentBackend> {
    this.#namespaces.add(namespace)
    const backend = await this.harness.connect(namespace, options)
    this.#opened.push(backend)
    return backend
  }

  /**
   * `count` objects on one store, as several workers have them. A backend that is not shared has
   * one object, given `count` times.
   */
  async openMany(count: number, options?: BackendOptions): Promise<PersistentBackend[]> {
    const namespace = this.namespace()
    if (!this.capabilities.shared)
      return new Array(count).fill(await this.openOn(namespace, options))
    // One after the other: racing set-ups are a test of their own (rule M4).
    const backends: PersistentBackend[] = []
    for (let index = 0; index < count; index += 1)
      backends.push(await this.openOn(namespace, options))
    return backends
  }

  /** Lets the store's clock pass `ms` milliseconds, and one more. */
  elapse(ms: number): Promise<void> {
    const { elapse } = this.harness
    if (elapse !== undefined) return elapse.call(this.harness, ms + 1)
    // Timers fire early by up to a millisecond, and the store's clock may be coarser than ours.
    return new Promise((resolve) => setTimeout(resolve, ms + 5))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#opened.map((backend) => backend.close()))
    for (const namespace of this.#namespaces) await this.harness.drop?.(namespace)
  }
}

/** The error of a call that must fail with this code. */
export async function failure(
  call: Promise<unknown>,
  code: BackendErrorCode,
): Promise<BackendError> {
  const error = await call.then(
    (value) => expect.fail(`expected ${code}, but the call resolved with ${format(value)}`),
    (reason: unknown) => reason,
  )
  if (!BackendError.is(error)) throw error
  expect(error.code, error.message).toBe(code)
  expect(error.retryable).toBe(code === 'UNAVAILABLE')
  return error
}

/** A call that must be refused for its arguments. */
export async function refused(
  call: () => Promise<unknown>,
  kind: typeof TypeError | typeof RangeError | 'either' = 'either',
): Promise<void> {
  let promise: Promise<unknown>
  try {
    promise = call()
  } catch (error) {
    expect.fail(`a method must reject, not throw: ${format(error)}`)
  }
  const error = await promise.then(
    (value) =>
      expect.fail(
        `expected a TypeError or RangeError, but the call resolved with ${format(value)}`,
      ),
    (reason: unknown) => reason,
  )
  if (kind !== 'either') expect(error).toBeInstanceOf(kind)
  else if (!(error instanceof TypeError || error instanceof RangeError)) {
    expect.fail(`expected a TypeError or RangeError, got ${format(error)}`)
  }
}

/** What each of several racing calls came to: its value, or its error's code. */
export async function settle<T>(calls: readonly Promise<T>[]): Promise<(T | string)[]> {
  return Promise.all(
    calls.map((call) =>
      call.catch((error: unknown) => {
        if (BackendError.is(error)) return error.code
        throw error
      }),
    ),
  )
}

/** Everything that an iterable yields. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** Bytes from text. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** Text from bytes. */
export function text(payload: Uint8Array | null | undefined): string | null {
  return payload == null ? null : new TextDecoder().decode(payload)
}

function format(value: unknown): string {
  return value instanceof Error
    ? `${value.name}: ${value.message}`
    : (JSON.stringify(value) ?? String(value)).slice(0, 200)
}
