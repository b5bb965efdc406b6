import type { Capabilities } from '@sayiir/persistence-core'
import { OptimisticBackend, type OptimisticStore } from '@sayiir/persistence-core/adapter'
import { hasChangeStreams } from './changes.ts'
import { connectClient } from './connect.ts'
import { Database, type MongoClientLike } from './database.ts'
import {
  type CheckedOptions,
  checkConnectOptions,
  checkOptions,
  type MongoBackendOptions,
  type MongoConnectOptions,
} from './options.ts'
import { checkSchema, migrateSchema, sortsByIndex, updatesFirst } from './schema.ts'
import { MongoStore } from './store.ts'

/**
 * Durable workflows in MongoDB 6 or newer (a replica set, a sharded cluster, a standalone server) or
 * a server of its protocol such as FerretDB 2, which any number of processes may share. It needs no
 * transactions.
 *
 * @example
 * ```ts
 * import { MongoBackend } from '@sayiir/persistence-mongo'
 *
 * await using backend = await MongoBackend.connect({ url: 'mongodb://127.0.0.1:27017' })
 * ```
 */
export class MongoBackend extends OptimisticBackend {
  readonly name: string = 'mongo'
  /** `wakeups` is `push` where the server has change streams: on a replica set, in a sharded cluster. */
  readonly capabilities: Capabilities
  protected readonly store: OptimisticStore

  private constructor(options: CheckedOptions, store: OptimisticStore, hasStreams: boolean) {
    super(options)
    this.store = store
    this.capabilities = {
      durable: true,
      shared: true,
      wakeups: hasStreams ? 'push' : 'poll',
      clock: 'store',
      order: 'global',
    }
  }

  /**
   * Connects to a server and sets the collections up. `close` closes the connections.
   *
   * @throws `TypeError`/`RangeError`; `UNAVAILABLE` if no server answers; `SCHEMA` if a newer
   * version set the collections up; `BACKEND` if the server refuses the user.
   */
  static async connect(options: MongoConnectOptions): Promise<MongoBackend> {
    const checked = checkConnectOptions(options)
    const client = await connectClient(checked)
    try {
      return await MongoBackend.#open(client, checked, () => client.close())
    } catch (error) {
      await client.close()
      throw error
    }
  }

  /**
   * Works on a client of the caller's, a `MongoClient` of the `mongodb` driver, which stays theirs:
   * `close` leaves it open.
   *
   * @throws as {@link MongoBackend.connect}.
   */
  static async fromClient(
    client: MongoClientLike,
    options: MongoBackendOptions = {},
  ): Promise<MongoBackend> {
    const checked = checkOptions(options)
    if (typeof (client as Partial<MongoClientLike> | null)?.db !== 'function') {
      throw new TypeError('client must be a MongoClient of the mongodb driver')
    }
    return MongoBackend.#open(client, checked, async () => {})
  }

  static async #open(
    client: MongoClientLike,
    options: CheckedOptions,
    release: () => Promise<void>,
  ): Promise<MongoBackend> {
    const db = new Database(client, options)
    await (options.migrate ? migrateSchema(db) : checkSchema(db))
    const [isOrdered, hasStreams, updatesInOrder] = await Promise.all([
      sortsByIndex(db),
      hasChangeStreams(db),
      updatesFirst(db),
      db.now(),
    ])
    const features = { isOrdered, hasStreams, updatesInOrder }
    const store = new MongoStore(db, options, features, release)
    return new MongoBackend(options, store, hasStreams)
  }
}
