import type { TaskWakeup, WaitForWakeupParams } from '@sayiir/persistence-core'
import { CallQueue, type OptimisticStore, pause } from '@sayiir/persistence-core/adapter'
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
/** Milliseconds that a backend is notified for, unless it says again that it waits. */
const ARMED_MS = 60_000

const LOOK = `SELECT now_ms, array_to_json(due)::text, next_at, instance_id, task_id, definition_hash
  FROM {s}.look($1::text, $2::text::bigint)`

interface Look {
  readonly wakeup: TaskWakeup | null
  readonly due: readonly string[]
  readonly dueInMs: number
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
  readonly #arms: CallQueue<string, undefined>
  readonly #looks: CallQueue<string, Look>
  #news = new AbortController()
  #wasArmed = false
  #waiting = 0

  constructor(client: Client, options: CheckedOptions) {
    this.#client = client
    this.#options = options
    this.#listener =
      options.wakeups === 'poll'
        ? null
        : new Listener(client, channelOf(options.schema), () => this.#wake())
    const together = { maxCalls: 1000, maxBytes: Infinity, maxInFlight: 1, sizeOf: () => 1 }
    this.#arms = new CallQueue({ ...together, send: (filters) => this.#arm(filters) })
    this.#looks = new CallQueue({ ...together, send: (filters) => this.#look(filters) })
  }

  /** Whether it is known that nobody tells of work. */
  get polls(): boolean {
    return this.#listener === null || this.#listener.isListening === false
  }

  /** Work was made available by this process. */
  noteWork(): void {
    if (this.polls && this.#waiting > 0) this.#wake()
  }

  /** See `OptimisticStore.waitForWakeup`. */
  async wait(...wanted: Parameters<OptimisticStore['waitForWakeup']>): Promise<TaskWakeup | null> {
    this.#waiting += 1
    try {
      return await this.#wait(...wanted)
    } finally {
      this.#waiting -= 1
    }
  }

  async #wait(
    { timeoutMs, ...filter }: WaitForWakeupParams,
    signal: AbortSignal | undefined,
    closing: AbortSignal,
    takeCare: (due: readonly string[]) => Promise<void>,
  ): Promise<TaskWakeup | null> {
    const end = performance.now() + timeoutMs
    const wanted = filterText(filter)
    let news: AbortSignal | null = null
    for (;;) {
      signal?.throwIfAborted()
      if (closing.aborted) return null
      const isFirstLook = news === null || news.aborted
      // Taken before the look: what is told during it is not missed.
      news = this.#news.signal
      const isTold = (await this.#listener?.listens()) ?? false
      if (isTold) await this.#arms.call(wanted)
      const look = await this.#looks.call(wanted)
      await takeCare(look.due)
      signal?.throwIfAborted()
      if (look.wakeup !== null) return look.wakeup
      const left = end - performance.now()
      if (left <= 0 || closing.aborted) return null
      const unheard = isTold ? BACKSTOP_MS : this.#options.pollIntervalMs
      const interval = look.due.length > 0 ? 1 : isFirstLook ? SECOND_LOOK_MS : unheard
      await pause(Math.min(left, interval, look.dueInMs), signal, closing, news)
    }
  }

  async close(): Promise<void> {
    await this.#listener?.close()
    if (!this.#wasArmed) return
    // It is not for long that others would notify in vain.
    await this.#client.query('SELECT {s}.disarm($1::text::uuid)', [this.#id]).catch(() => undefined)
  }

  #wake(): void {
    const news = this.#news
    this.#news = new AbortController()
    news.abort()
  }

  async #arm(filters: readonly string[]): Promise<undefined[]> {
    this.#wasArmed = true
    await this.#client.query('SELECT {s}.arm($1::text::uuid, $2::text::text[], $3::text::bigint)', [
      this.#id,
      texts([...new Set(filters)]),
      String(ARMED_MS),
    ])
    return filters.map(() => undefined)
  }

  async #look(filters: readonly string[]): Promise<Look[]> {
    const looks = new Map<string, Look>()
    for (const filter of new Set(filters)) {
      const [row = []] = await this.#client.query(LOOK, [
        ...[filter, String(this.#options.agingIntervalMs)],
      ])
      const dueInMs = row[2] === null ? Infinity : Math.max(number(row, 2) - number(row, 0), 1)
      looks.set(filter, {
        wakeup:
          row[3] === null
            ? null
            : { instanceId: text(row, 3), taskId: text(row, 4), definitionHash: text(row, 5) },
        due: json<string[]>(row, 1) ?? [],
        dueInMs,
      })
    }
    return filters.map((filter) => looks.get(filter) as Look)
  }
}
