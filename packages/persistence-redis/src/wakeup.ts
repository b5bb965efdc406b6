import {
  BackendError,
  type TaskWakeup,
  type WaitForWakeupParams,
  type WorkerFilter,
} from '@sayiir/persistence-core'
import { isServed } from '@sayiir/persistence-core/adapter'
import type { StoreContext } from './context.ts'
import { Crowd, Waiter } from './crowd.ts'
import type { Shard } from './layout.ts'
import { look } from './look.ts'
import { type News, Subscriber } from './subscriber.ts'

/** Processes that go for a task as soon as they are told of it, about. */
const FEW = 3
/** Milliseconds between the looks of those that hold back, about. */
const SPREAD_MS = 5
/** Milliseconds until the first of them: by then those who went have claimed. */
const HOLD_BACK_MS = 5

type TakeCare = (due: readonly string[]) => Promise<boolean>

/**
 * Waits for work: looks once, then listens. A task that is told of sends one who waits here, in few
 * processes. The others look a little later, once for all who wait for the same in a process, and
 * one process after the other: so many looks a second come of it as there are, however many wait.
 */
export class Wakeups {
  readonly #context: StoreContext
  readonly #subscriber: Subscriber
  readonly #crowds = new Map<string, Crowd>()
  /** Looks that are not sent yet. */
  readonly #looks = new Map<Crowd, Promise<TaskWakeup | null>>()
  #closing: AbortSignal | null = null
  #takeCare: TakeCare = async () => false

  constructor(context: StoreContext) {
    this.#context = context
    this.#subscriber = new Subscriber(context, {
      heard: (shard, news) => this.#hear(shard, news),
      // What came between the first look and now was not heard.
      listening: (shard) => {
        for (const crowd of this.#crowds.values()) crowd.lookIn(shard, 0)
      },
    })
  }

  async wait(
    { timeoutMs, ...filter }: WaitForWakeupParams,
    signal: AbortSignal | undefined,
    closing: AbortSignal,
    takeCare: TakeCare,
  ): Promise<TaskWakeup | null> {
    if (closing.aborted) return null
    this.#prepare(closing, takeCare)
    const key = JSON.stringify([filter.tags, filter.definitionHashes])
    const crowd = this.#crowdOf(key, filter)
    const waiter = new Waiter()
    const end = (): void => waiter.wake(null)
    const timer = setTimeout(end, Math.min(timeoutMs, 2 ** 31 - 1))
    timer.unref()
    signal?.addEventListener('abort', end)
    // From before the look on, so that nothing that becomes available meanwhile is missed.
    crowd.add(waiter)
    try {
      if (timeoutMs > 0) this.#subscriber.listen()
      const task = await this.#lookFirst(crowd)
      crowd.failure = null
      if (task !== null) return task
      const hint = await waiter.ended
      signal?.throwIfAborted()
      if (hint === null && crowd.failure !== null && !closing.aborted) throw crowd.failure
      return hint
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      crowd.delete(waiter)
      if (crowd.isEmpty && this.#crowds.get(key) === crowd) this.#crowds.delete(key)
    }
  }

  stop(): void {
    this.#subscriber.stop()
  }

  #prepare(closing: AbortSignal, takeCare: TakeCare): void {
    this.#takeCare = takeCare
    if (this.#closing !== null) return
    this.#closing = closing
    closing.addEventListener('abort', () => {
      for (const crowd of this.#crowds.values()) crowd.send(null, Number.POSITIVE_INFINITY)
    })
  }

  #crowdOf(key: string, filter: WorkerFilter): Crowd {
    const known = this.#crowds.get(key)
    if (known !== undefined) return known
    const crowd = new Crowd(filter, (who, shards) => void this.#lookAgain(who, shards))
    this.#crowds.set(key, crowd)
    return crowd
  }

  /** For somebody who just came: those who come at the same time look once. */
  #lookFirst(crowd: Crowd): Promise<TaskWakeup | null> {
    const known = this.#looks.get(crowd)
    if (known !== undefined) return known
    const looking = (async () => {
      // Whoever comes after this has been sent needs a look of their own.
      await new Promise<void>((resolve) => setImmediate(resolve))
      this.#looks.delete(crowd)
      return this.#lookAt(crowd, this.#context.layout.shards)
    })()
    this.#looks.set(crowd, looking)
    return looking
  }

  /** For all who wait already. A wait outlasts a server that is away for a while. */
  async #lookAgain(crowd: Crowd, shards: readonly Shard[]): Promise<void> {
    try {
      this.#subscriber.listen()
      const task = await this.#lookAt(crowd, shards)
      crowd.failure = null
      if (task === null) {
        crowd.foundNothing()
      } else {
        crowd.found(task)
        for (const shard of shards) crowd.lookIn(shard, HOLD_BACK_MS)
      }
    } catch (error) {
      if (BackendError.is(error, 'UNAVAILABLE')) crowd.failure = error
      else crowd.fail(error)
    }
  }

  /** The best task of some shards, or null. */
  async #lookAt(crowd: Crowd, shards: readonly Shard[]): Promise<TaskWakeup | null> {
    // Before the look: it may be told of an earlier time meanwhile.
    crowd.put(shards, this.#context.options.pollIntervalMs)
    const first = await this.#lookOnce(crowd, shards)
    if (first.due.length === 0) return first.task
    const isWorthIt = await this.#takeCare(first.due)
    if (first.task !== null || !isWorthIt) return first.task
    return (await this.#lookOnce(crowd, shards)).task
  }

  async #lookOnce(
    crowd: Crowd,
    shards: readonly Shard[],
  ): Promise<{ readonly task: TaskWakeup | null; readonly due: readonly string[] }> {
    const { clock } = this.#context
    const looks = await Promise.all(
      shards.map((shard) => look(this.#context, shard, crowd.filter, null)),
    )
    for (const [index, { nextAt }] of looks.entries()) {
      const shard = shards[index]
      if (nextAt === null || shard === undefined) continue
      crowd.lookIn(shard, Math.max(clock.msUntil(nextAt), 0) + 1)
    }
    return {
      task: looks.find(({ task }) => task !== null)?.task ?? null,
      due: looks.flatMap(({ due }) => due),
    }
  }

  /** Sends one for each task that is available, and has the others look later. */
  #hear(shard: Shard, { now, tasks, listeners }: News): void {
    const holdBackMs = HOLD_BACK_MS + Math.random() * listeners * SPREAD_MS
    for (const { since, wakeup, tags } of tasks) {
      let goes = Math.random() * listeners < FEW
      for (const crowd of this.#crowds.values()) {
        if (!isServed(crowd.filter, wakeup.definitionHash, tags)) continue
        if (since > now) {
          crowd.lookIn(shard, since - now + 1)
          continue
        }
        if (goes && crowd.send(wakeup, 1)) goes = false
        if (!crowd.isEmpty) crowd.lookIn(shard, holdBackMs)
      }
    }
  }
}
