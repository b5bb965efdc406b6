import { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import type { Capabilities } from '@sayiir/persistence-core'
import { OptimisticBackend, type OptimisticStore } from '@sayiir/persistence-core/adapter'
import { MAX_CLOCK_ERROR_MS, ServiceClock } from './clock.ts'
import { Keys } from './keys.ts'
import {
  type CheckedOptions,
  checkConnectOptions,
  checkOptions,
  type DynamoDBBackendOptions,
  type DynamoDBConnectOptions,
} from './options.ts'
import { readShards, setUp } from './schema.ts'
import { type DynamoDBClientLike, Service } from './service.ts'
import { DynamoDBStore } from './store.ts'

/** Milliseconds that a connection may take to be made. */
const CONNECTION_MS = 2000

/**
 * Durable workflows in one table of Amazon DynamoDB, for any number of processes.
 *
 * @example
 * ```ts
 * import { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
 *
 * await using backend = await DynamoDBBackend.connect({ tableName: 'workflows', region: 'eu-west-1' })
 * ```
 */
export class DynamoDBBackend extends OptimisticBackend {
  readonly name: string = 'dynamodb'
  readonly capabilities: Capabilities = {
    durable: true,
    shared: true,
    wakeups: 'poll',
    clock: { maxErrorMs: MAX_CLOCK_ERROR_MS },
    order: 'shard',
  }
  protected readonly store: OptimisticStore

  private constructor(store: OptimisticStore, options: CheckedOptions) {
    super(options)
    this.store = store
  }

  /**
   * Makes a client, and the table if it is missing. `close` ends the client.
   *
   * @throws `TypeError`/`RangeError`; `SCHEMA` if the table is missing with `createTable: false`, is
   * another program's or a newer version's; `UNAVAILABLE` if the service can't be reached.
   */
  static async connect(options: DynamoDBConnectOptions = {}): Promise<DynamoDBBackend> {
    const { region, endpoint, credentials, ...checked } = checkConnectOptions(options)
    const client = new DynamoDBClient({
      ...(region === undefined ? undefined : { region }),
      ...(endpoint === undefined ? undefined : { endpoint }),
      ...(credentials === undefined ? undefined : { credentials }),
      requestHandler: {
        connectionTimeout: CONNECTION_MS,
        httpsAgent: { maxSockets: 64, keepAlive: true },
        httpAgent: { maxSockets: 64, keepAlive: true },
      },
    })
    try {
      const store = await open(client, checked, () => client.destroy())
      return new DynamoDBBackend(store, checked)
    } catch (error) {
      client.destroy()
      throw error
    }
  }

  /**
   * Works on a `DynamoDBClient` of the caller's, which stays theirs: `close` leaves it open.
   *
   * @throws as {@link DynamoDBBackend.connect}.
   */
  static async fromClient(
    client: DynamoDBClientLike,
    options: DynamoDBBackendOptions = {},
  ): Promise<DynamoDBBackend> {
    const checked = checkOptions(options)
    if (typeof (client as Partial<DynamoDBClientLike> | null)?.send !== 'function') {
      throw new TypeError('client must be a DynamoDBClient of @aws-sdk/client-dynamodb')
    }
    return new DynamoDBBackend(await open(client, checked, () => undefined), checked)
  }
}

async function open(
  client: DynamoDBClientLike,
  options: CheckedOptions,
  end: () => void,
): Promise<DynamoDBStore> {
  const service = new Service(client, new ServiceClock(), options)
  const keys = new Keys(options.keyPrefix)
  await setUp(service, keys, options)
  const shards = Math.max(options.shards, await readShards(service, keys))
  return new DynamoDBStore(service, options, { shards, end })
}
