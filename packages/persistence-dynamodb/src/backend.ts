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
import { Service } from './service.ts'
import { DynamoDBStore } from './store.ts'
import { type StreamRecordLike, tellsOfWork } from './streams.ts'
import { type DynamoDBClientLike, SdkTransport, type Transport } from './transport.ts'
import { Wire } from './wire.ts'

/** Milliseconds that a connection may take to be made. */
const CONNECTION_MS = 2000
/** Connections at most. */
const MAX_SOCKETS = 64

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
  readonly #keyPrefix: string
  readonly #wake: () => void

  private constructor(store: DynamoDBStore, options: CheckedOptions) {
    super(options)
    this.store = store
    this.#keyPrefix = options.keyPrefix
    this.#wake = () => store.wake()
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
        httpsAgent: { maxSockets: MAX_SOCKETS, keepAlive: true },
        httpAgent: { maxSockets: MAX_SOCKETS, keepAlive: true },
      },
    })
    const clock = new ServiceClock()
    const timeoutMs = checked.requestTimeoutMs
    const sdk = new SdkTransport(client, clock, timeoutMs)
    const wire = new Wire(sdk, client, clock, timeoutMs)
    const end = (): void => client.destroy()
    try {
      return new DynamoDBBackend(await open(wire, clock, checked, end), checked)
    } catch (error) {
      end()
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
    const clock = new ServiceClock()
    const transport = new SdkTransport(client, clock, checked.requestTimeoutMs)
    return new DynamoDBBackend(await open(transport, clock, checked, () => undefined), checked)
  }

  /**
   * Lets those who wait on this object look for work at once, instead of when their pause is over:
   * for workers that are told of new work by something else, such as a function on the table's
   * stream. What is told is only a hint, so a call too many costs a look, and one that is missed a
   * pause.
   *
   * @param records Records of the table's stream: then only if one of them tells of work (see
   * {@link tellsOfWork}).
   * @returns Whether there was reason to look.
   */
  notify(records?: Iterable<StreamRecordLike>): boolean {
    if (records !== undefined) {
      const hasWork = [...records].some((record) => tellsOfWork(record, this.#keyPrefix))
      if (!hasWork) return false
    }
    this.#wake()
    return true
  }
}

async function open(
  transport: Transport,
  clock: ServiceClock,
  options: CheckedOptions,
  end: () => void,
): Promise<DynamoDBStore> {
  const service = new Service(transport, clock, options)
  const keys = new Keys(options.keyPrefix)
  await setUp(service, keys, options)
  const shards = Math.max(options.shards, await readShards(service, keys))
  return new DynamoDBStore(service, options, { shards, end })
}
