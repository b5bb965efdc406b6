import { pause } from '@sayiir/persistence-core/adapter'
import postgres from 'postgres'
import type { Client, PostgresClient } from './client.ts'

/** Milliseconds that a notification may take on its way, when it is tested that there are any. */
const TEST_MS = 1000
/** Milliseconds until it is tried again, where notifications do not come: it may be a pooler. */
const RETRY_MS = 30_000
/** Milliseconds between two tries to connect. */
const RECONNECT_MS = 200

/**
 * A connection of its own that is told of work. It is tested: behind a pooler in transaction mode
 * everything seems to be well, and no notification ever comes. It is made anew when it is lost.
 */
export class Listener {
  readonly #client: Client
  readonly #channel: string
  readonly #onWork: (payload: string) => void
  /** Undefined until it was tried. */
  #listens: boolean | undefined
  #connection: PostgresClient | null = null
  #tests = new Map<string, () => void>()
  #trying: Promise<void> | null = null
  #triesAgainAt = 0
  #closed = false

  /** @param onWork Is given what was notified; an empty text where that is not known. */
  constructor(client: Client, channel: string, onWork: (payload: string) => void) {
    this.#client = client
    this.#channel = channel
    this.#onWork = onWork
  }

  /** Whether notifications come; undefined until that was tried. */
  get isListening(): boolean | undefined {
    return this.#listens
  }

  /** Whether notifications come; tries to make it so. */
  async listens(): Promise<boolean> {
    if (this.#listens === true || this.#closed) return !this.#closed
    if (performance.now() >= this.#triesAgainAt) {
      this.#trying ??= this.#try().finally(() => {
        this.#trying = null
      })
    }
    // The first time it is waited for; later on whoever waits polls meanwhile.
    if (this.#listens === undefined) await this.#trying
    return this.isListening === true
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#listens = false
    await this.#trying
    await this.#connection?.end({ timeout: 0 })
  }

  async #try(): Promise<void> {
    const connection = this.#open()
    const id = crypto.randomUUID()
    const arrived = new AbortController()
    this.#tests.set(id, () => arrived.abort())
    try {
      await connection.unsafe(`LISTEN "${this.#channel}"`)
      await this.#client.query('SELECT pg_notify($1::text, $2::text)', [this.#channel, id])
      await pause(TEST_MS, arrived.signal)
    } catch {
      // It is not there, or not now.
    }
    this.#tests.delete(id)
    if (arrived.signal.aborted && this.#connection === connection && !this.#closed) {
      this.#listens = true
      return
    }
    this.#lost(connection, arrived.signal.aborted ? RECONNECT_MS : RETRY_MS)
  }

  #open(): PostgresClient {
    const connection = postgres({
      ...this.#client.options,
      max: 1,
      shared: { retries: 0, typeArrayMap: {} },
      parameters: {},
      idle_timeout: null,
      max_lifetime: null,
      fetch_types: false,
      no_subscribe: true,
      onnotice: () => {},
      onnotify: (_: string, payload: string) => this.#notified(payload),
      onclose: () => this.#lost(connection, RECONNECT_MS),
    } as object) as unknown as PostgresClient
    this.#connection = connection
    return connection
  }

  #notified(payload: string): void {
    const passed = this.#tests.get(payload)
    if (passed === undefined) this.#onWork(payload)
    else passed()
  }

  #lost(connection: PostgresClient, retryMs: number): void {
    if (this.#connection !== connection) return
    this.#connection = null
    this.#listens = false
    this.#triesAgainAt = performance.now() + retryMs
    connection.end({ timeout: 0 }).catch(() => undefined)
    // Whoever waits looks for itself from now on.
    this.#onWork('')
  }
}
