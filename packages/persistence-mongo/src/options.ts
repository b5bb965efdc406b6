import type { BackendOptions } from '@sayiir/persistence-core'
import {
  checkBackendOptions,
  checkFlag,
  checkObject,
  checkOneOf,
  checkTtl,
} from '@sayiir/persistence-core/adapter'
import type { MongoClientOptions, ReadConcernLevel, W } from 'mongodb'

/** What a backend takes whoever opened its client. */
export interface MongoBackendOptions extends BackendOptions {
  /** The database; by default `sayiir`. */
  readonly database?: string
  /**
   * What the name of every collection begins with: two prefixes in one database never see each
   * other. A letter or underscore, then up to 47 letters, digits and underscores; by default `sayiir_`.
   */
  readonly collectionPrefix?: string
  /** Makes collections and indexes where they are missing; by default true. */
  readonly migrate?: boolean
  /** Milliseconds after which a call that nobody answers is `UNAVAILABLE`; by default 10,000. */
  readonly timeoutMs?: number
  /** Milliseconds between two looks of a waiting worker where the server has no change streams; by default 50. */
  readonly pollIntervalMs?: number
  /** How many servers must have a write before it counts; by default `majority`. A number, or a tag of the replica set's. */
  readonly writeConcern?: W
  /** By default `majority`: what was read is not rolled back. */
  readonly readConcern?: ReadConcernLevel
}

/** Where the server is, and how it is connected to. */
export interface MongoConnectOptions extends MongoBackendOptions {
  /** A connection string, `mongodb://…` or `mongodb+srv://…`. */
  readonly url: string
  /** More options of the driver's: TLS, pool sizes, a log-in. */
  readonly clientOptions?: MongoClientOptions
}

/** Options of `migrate`. */
export interface MongoMigrateOptions
  extends Pick<
    MongoConnectOptions,
    'url' | 'clientOptions' | 'database' | 'collectionPrefix' | 'timeoutMs' | 'writeConcern'
  > {}

/** Options, checked, with their defaults. */
export type CheckedOptions = Required<MongoBackendOptions>

const READ_CONCERNS = ['local', 'majority', 'linearizable', 'available', 'snapshot'] as const

/** Throws `TypeError`/`RangeError`. */
export function checkOptions(value: unknown): CheckedOptions {
  const from = checkObject(value, 'options')
  const {
    database = 'sayiir',
    collectionPrefix = 'sayiir_',
    migrate = true,
    timeoutMs = 10_000,
    pollIntervalMs = 50,
    writeConcern = 'majority',
    readConcern = 'majority',
  } = from
  if (typeof database !== 'string' || !/^[^\0/\\. "$*<>:|?]{1,63}$/.test(database)) {
    throw new TypeError(
      'database must be the name of a database: 1 to 63 characters, none of /\\. "$*<>:|?',
    )
  }
  if (
    typeof collectionPrefix !== 'string' ||
    !/^[A-Za-z_][A-Za-z0-9_]{0,47}$/.test(collectionPrefix)
  ) {
    throw new TypeError(
      'collectionPrefix must be a letter or underscore followed by at most 47 letters, digits and underscores',
    )
  }
  if (
    !(typeof writeConcern === 'string' && writeConcern !== '') &&
    !(Number.isSafeInteger(writeConcern) && (writeConcern as number) >= 1)
  ) {
    // Unacknowledged writes could not tell what became of them.
    throw new TypeError("writeConcern must be 'majority', a number of servers from 1, or a tag")
  }
  return {
    ...checkBackendOptions(from),
    database,
    collectionPrefix,
    migrate: checkFlag(migrate, 'migrate'),
    timeoutMs: checkTtl(timeoutMs, 'timeoutMs'),
    pollIntervalMs: checkTtl(pollIntervalMs, 'pollIntervalMs'),
    writeConcern: writeConcern as W,
    readConcern: checkOneOf(readConcern, 'readConcern', READ_CONCERNS),
  }
}

/** Throws `TypeError`/`RangeError`; never with the connection string in its message. */
export function checkConnectOptions(
  value: unknown,
): CheckedOptions & Required<Pick<MongoConnectOptions, 'url' | 'clientOptions'>> {
  const from = checkObject(value, 'options')
  const { url, clientOptions = {} } = from
  if (typeof url !== 'string' || !/^mongodb(\+srv)?:\/\//.test(url)) {
    throw new TypeError(
      'url must be a connection string that begins with mongodb:// or mongodb+srv://',
    )
  }
  return {
    ...checkOptions(from),
    url,
    clientOptions: checkObject(clientOptions, 'clientOptions') as MongoClientOptions,
  }
}
