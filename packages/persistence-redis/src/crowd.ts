import type { TaskWakeup, WorkerFilter } from '@sayiir/persistence-core'
import type { Shard } from './layout.ts'

/** Somebody who waits. */
export class Waiter {
  readonly #ended = Promise.withResolvers<TaskWakeup | null>()

  constructor() {
    // Whoever waits may have gone another way by then.
    this.#ended.promise.catch(() => undefined)
  }

  /** What ended the wait: a hint, or nothing. */
  get ended(): Promise<TaskWakeup | null> {
    return this.#ended.promise
  }

  wake(wakeup: TaskWakeup | null): void {
    this.#ended.resolve(wakeup)
  }

  fail(error: unknown): void {
    this.#ended.reject(error)
  }
}

/**
 * Those in this process who wait for the same work, in the order in which they came. One look is
 * for all of them, and what it finds sends one of them. Only while looks go on finding something do
 * more go at a time, twice as many each time: so a task does not bring all of them to the server,
 * and a flood of tasks does within a few looks.
 */
export class Crowd {
  readonly filter: WorkerFilter
  /** Of the last look for all, if it failed. */
  failure: unknown = null
  readonly #look: (crowd: Crowd, shards: readonly Shard[]) => void
  readonly #waiters = new Set<Waiter>()
  /** When to look at a shard again, by `performance.now()`. */
  readonly #dueAt = new Map<Shard, number>()
  #timer: NodeJS.Timeout | undefined
  #timerAt: number = Number.POSITIVE_INFINITY
  #going = 1

  /** @param look Called when there are shards to look at. */
  constructor(filter: WorkerFilter, look: (crowd: Crowd, shards: readonly Shard[]) => void) {
    this.filter = filter
    this.#look = look
  }

  get isEmpty(): boolean {
    return this.#waiters.size === 0
  }

  add(waiter: Waiter): void {
    this.#waiters.add(waiter)
  }

  delete(waiter: Waiter): void {
    this.#waiters.delete(waiter)
    if (this.isEmpty) this.#disarm()
  }

  /** Sends those who came first; whether anybody was there. */
  send(wakeup: TaskWakeup | null, count: number): boolean {
    let left = count
    for (const waiter of this.#waiters) {
      if (left === 0) break
      this.#waiters.delete(waiter)
      waiter.wake(wakeup)
      left -= 1
    }
    return left < count
  }

  fail(error: unknown): void {
    for (const waiter of this.#waiters) waiter.fail(error)
  }

  /** A look found something for one more than those who were sent before. */
  found(wakeup: TaskWakeup): void {
    this.send(wakeup, this.#going)
    this.#going = Math.min(this.#going * 2, 1024)
  }

  foundNothing(): void {
    this.#going = 1
  }

  /** Looks at a shard in so many milliseconds at the latest. */
  lookIn(shard: Shard, ms: number): void {
    const at = performance.now() + ms
    if (at < (this.#dueAt.get(shard) ?? Number.POSITIVE_INFINITY)) {
      this.#dueAt.set(shard, at)
      if (at < this.#timerAt) this.#arm(at)
    }
  }

  /** The next look at these shards is that far off, unless there is a reason for an earlier one. */
  put(shards: readonly Shard[], ms: number): void {
    const at = performance.now() + ms
    for (const shard of shards) this.#dueAt.set(shard, at)
    this.#arm(Math.min(...this.#dueAt.values()))
  }

  #arm(at: number): void {
    this.#disarm()
    this.#timerAt = at
    const ms = Math.min(Math.max(at - performance.now(), 0), 2 ** 31 - 1)
    this.#timer = setTimeout(() => this.#ring(), ms)
    // Waiting is no reason for a process to go on.
    this.#timer.unref()
  }

  #disarm(): void {
    clearTimeout(this.#timer)
    this.#timerAt = Number.POSITIVE_INFINITY
  }

  #ring(): void {
    this.#timerAt = Number.POSITIVE_INFINITY
    if (this.isEmpty) return
    // Timers may ring a millisecond early.
    const now = performance.now() + 1
    const due = [...this.#dueAt].filter(([, at]) => at <= now).map(([shard]) => shard)
    if (due.length > 0) this.#look(this, due)
    else this.#arm(Math.min(...this.#dueAt.values()))
  }
}
