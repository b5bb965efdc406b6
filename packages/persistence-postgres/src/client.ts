import { setTimeout as sleep } from 'node:timers/promises'
import { BackendError } from '@sayiir/persistence-core'
import { isRefusedForOthers, toBackendError } from './errors.ts'
import type { Lanes } from './pool.ts'

/**
 * A row: the text of each column, which comes as bytes from a client of the caller's; other values
 * where it came as JSON.
 */
export type Row = readonly (string | number | boolean | Buffer | readonly unknown[] | null)[]

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
  readonly #lanes: Lanes
  readonly #callTimeoutMs: number
  readonly #statements = new Map<string, string>()

  constructor(lanes: Lanes, options: ClientOptions) {
    this.#lanes = lanes
    this.schema = `"${options.schema}"`
    this.#callTimeoutMs = options.callTimeoutMs
  }

  /** The options that its connections are made with. */
  get options(): object {
    return this.#lanes.options
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
      await this.#inTime('', (client) => client.unsafe(statements))
    } catch (error) {
      throw toBackendError(error)
    }
  }

  /** Closes a client that the backend made. */
  end(): Promise<void> {
    return this.#lanes.end()
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
    const rows = await this.#inTime(sql, (client) => {
      const query = client.unsafe(sql, [...parameters], { prepare: true })
      // A caller's client may have types and transforms of its own, which bytes do not go through.
      return this.#lanes.isOwn ? query.values() : query.raw()
    })
    return Array.isArray(rows) ? rows : [...rows]
  }

  #inTime<T>(sql: string, work: (client: PostgresClient) => PromiseLike<T>): Promise<T> {
    const lanes = this.#lanes
    const lane = lanes.take(sql)
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const timer = setTimeout(() => {
      lanes.giveUp(lane)
      const message = `the database did not answer within ${this.#callTimeoutMs} ms`
      reject(new BackendError('UNAVAILABLE', message))
    }, this.#callTimeoutMs)
    timer.unref()
    const ended = (isLostNow: boolean): void => {
      clearTimeout(timer)
      lanes.free(lane, isLostNow)
    }
    work(lane.client).then(
      (result) => {
        ended(false)
        resolve(result)
      },
      (error) => {
        ended(isLost(error))
        reject(error)
      },
    )
    return promise
  }
}

/** Whether the connection may be what failed, rather than the statement. */
function isLost(error: unknown): boolean {
  return BackendError.is(toBackendError(error), 'UNAVAILABLE') && !isRefusedForOthers(error)
}
