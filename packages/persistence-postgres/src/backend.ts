import type { Capabilities } from '@sayiir/persistence-core'
import { OptimisticBackend } from '@sayiir/persistence-core/adapter'
import { Client, type PostgresClient } from './client.ts'
import { open } from './connect.ts'
import {
  type CheckedOptions,
  checkConnectOptions,
  checkOptions,
  type PostgresBackendOptions,
  type PostgresConnectOptions,
} from './options.ts'
import { Borrowed } from './pool.ts'
import { setUp } from './schema.ts'
import { PostgresStore } from './store.ts'

/**
 * Durable workflows in a PostgreSQL database, which any number of processes may share.
 *
 * @example
 * ```ts
 * import { PostgresBackend } from '@sayiir/persistence-postgres'
 *
 * await using backend = await PostgresBackend.connect({ url: 'postgres://localhost/app' })
 * ```
 */
export class PostgresBackend extends OptimisticBackend {
  readonly name: string = 'postgres'
  protected readonly store: PostgresStore

  private constructor(client: Client, options: CheckedOptions) {
    super(options)
    this.store = new PostgresStore(client, options)
  }

  /** `wakeups` becomes `poll` where it turns out that no notifications come. */
  get capabilities(): Capabilities {
    return {
      durable: true,
      shared: true,
      wakeups: this.store.polls ? 'poll' : 'push',
      clock: 'store',
      order: 'global',
    }
  }

  /**
   * Connects, and sets the tables up. `close` ends the connections.
   *
   * @throws `TypeError`/`RangeError`; `UNAVAILABLE` if the database can't be reached; `SCHEMA` for
   * tables that are missing (with `migrate: false`), changed, or migrated by a newer version (they
   * are left untouched); `BACKEND` if it refuses the user.
   */
  static async connect(options: PostgresConnectOptions = {}): Promise<PostgresBackend> {
    const { options: checked, connection } = checkConnectOptions(options)
    const client = open(connection, checked)
    try {
      await setUp(client, checked.schema, checked.migrate)
      return new PostgresBackend(client, checked)
    } catch (error) {
      await client.end()
      throw error
    }
  }

  /**
   * Works on a client of the caller's, made by `postgres`, which stays theirs: `close` leaves it
   * open. For wakeups a connection more is opened, with the same options.
   *
   * @throws as {@link PostgresBackend.connect}.
   */
  static async fromClient(
    client: PostgresClient,
    options: PostgresBackendOptions = {},
  ): Promise<PostgresBackend> {
    const checked = checkOptions(options)
    if (typeof (client as Partial<PostgresClient> | null)?.unsafe !== 'function') {
      throw new TypeError('client must be a client of postgres')
    }
    const borrowed = new Client(new Borrowed(client), checked)
    await setUp(borrowed, checked.schema, checked.migrate)
    return new PostgresBackend(borrowed, checked)
  }
}
