import type { Capabilities } from '@sayiir/persistence-core'
import { OptimisticBackend } from '@sayiir/persistence-core/adapter'
import { checkServers, dropConnection, makeClient } from './client.ts'
import { Connection, type RedisClient } from './connection.ts'
import { whyNotConnected } from './errors.ts'
import type { Layout } from './layout.ts'
import {
  type CheckedOptions,
  checkConnectOptions,
  checkOptions,
  type RedisBackendOptions,
  type RedisConnectOptions,
} from './options.ts'
import { setUp } from './schema.ts'
import { RedisStore } from './store.ts'
import { StoreClock } from './store-clock.ts'

/**
 * Durable workflows on Redis 7 or Valkey 8 and newer: a single server, one watched by Sentinels, or
 * a cluster.
 *
 * @example
 * ```ts
 * import { RedisBackend } from '@sayiir/persistence-redis'
 *
 * await using backend = await RedisBackend.connect({ url: 'redis://127.0.0.1:6379' })
 * ```
 */
export class RedisBackend extends OptimisticBackend {
  readonly name: string = 'redis'
  readonly capabilities: Capabilities
  protected readonly store: RedisStore

  private constructor(
    connection: Connection,
    layout: Layout,
    options: CheckedOptions,
    release: () => Promise<void>,
  ) {
    super(options)
    this.capabilities = {
      durable: true,
      shared: true,
      wakeups: 'push',
      clock: 'store',
      order: layout.shards.length === 1 ? 'global' : 'shard',
    }
    this.store = new RedisStore({ connection, layout, options, clock: new StoreClock() }, release)
  }

  /**
   * Connects, and sets the key prefix up where it is new. `close` disconnects.
   *
   * @throws `TypeError`/`RangeError`; `UNAVAILABLE` if the server can't be reached; `SCHEMA` for a
   * prefix of a newer version, with another number of shards, or missing with `migrate: false`;
   * `BACKEND` for a server that is too old, refuses the password, or may drop keys.
   */
  static async connect(options: RedisConnectOptions): Promise<RedisBackend> {
    const { target, ...checked } = checkConnectOptions(options)
    const client = makeClient(target, checked.commandTimeoutMs)
    const release = async (): Promise<void> => client.disconnect()
    let told: Error | null = null
    const listen = (error: Error): void => {
      told = error
    }
    client.on('error', listen)
    try {
      const connection = new Connection(client, checked, () => dropConnection(client))
      await connection.within(client.connect())
      return await RedisBackend.#open(connection, checked, release)
    } catch (error) {
      client.disconnect()
      throw whyNotConnected(error, told)
    } finally {
      client.off('error', listen)
    }
  }

  /**
   * Works through a client of the caller's, a `Redis` or `Cluster` of ioredis, which stays theirs:
   * `close` leaves it open. For waits a connection is added, made with the client's own options.
   *
   * @throws as {@link RedisBackend.connect}.
   */
  static async fromClient(
    client: RedisClient,
    options: RedisBackendOptions = {},
  ): Promise<RedisBackend> {
    const checked = checkOptions(options)
    if (typeof (client as Partial<RedisClient> | null)?.sendCommand !== 'function') {
      throw new TypeError('client must be a Redis or Cluster of ioredis')
    }
    return RedisBackend.#open(
      new Connection(client, checked, () => undefined),
      checked,
      async () => undefined,
    )
  }

  static async #open(
    connection: Connection,
    options: CheckedOptions,
    release: () => Promise<void>,
  ): Promise<RedisBackend> {
    await checkServers(connection, options)
    const layout = await setUp(connection, options)
    await Promise.all(layout.shards.map(({ keys }) => connection.run('tidy', keys, [])))
    return new RedisBackend(connection, layout, options, release)
  }
}
