import type { BackendOptions } from '@sayiir/persistence-core'
import {
  checkBackendOptions,
  checkFlag,
  checkObject,
  checkOneOf,
  checkTtl,
} from '@sayiir/persistence-core/adapter'

/** What a backend takes however its client is made. */
export interface PostgresBackendOptions extends BackendOptions {
  /**
   * The schema of the tables: two schemas in one database never see each other. A letter or
   * underscore, then up to 47 letters, digits and underscores; by default `sayiir`.
   */
  readonly schema?: string
  /** Sets the tables up, or migrates older ones; by default true. */
  readonly migrate?: boolean
  /** Milliseconds after which, or an eighth later, a call that has no answer is `UNAVAILABLE`; by default 30,000. */
  readonly callTimeoutMs?: number
  /**
   * `push` (default): a waiting worker is told by NOTIFY, on a connection of its own, and where that
   * turns out not to work (a pooler in transaction mode) it polls. `poll`: it polls, and there is no
   * such connection.
   */
  readonly wakeups?: 'push' | 'poll'
  /** Milliseconds between two looks of a waiting worker that nobody tells of work; more than 0, by default 100. */
  readonly pollIntervalMs?: number
}

/** Where the database is, and how it is connected to. What is left out is taken from `PGHOST` and the like. */
export interface PostgresConnectOptions extends PostgresBackendOptions {
  /** Such as `postgres://user:password@host:5432/database`. */
  readonly url?: string
  readonly host?: string
  readonly port?: number
  readonly database?: string
  readonly user?: string
  /** A function is asked at every new connection: for tokens that expire. */
  readonly password?: string | (() => string | Promise<string>)
  /** As in `postgres`: `'require'`, `'verify-full'`, or options of `tls.connect`. */
  readonly ssl?: 'require' | 'allow' | 'prefer' | 'verify-full' | boolean | object
  /** Connections at most, that for wakeups not counted; by default 10. */
  readonly maxConnections?: number
  /** False behind a pooler in transaction mode that does not know prepared statements; by default true. */
  readonly preparedStatements?: boolean
  /** Milliseconds that a new connection may take; by default 5,000. */
  readonly connectTimeoutMs?: number
}

/** Options of `migrate`. */
export interface PostgresMigrateOptions
  extends Omit<PostgresConnectOptions, keyof PostgresBackendOptions>,
    Pick<PostgresBackendOptions, 'schema' | 'callTimeoutMs'> {}

/** Options, checked, with their defaults. */
export type CheckedOptions = Required<PostgresBackendOptions>

/** What makes a connection, checked. */
export interface CheckedConnection
  extends Pick<PostgresConnectOptions, 'url' | 'host' | 'port' | 'database' | 'user' | 'password'> {
  readonly ssl: PostgresConnectOptions['ssl']
  readonly maxConnections: number
  readonly preparedStatements: boolean
  readonly connectTimeoutMs: number
}

/** Throws `TypeError`/`RangeError`. */
export function checkOptions(value: unknown): CheckedOptions {
  const from = checkObject(value, 'options')
  const {
    schema = 'sayiir',
    migrate = true,
    callTimeoutMs = 30_000,
    wakeups = 'push',
    pollIntervalMs = 100,
  } = from
  // `pg_` is PostgreSQL's own.
  if (
    typeof schema !== 'string' ||
    !/^[A-Za-z_][A-Za-z0-9_]{0,47}$/.test(schema) ||
    /^pg_/i.test(schema)
  ) {
    throw new TypeError(
      'schema must be a letter or underscore followed by at most 47 letters, digits and underscores, and not begin with pg_',
    )
  }
  return {
    ...checkBackendOptions(from),
    schema,
    migrate: checkFlag(migrate, 'migrate'),
    callTimeoutMs: checkTtl(callTimeoutMs, 'callTimeoutMs'),
    wakeups: checkOneOf(wakeups, 'wakeups', ['push', 'poll']),
    pollIntervalMs: checkTtl(pollIntervalMs, 'pollIntervalMs'),
  }
}

/** Throws `TypeError`/`RangeError`. */
export function checkConnectOptions(value: unknown): {
  readonly options: CheckedOptions
  readonly connection: CheckedConnection
} {
  const from = checkObject(value, 'options')
  const { url, host, port, database, user, password, ssl } = from
  for (const [name, text] of Object.entries({ url, host, database, user })) {
    if (text !== undefined && typeof text !== 'string') {
      throw new TypeError(`${name} must be a string`)
    }
  }
  // The driver would take anything else for a host of its own. Not repeated: it may hold a password.
  if (typeof url === 'string' && !/^postgres(ql)?:\/\//i.test(url)) {
    throw new TypeError('url must begin with postgres:// or postgresql://')
  }
  if (password !== undefined && typeof password !== 'string' && typeof password !== 'function') {
    throw new TypeError('password must be a string, or a function that gives one')
  }
  if (ssl !== undefined && !['string', 'boolean', 'object'].includes(typeof ssl)) {
    throw new TypeError('ssl must be a mode, a boolean or options of tls.connect')
  }
  const { maxConnections = 10, preparedStatements = true, connectTimeoutMs = 5000 } = from
  return {
    options: checkOptions(from),
    connection: {
      ...(given({ url, host, database, user, password }) as Partial<CheckedConnection>),
      ...(port === undefined ? undefined : { port: checkWhole(port, 'port', 65_535) }),
      ssl: ssl as CheckedConnection['ssl'],
      maxConnections: checkWhole(maxConnections, 'maxConnections', 1000),
      preparedStatements: checkFlag(preparedStatements, 'preparedStatements'),
      connectTimeoutMs: checkTtl(connectTimeoutMs, 'connectTimeoutMs'),
    },
  }
}

function checkWhole(value: unknown, name: string, most: number): number {
  if (typeof value !== 'number') throw new TypeError(`${name} must be a number`)
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw new RangeError(`${name} must be a whole number from 1 to ${most}`)
  }
  return value
}

function given(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}
