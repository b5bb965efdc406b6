import { setTimeout as sleep } from 'node:timers/promises'
import { BackendError } from '@sayiir/persistence-core'
import { Deadlines } from './deadlines.ts'
import { isRefusedForOthers, toBackendError } from './errors.ts'
import type { Lane, Lanes } from './pool.ts'

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
    raw(): PromiseLike<readonly Row[]>
    values(): PromiseLike<readonly Row[]>
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
const PREPARED = { prepare: true }

/** The client, with a bound on how long a call takes, and errors as ours. */
export class Client {
  readonly schema: string
  readonly #lanes: Lanes
  readonly #callTimeoutMs: number
  readonly #deadlines: Deadlines<Call>
  readonly #statements = new Map<string, string>()

  constructor(lanes: Lanes, options: ClientOptions) {
    this.#lanes = lanes
    this.schema = `"${options.schema}"`
    this.#callTimeoutMs = options.callTimeoutMs
    this.#deadlines = new Deadlines(options.callTimeoutMs, (call) => this.#expire(call))
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
  query(
    statement: string,
    parameters: readonly string[] = [],
    again: () => readonly string[] = () => parameters,
  ): Promise<readonly Row[]> {
    const sql = this.#sqlOf(statement)
    return this.#run(sql, parameters, (error) => this.#runAgain(sql, again, error))
  }

  /** As `query`, once: null where others' writes made it fail. */
  tryQuery(statement: string, parameters: readonly string[]): Promise<readonly Row[] | null> {
    return this.#run<readonly Row[] | null>(this.#sqlOf(statement), parameters, (error) => {
      if (isRefusedForOthers(error)) return null
      throw toBackendError(error)
    })
  }

  /** Runs statements without parameters, in one transaction. */
  async script(statements: string): Promise<void> {
    try {
      const lane = this.#lanes.take('')
      await this.#inTime(lane, lane.client.unsafe(statements), rethrow)
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

  /** After a first try. */
  async #runAgain(
    sql: string,
    parameters: () => readonly string[],
    first: unknown,
  ): Promise<readonly Row[]> {
    let error = first
    for (let tries = 1; isRefusedForOthers(error) && tries < MAX_TRIES; tries += 1) {
      await sleep(Math.random() * 2 ** tries, undefined, { ref: false })
      try {
        return await this.#run(sql, parameters(), rethrow)
      } catch (latest) {
        error = latest
      }
    }
    throw toBackendError(error)
  }

  #run<T>(
    sql: string,
    parameters: readonly string[],
    failed: (error: unknown) => T | Promise<T>,
  ): Promise<T | readonly Row[]> {
    const lanes = this.#lanes
    const lane = lanes.take(sql)
    // A client of our own does not write into them. A caller's may have types and transforms of its
    // own, which bytes do not go through.
    const query = lanes.isOwn
      ? lane.client.unsafe(sql, parameters as string[], PREPARED).values()
      : lane.client.unsafe(sql, [...parameters], PREPARED).raw()
    return this.#inTime<T | readonly Row[]>(lane, query, failed)
  }

  /** One promise and no timer of its own: what a lone call is made of is what it takes. */
  #inTime<T>(
    lane: Lane,
    query: PromiseLike<T>,
    failed: (error: unknown) => T | Promise<T>,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const call: Call = { lane, reject, isOver: false }
      this.#deadlines.begin(call)
      query.then(
        (result) => {
          this.#deadlines.end(call)
          this.#lanes.free(lane, false)
          resolve(result)
        },
        (error) => {
          this.#deadlines.end(call)
          this.#lanes.free(lane, isLost(error))
          // It took too long, which was told.
          if (call.isOver) return
          try {
            resolve(failed(error))
          } catch (failure) {
            reject(failure)
          }
        },
      )
    })
  }

  #expire(call: Call): void {
    call.isOver = true
    this.#lanes.giveUp(call.lane)
    const message = `the database did not answer within ${this.#callTimeoutMs} ms`
    call.reject(new BackendError('UNAVAILABLE', message))
  }
}

/** A call under way. */
interface Call {
  readonly lane: Lane
  /** Whether it was given up. */
  isOver: boolean
  reject(error: unknown): void
}

function rethrow(error: unknown): never {
  throw error
}

/** Whether the connection may be what failed, rather than the statement. */
function isLost(error: unknown): boolean {
  return BackendError.is(toBackendError(error), 'UNAVAILABLE') && !isRefusedForOthers(error)
}
