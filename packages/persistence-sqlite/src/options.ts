import type { BackendOptions } from '@sayiir/persistence-core'
import {
  checkBackendOptions,
  checkDelay,
  checkFlag,
  checkObject,
  checkOneOf,
  checkTtl,
} from '@sayiir/persistence-core/adapter'

/** How hard SQLite makes sure that a commit is on the disk. */
export type Synchronous = 'NORMAL' | 'FULL' | 'EXTRA'

/** What a backend takes however its database is opened. */
export interface SqliteBackendOptions extends BackendOptions {
  /**
   * What every table's name begins with: two prefixes in one file never see each other. A letter or
   * underscore, then up to 47 letters, digits and underscores; by default `sayiir_`.
   */
  readonly tablePrefix?: string
  /** Sets the tables up, or migrates older ones; by default true. */
  readonly migrate?: boolean
  /** Milliseconds that a call waits for another process's lock before it is `UNAVAILABLE`; by default 5,000. */
  readonly busyTimeoutMs?: number
  /** Milliseconds between two looks of a waiting worker at what other processes did; more than 0, by default 20. */
  readonly pollIntervalMs?: number
}

/** Where the database is, and how it is opened. */
export interface SqliteConnectOptions extends SqliteBackendOptions {
  /** The database file, made if it is missing; its folder must exist. `:memory:` for one that dies with the backend. */
  readonly path: string
  /**
   * `FULL` (default): what was acknowledged survives a power failure. `NORMAL`: it survives the end
   * of the process, a power failure may undo the last commits. `EXTRA`: as `FULL` for a file in WAL mode.
   */
  readonly synchronous?: Synchronous
}

/** Options of `migrate`. */
export interface SqliteMigrateOptions
  extends Pick<SqliteConnectOptions, 'path' | 'tablePrefix' | 'busyTimeoutMs' | 'synchronous'> {}

/** Options, checked, with their defaults. */
export type CheckedOptions = Required<SqliteBackendOptions>

/** Throws `TypeError`/`RangeError`. */
export function checkOptions(value: unknown): CheckedOptions {
  const from = checkObject(value, 'options')
  const {
    tablePrefix = 'sayiir_',
    migrate = true,
    busyTimeoutMs = 5000,
    pollIntervalMs = 20,
  } = from
  // `sqlite_` is SQLite's own.
  if (
    typeof tablePrefix !== 'string' ||
    !/^[A-Za-z_][A-Za-z0-9_]{0,47}$/.test(tablePrefix) ||
    /^sqlite_/i.test(tablePrefix)
  ) {
    throw new TypeError(
      'tablePrefix must be a letter or underscore followed by at most 47 letters, digits and underscores, and not begin with sqlite_',
    )
  }
  return {
    ...checkBackendOptions(from),
    tablePrefix,
    migrate: checkFlag(migrate, 'migrate'),
    busyTimeoutMs: checkDelay(busyTimeoutMs, 'busyTimeoutMs'),
    pollIntervalMs: checkTtl(pollIntervalMs, 'pollIntervalMs'),
  }
}

/** Throws `TypeError`/`RangeError`. */
export function checkConnectOptions(
  value: unknown,
): CheckedOptions & Required<Pick<SqliteConnectOptions, 'path' | 'synchronous'>> {
  const from = checkObject(value, 'options')
  const { path, synchronous = 'FULL' } = from
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new TypeError('path must be the name of a file, or :memory:')
  }
  return {
    ...checkOptions(from),
    path,
    synchronous: checkOneOf(synchronous, 'synchronous', ['NORMAL', 'FULL', 'EXTRA']),
  }
}
