import type { TaskWakeup, WaitForWakeupParams } from '@sayiir/persistence-core'
import { CallQueue, type OptimisticStore } from '@sayiir/persistence-core/adapter'
import type { Client } from './client.ts'
import { filterText } from './filter.ts'
import { Listener } from './listener.ts'
import { texts } from './literals.ts'
import type { CheckedOptions } from './options.ts'
import { json, number, text } from './records.ts'
import { channelOf } from './schema.ts'

/** Milliseconds after which one who is told of work looks all the same. */
const BACKSTOP_MS = 1000
/** Milliseconds after which a second look finds what was written, unseen, during the first. */
const SECOND_LOOK_MS = 15
/** A longer one would overflow. */
const MAX_TIMER_MS: number = 2 ** 31 - 1
/** Milliseconds that a backend is notified for, unless it says again that it waits. */
const ARMED_MS = 60_000

const LOOK = `SELECT now_ms, array_to_json(due)::text, next_at, instance_id, task_id, definition_hash
  FROM {s}.look($1::text::uuid, $2::text::text[], $3::text::bigint, $4::text, $5::text::bigint)`

interface LookCall {
  readonly filter: string
  /** Whether to be notified from now on. */
  readonly arms: boolean
}

interface Look {
  readonly wakeup: TaskWakeup | null
  readonly due: readonly string[]
  readonly dueInMs: number
}

/** What those wait for who look for work: not an `AbortSignal`, whose abort alone takes as long as a claim. */
class News {
  readonly #waiting = new Set<() => void>()
  #isTold = false
  /** What there is to do for whoever waits; null: look. */
  wakeup: TaskWakeup | null = null

  get isTold(): boolean {
    return this.#isTold
  }

  tell(wakeup: TaskWakeup | null): void {
    this.#isTold = true
    this.wakeup = wakeup
    for (const go of this.#waiting) go()
  }

  /** Resolves when there is news, after a while, or when a signal aborts. */
  wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const go = (): void => {
      clearTimeout(timer)
      this.#waiting.delete(go)
      signal?.removeEventListener('abort', go)
      resolve()
    }
    const timer = setTimeout(go, Math.min(ms, MAX_TIMER_MS)).unref()
    this.#waiting.add(go)
    signal?.addEventListener('abort', go)
    if (this.#isTold || signal?.aborted === true) go()
    return promise
  }
}

/**
 * Waits for work. Who waits makes that known in a table, and is notified once by the next write that
 * has something for it, so that writes notify only while somebody waits, and not each of them.
 */
export class Wakeups {
  readonly #client: Client
  readonly #options: CheckedOptions
  readonly #id: string = crypto.randomUUID()
  readonly #listener: Listener | null
  readonly #looks: CallQueue<LookCall, Look>
  /** How many wait with a filter. */
  readonly #waits = new Map<string, number>()
  /** What this backend is notified of, if it is for one filter. */
  #armedFor: string | null = null
  #wasArmed = false
  /** When to say again that it waits, by the monotonic clock. */
  #armedUntil = 0
  #news = new News()
  #knowsOfClosing = false

  constructor(client: Client, options: CheckedOptions) {
    this.#client = client
    this.#options = options
    this.#listener =
      options.wakeups === 'poll'
        ? null
        : new Listener(client, channelOf(options.schema), (payload) => this.#told(payload))
    this.#looks = new CallQueue({
      maxCalls: 1000,
      maxBytes: Infinity,
      maxInFlight: 1,
      sizeOf: () => 1,
      send: (calls) => this.#look(calls),
    })
  }

  /** Whether it is known that nobody tells of work. */
  get polls(): boolean {
    return this.#listener === null || this.#listener.isListening === false
  }

