import {
  BackendError,
  type TaskWakeup,
  type WaitForWakeupParams,
  type WorkerFilter,
} from '@sayiir/persistence-core'
import { isServed, pause } from '@sayiir/persistence-core/adapter'
import type { StoreContext } from './context.ts'
import { type Look, look } from './look.ts'
import { type News, Subscriber } from './subscriber.ts'

/** Processes that may be told of the same task before each asks itself whether it should go. */
const FEW = 3
/** Milliseconds between two of those that hold back. */
const SPREAD_MS = 2
/** Milliseconds that those who hold back wait at least: by then the first has claimed. */
const HOLD_BACK_MS = 5

/** Somebody who waits. */
interface Waiter {
  readonly filter: WorkerFilter
  /** Ends the wait, or has it look once more. */
  wake(wakeup: TaskWakeup | null): void
  /** Looks again after so many milliseconds at the latest. */
  lookIn(ms: number): void
}

/**
 * Waits for work: looks once, then listens. Of several that wait for the same task few are woken at
 * once; the others look a little later, one after the other, so that a task does not bring all of
 * them to the server.
 */
export class Wakeups {
  readonly #context: StoreContext
  readonly #subscriber: Subscriber
  readonly #waiters = new Set<Waiter>()
  readonly #looks = new Map<string, Promise<Look>>()

  constructor(context: StoreContext) {
    this.#context = context
    this.#subscriber = new Subscriber(context, (news) => this.#hear(news))
  }

  async wait(
    { timeoutMs, ...filter }: WaitForWakeupParams,
    signal: AbortSignal | undefined,
    closing: AbortSignal,
    takeCare: (due: readonly string[]) => Promise<void>,
  ): Promise<TaskWakeup | null> {
    const { pollIntervalMs } = this.#context.options
    const deadline = performance.now() + timeoutMs
    let isFirst = true
    let failure: unknown = null
    for (;;) {
      signal?.throwIfAborted()
      if (closing.aborted) return null
      const wakened = new AbortController()
      let hint: TaskWakeup | null = null
      let waitMs = Number.POSITIVE_INFINITY
      let timer: NodeJS.Timeout | undefined
      const waiter: Waiter = {
        filter,
        wake: (wakeup) => {
          hint = wakeup
          wakened.abort()
        },
        lookIn: (ms) => {
          if (ms >= waitMs) return
          waitMs = ms
          clearTimeout(timer)
          timer = setTimeout(() => wakened.abort(), Math.min(ms, 2 ** 31 - 1))
          timer.unref()
        },
      }
      // From before the look on, so that nothing that becomes available meanwhile is missed.
      this.#waiters.add(waiter)
      try {
        if (timeoutMs > 0) this.#subscriber.listen()
        const { task, nextAt, due } = await this.#look(filter)
        failure = null
        if (due.length > 0) await takeCare(due)
        if (task !== null) return task
        if (due.length > 0) {
          const again = await this.#look(filter)
          if (again.task !== null) return again.task
        }
        if (nextAt !== null) waiter.lookIn(Math.max(this.#context.clock.msUntil(nextAt), 0) + 1)
      } catch (error) {
        // A wait outlasts a server that is away for a while, but does not begin without one.
        if (isFirst || !BackendError.is(error, 'UNAVAILABLE')) throw error
        failure = error
      } finally {
        if (performance.now() >= deadline) this.#waiters.delete(waiter)
      }
      isFirst = false
      try {
        const left = deadline - performance.now()
        if (left <= 0) {
          if (failure !== null) throw failure
          return null
        }
        waiter.lookIn(pollIntervalMs)
        await pause(left, signal, closing, wakened.signal)
        signal?.throwIfAborted()
        if (hint !== null) return hint
      } finally {
        clearTimeout(timer)
        this.#waiters.delete(waiter)
      }
    }
  }

  stop(): void {
    this.#subscriber.stop()
  }

  /** Those who want to look for the same at the same time look once. */
  #look(filter: WorkerFilter): Promise<Look> {
    const key = JSON.stringify([filter.tags, filter.definitionHashes])
    const known = this.#looks.get(key)
    if (known !== undefined) return known
    const looking = this.#lookAtAll(filter, key)
    this.#looks.set(key, looking)
    return looking
  }

  async #lookAtAll(filter: WorkerFilter, key: string): Promise<Look> {
    // Whoever comes after this has been sent needs a look of their own.
    await new Promise<void>((resolve) => setImmediate(resolve))
    this.#looks.delete(key)
    const looks = await Promise.all(
      this.#context.layout.shards.map((shard) => look(this.#context, shard, filter, null)),
    )
    const times = looks.flatMap(({ nextAt }) => (nextAt === null ? [] : [nextAt]))
    return {
      now: Math.max(...looks.map(({ now }) => now)),
      due: looks.flatMap(({ due }) => due),
      task: looks.find(({ task }) => task !== null)?.task ?? null,
      isOwnFailure: false,
      nextAt: times.length === 0 ? null : Math.min(...times),
    }
  }

  /** Tells those who wait what they can take: one for each task at once, the others later. */
  #hear({ now, tasks, listeners }: News): void {
    const { pollIntervalMs } = this.#context.options
    const heldBack = new Set<Waiter>()
    for (const { since, wakeup, tags } of tasks) {
      const served = [...this.#waiters].filter(({ filter }) =>
        isServed(filter, wakeup.definitionHash, tags),
      )
      const inMs = since - now
      if (inMs > 0) {
        for (const waiter of served) waiter.lookIn(inMs + 1)
        continue
      }
      const goes = Math.random() * listeners < FEW
      const [first] = served.filter((waiter) => !heldBack.has(waiter))
      if (goes && first !== undefined) {
        this.#waiters.delete(first)
        first.wake(wakeup)
      }
      for (const waiter of served) if (!goes || waiter !== first) heldBack.add(waiter)
    }
    const most = Math.min(HOLD_BACK_MS + listeners * SPREAD_MS, pollIntervalMs)
    const ms = HOLD_BACK_MS + Math.random() * (most - HOLD_BACK_MS)
    for (const waiter of heldBack) waiter.lookIn(ms)
  }
}
