import type { DynamoDBClientConfig } from '@aws-sdk/client-dynamodb'
import type { BackendOptions } from '@sayiir/persistence-core'
import {
  checkBackendOptions,
  checkFlag,
  checkInteger,
  checkObject,
  checkTtl,
} from '@sayiir/persistence-core/adapter'

/** What a request consumed. */
export interface ConsumedCapacity {
  /** Such as `UpdateItem`. */
  readonly operation: string
  /** Read request units, of the table and its indexes. */
  readonly read: number
  /** Write request units, of the table and its indexes. */
  readonly write: number
}

/** What a backend takes however it comes by its client. */
export interface DynamoDBBackendOptions extends BackendOptions {
  /** The table; by default `sayiir`. */
  readonly tableName?: string
  /** What every key begins with: two prefixes in one table never see each other. Letters, digits, `_`, `-` and `.`, at most 64; by default `sayiir`. */
  readonly keyPrefix?: string
  /** Makes the table if it is missing; by default true. */
  readonly createTable?: boolean
  /**
   * Into how many parts the indexes are divided, 1 to 256; by default 4. One part takes about 500
   * steps a second for each class of tasks. May be changed at any time, by redeploying.
   */
  readonly shards?: number
  /** Milliseconds between two looks of a waiting worker, while there is work now and then; by default 50. */
  readonly pollIntervalMs?: number
  /** Milliseconds between two looks of a worker that has waited for long; by default 1,000. */
  readonly maxPollIntervalMs?: number
  /** Milliseconds after which a request that is not answered fails; by default 5,000. One that is throttled is tried again for twice that. */
  readonly requestTimeoutMs?: number
  /**
   * Is told what every request consumed; then no two writes share a request, because what statements
   * in one consume is not always told. Left out: the service is not asked for it.
   */
  readonly onConsumedCapacity?: (consumed: ConsumedCapacity) => void
}

/** Where the service is, and who asks. What is left out the AWS SDK finds in its usual places. */
export interface DynamoDBConnectOptions extends DynamoDBBackendOptions {
  readonly region?: string
  /** Of another service than AWS's own, such as DynamoDB Local. */
  readonly endpoint?: string
  readonly credentials?: DynamoDBClientConfig['credentials']
}

/** Options, checked, with their defaults. */
export interface CheckedOptions {
  readonly agingIntervalMs: number
  readonly maxPayloadBytes: number
  readonly tableName: string
  readonly keyPrefix: string
  readonly createTable: boolean
  readonly shards: number
  readonly pollIntervalMs: number
  readonly maxPollIntervalMs: number
  readonly requestTimeoutMs: number
  readonly onConsumedCapacity: ((consumed: ConsumedCapacity) => void) | null
}

/** Throws `TypeError`/`RangeError`. */
export function checkOptions(value: unknown): CheckedOptions {
  const from = checkObject(value, 'options')
  const {
    tableName = 'sayiir',
    keyPrefix = 'sayiir',
    createTable = true,
    shards = 4,
    pollIntervalMs = 50,
    requestTimeoutMs = 5000,
    onConsumedCapacity = null,
  } = from
  const interval = checkTtl(pollIntervalMs, 'pollIntervalMs')
  const { maxPollIntervalMs = Math.max(interval, 1000) } = from
  if (typeof keyPrefix !== 'string' || !/^[A-Za-z0-9_.-]{1,64}$/.test(keyPrefix)) {
    throw new TypeError('keyPrefix must be 1 to 64 letters, digits, _, - and .')
  }
  if (onConsumedCapacity !== null && typeof onConsumedCapacity !== 'function') {
    throw new TypeError('onConsumedCapacity must be a function')
  }
  return {
    ...checkBackendOptions(from),
    tableName: checkTableName(tableName),
    keyPrefix,
    createTable: checkFlag(createTable, 'createTable'),
    shards: checkInteger(shards, 'shards', 1, 256),
    pollIntervalMs: interval,
    maxPollIntervalMs: Math.max(interval, checkTtl(maxPollIntervalMs, 'maxPollIntervalMs')),
    requestTimeoutMs: checkTtl(requestTimeoutMs, 'requestTimeoutMs'),
    onConsumedCapacity: onConsumedCapacity as CheckedOptions['onConsumedCapacity'],
  }
}

/** A name that the service takes for a table. Throws `TypeError`. */
export function checkTableName(value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z0-9_.-]{3,255}$/.test(value)) return value
  throw new TypeError('tableName must be 3 to 255 letters, digits, _, - and .')
}

/** What `connect` takes beside {@link CheckedOptions}. Throws `TypeError`. */
export function checkConnectOptions(
  value: unknown,
): CheckedOptions & Pick<DynamoDBConnectOptions, 'region' | 'endpoint' | 'credentials'> {
  const from = checkObject(value, 'options')
  const { region, endpoint, credentials } = from
  if (region !== undefined && (typeof region !== 'string' || region === '')) {
    throw new TypeError('region must be the name of a region')
  }
  if (endpoint !== undefined && (typeof endpoint !== 'string' || !URL.canParse(endpoint))) {
    throw new TypeError('endpoint must be a URL')
  }
  return {
    ...checkOptions(from),
    ...(region === undefined ? undefined : { region }),
    ...(endpoint === undefined ? undefined : { endpoint }),
    ...(credentials === undefined
      ? undefined
      : { credentials: credentials as NonNullable<DynamoDBConnectOptions['credentials']> }),
  }
}