  /** Work was made available by this process. */
  noteWork(): void {
    if (this.polls && this.#waits.size > 0) this.#wake(null)
  }

  /** See `OptimisticStore.waitForWakeup`. */
  async wait(
    { timeoutMs, ...filter }: WaitForWakeupParams,
    ...context: Context
  ): Promise<TaskWakeup | null> {
    const wanted = filterText(filter)
    this.#waits.set(wanted, (this.#waits.get(wanted) ?? 0) + 1)
    try {
      return await this.#wait(wanted, timeoutMs, ...context)
    } finally {
      const others = (this.#waits.get(wanted) ?? 0) - 1
      if (others > 0) this.#waits.set(wanted, others)
      else this.#waits.delete(wanted)
    }
  }

  async #wait(
    wanted: string,
    timeoutMs: number,
    ...[signal, closing, takeCare]: Context
  ): Promise<TaskWakeup | null> {
    if (!this.#knowsOfClosing) {
      this.#knowsOfClosing = true
      closing.addEventListener('abort', () => this.#wake(null), { once: true })
    }
    const end = performance.now() + timeoutMs
    let news: News | null = null
    for (;;) {
      signal?.throwIfAborted()
      if (closing.aborted) return null
      const isFirstLook = news === null || news.isTold
      // Taken before the look: what is told during it is not missed.
      news = this.#news
      const isTold = (await this.#listener?.listens()) ?? false
      // It is armed until it is told, or for a while.
      const isArmed = !isFirstLook && performance.now() < this.#armedUntil
      const look = await this.#looks.call({ filter: wanted, arms: isTold && !isArmed })
      const isWorthIt = await takeCare(look.due)
      signal?.throwIfAborted()
      if (look.wakeup !== null) return look.wakeup
      const left = end - performance.now()
      if (left <= 0 || closing.aborted) return null
      const unheard = isTold ? BACKSTOP_MS : this.#options.pollIntervalMs
      const interval = isWorthIt ? 1 : isFirstLook ? SECOND_LOOK_MS : unheard
      await news.wait(Math.min(left, interval, look.dueInMs), signal)
      // What it is notified of is for it: then it need not look, and can go and take it.
      if (news.wakeup !== null && this.#armedFor === wanted && !closing.aborted) return news.wakeup
    }
  }

  async close(): Promise<void> {
    await this.#listener?.close()
    if (!this.#wasArmed) return
    // It is not for long that others would notify in vain.
    await this.#client.query('SELECT {s}.disarm($1::text::uuid)', [this.#id]).catch(() => undefined)
  }

  /** Notified: the ids of backends, and in a second line what they may take, or nothing. */
  #told(payload: string): void {
    const [ids = '', wakeup = ''] = payload.split('\n')
    if (ids !== '' && !ids.includes(this.#id)) return
    // That took the arming, or it may have been taken meanwhile.
    this.#armedUntil = 0
    this.#wake(wakeup === '' ? null : (JSON.parse(wakeup) as TaskWakeup))
  }

  #wake(wakeup: TaskWakeup | null): void {
    const news = this.#news
    this.#news = new News()
    news.tell(wakeup)
  }

  /** A statement for each filter; the first makes known for all of this backend that it waits. */
  async #look(calls: readonly LookCall[]): Promise<Look[]> {
    const looks = new Map<string, Look>()
    let arms = calls.some((call) => call.arms)
    for (const { filter } of calls) {
      if (looks.has(filter)) continue
      looks.set(filter, await this.#lookFor(filter, arms ? [...this.#waits.keys()] : []))
      arms = false
    }
    return calls.map(({ filter }) => looks.get(filter) as Look)
  }

  async #lookFor(filter: string, armed: readonly string[]): Promise<Look> {
    if (armed.length > 0) {
      this.#wasArmed = true
      this.#armedUntil = performance.now() + ARMED_MS / 2
      this.#armedFor = armed.length === 1 ? filter : null
    }
    const [row = []] = await this.#client.query(LOOK, [
      ...[this.#id, texts(armed), String(ARMED_MS)],
      ...[filter, String(this.#options.agingIntervalMs)],
    ])
    return {
      wakeup:
        row[3] === null
          ? null
          : { instanceId: text(row, 3), taskId: text(row, 4), definitionHash: text(row, 5) },
      due: json<string[]>(row, 1) ?? [],
      dueInMs: row[2] === null ? Infinity : Math.max(number(row, 2) - number(row, 0), 1),
    }
  }
}

/** What a wait ends with, beside work and its time. */
type Context =
  Parameters<OptimisticStore['waitForWakeup']> extends [unknown, ...infer Rest] ? Rest : never
