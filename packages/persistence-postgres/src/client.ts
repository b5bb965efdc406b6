import { setTimeout as sleep } from 'node:timers/promises'
import { BackendError } from '@sayiir/persistence-core'
import { isRefusedForOthers, toBackendError } from './errors.ts'

/** A row: the text of each column, which comes as bytes from a client of the caller's; numbers where it came as JSON. */
export type Row = readonly (string | number | Buffer | null)[]

/** What is used of a client of `postgres`. */
export interface PostgresClient {
  unsafe(
    statement: string,
    parameters?: string[],
    options?: { prepare?: boolean },
  ): PromiseLike<unknown> & {
    raw(): PromiseLike<Iterable<Row>>
    values(): PromiseLike<Iterable<Row>>
  }
  readonly options: object
  end(options?: { timeout?: number }): Promise<void>
}

/** How calls are made. */
export interface ClientOptions {
  readonly schema: string
  readonly callTimeoutMs: number
}

/** Tries of a statement that others' writes made fail. */
const MAX_TRIES = 10

/** The client, with a bound on how long a call takes, and errors as ours. */
export class Client {
  readonly schema: string
  /** Another one where the backend made it itself and gave it up. */
  #client: PostgresClient
  readonly #reopen: (() => PostgresClient) | null
  readonly #callTimeoutMs: number
  readonly #statements = new Map<string, string>()

  /** @param reopen Makes another client; null where it is the caller's own. */
  constructor(
    client: PostgresClient,
    options: ClientOptions,
    reopen: (() => PostgresClient) | null,
  ) {
    this.#client = client
    this.#reopen = reopen
    this.schema = `"${options.schema}"`
    this.#callTimeoutMs = options.callTimeoutMs
  }

  /** The options that its connections are made with. */
  get options(): object {
    return this.#client.options
  }

  /**
   * Runs a statement, in which `{s}` is the schema. A lone one, so a transaction of its own.
   *
   * @param again Other parameters, where others' writes made it fail.
   */
  async query(
    statement: string,
    parameters: readonly string[] = [],
    again: () => readonly string[] = () => parameters,
  ): Promise<readonly Row[]> {
    const sql = this.#sqlOf(statement)
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#run(sql, tries === 1 ? parameters : again())
      } catch (error) {
        if (!isRefusedForOthers(error) || tries === MAX_TRIES) throw toBackendError(error)
        await sleep(Math.random() * 2 ** tries, undefined, { ref: false })
      }
    }
  }

  /** As `query`, once: null where others' writes made it fail. */
  async tryQuery(statement: string, parameters: readonly string[]): Promise<readonly Row[] | null> {
    try {
      return await this.#run(this.#sqlOf(statement), parameters)
    } catch (error) {
      if (isRefusedForOthers(error)) return null
      throw toBackendError(error)
    }
  }

  /** Runs statements without parameters, in one transaction. */
  async script(statements: string): Promise<void> {
    try {
      await this.#inTime((client) => client.unsafe(statements))
    } catch (error) {
      throw toBackendError(error)
    }
  }

  /** Closes a client that the backend made. */
  async end(): Promise<void> {
    if (this.#reopen !== null) await this.#client.end({ timeout: 5 })
  }

  #sqlOf(statement: string): string {
    let sql = this.#statements.get(statement)
    if (sql === undefined) {
      sql = statement.replaceAll('{s}', this.schema)
      this.#statements.set(statement, sql)
    }
    return sql
  }

  async #run(sql: string, parameters: readonly string[]): Promise<readonly Row[]> {
    const rows = await this.#inTime((client) => {
      const query = client.unsafe(sql, [...parameters], { prepare: true })
      // A caller's client may have types and transforms of its own, which bytes do not go through.
      return this.#reopen === null ? query.raw() : query.values()
    })
    return Array.isArray(rows) ? rows : [...rows]
  }

  async #inTime<T>(work: (client: PostgresClient) => PromiseLike<T>): Promise<T> {
    const client = this.#client
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      this.#giveUp(client)
      const message = `the database did not answer within ${this.#callTimeoutMs} ms`
      reject(new BackendError('UNAVAILABLE', message))
    }, this.#callTimeoutMs)
    timer.unref()
    try {
      return await Promise.race([work(client), late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** A connection that gives no answer may be dead and never tell: all of them are made anew. */
  #giveUp(client: PostgresClient): void {
    if (this.#reopen === null || this.#client !== client) return
    this.#client = this.#reopen()
    client.end({ timeout: 0 }).catch(() => undefined)
  }
}
