import { BackendError } from '@sayiir/persistence-core'
import { whileBusy } from './busy.ts'
import type { Connection } from './database.ts'
import { MIGRATIONS } from './migrations/index.ts'

/** Marks a file as ours, for `file` and the like, and for us: "Sayi" in ASCII. */
const APPLICATION_ID = 0x53617969

/** The schema that this version works with. */
const VERSION: number = MIGRATIONS.length

/** How a schema is to be brought up to date. */
export interface SetUp {
  readonly migrate: boolean
  readonly busyTimeoutMs: number
  /** Whether the whole database is ours, so that another program's is refused. */
  readonly owned: boolean
}

/**
 * Makes sure that the tables are there and of this version. Any number of processes may do it at
 * once on an empty file: one sets it up, the others wait and find it done. What is not ours, or
 * newer, is refused before anything is written.
 *
 * @throws `SCHEMA`, `UNAVAILABLE`.
 */
export async function setUp(db: Connection, options: SetUp): Promise<void> {
  const { busyTimeoutMs, owned } = options
  const version = await whileBusy(busyTimeoutMs, () => inspect(db, options))
  if (owned) await whileBusy(busyTimeoutMs, () => db.exec('PRAGMA journal_mode = WAL'))
  if (version < VERSION) await whileBusy(busyTimeoutMs, () => applyMigrations(db, options))
}

/** Throws `SCHEMA` unless the tables are of this version. */
export function checkSchema(db: Connection): void {
  mustBeCurrent(readVersion(db))
}

/** Reads, within a transaction, the version of tables that are there, for {@link mustBeCurrent}. */
export const STORED_VERSION = `(SELECT value FROM {meta} WHERE key = 'schema-version')`

/**
 * Throws `SCHEMA` unless tables of this version are this program's. Asked in every transaction: a
 * process of a newer version may have migrated them while this one has them open. It takes a
 * microsecond.
 */
export function mustBeCurrent(version: number | null | undefined): void {
  if (version === VERSION) return
  const found = version ?? 0
  throw found > VERSION ? newer(found) : missing(found)
}

/** The version of the tables, 0 without any; throws `SCHEMA` for a file that must be left alone. */
function inspect(db: Connection, { migrate, owned }: SetUp): number {
  const encoding = db.get<{ encoding: string }>('PRAGMA encoding')?.encoding
  if (encoding !== 'UTF-8') {
    // Ids are compared by their bytes.
    throw new BackendError('SCHEMA', `the database must be UTF-8, not ${encoding}`)
  }
  const version = readVersion(db)
  if (version > VERSION) throw newer(version)
  if (version < VERSION && !migrate) throw missing(version)
  if (version === 0 && owned && isForeign(db)) {
    throw new BackendError(
      'SCHEMA',
      "the file is another program's database; it was left untouched: give another path, or share that database with SqliteBackend.fromClient",
    )
  }
  return version
}

function applyMigrations(db: Connection, options: SetUp): void {
  db.control('BEGIN IMMEDIATE')
  try {
    // Another process may have been faster.
    const version = inspect(db, options)
    for (const sql of MIGRATIONS.slice(version)) db.exec(sql)
    db.run(`INSERT OR REPLACE INTO {meta} VALUES ('schema-version', ?)`, VERSION)
    if (options.owned) db.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
    db.control('COMMIT')
  } catch (error) {
    db.rollback()
    throw error
  }
}

function readVersion(db: Connection): number {
  const table = db.expand('{meta}').slice(1, -1)
  const existing = db.get<{ name: string }>(
    `SELECT name FROM sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE`,
    table,
  )
  if (existing === undefined) return 0
  if (existing.name !== table) {
    // To SQLite they would be the same table.
    throw new BackendError(
      'SCHEMA',
      `table ${existing.name} was left untouched: choose a tablePrefix that differs from its own in more than upper and lower case`,
    )
  }
  const row = db.get<{ value: number }>(`SELECT value FROM {meta} WHERE key = 'schema-version'`)
  if (row === undefined) {
    throw new BackendError(
      'SCHEMA',
      `table ${table} is not ours; it was left untouched: choose another tablePrefix`,
    )
  }
  return row.value
}

/** Whether a database without our tables belongs to somebody else. */
function isForeign(db: Connection): boolean {
  const id = db.get<{ application_id: number }>('PRAGMA application_id')?.application_id
  if (id === APPLICATION_ID) return false
  return id !== 0 || db.get('SELECT 1 FROM sqlite_schema') !== undefined
}

function newer(version: number): BackendError {
  return new BackendError(
    'SCHEMA',
    `the tables are of version ${version}, and only ${VERSION} is known: they were migrated by a newer version; upgrade this program`,
  )
}

function missing(version: number): BackendError {
  return new BackendError(
    'SCHEMA',
    version === 0
      ? 'the tables are missing: run migrate(), or connect without migrate: false'
      : `the tables are of version ${version}, and ${VERSION} is needed: run migrate(), or connect without migrate: false`,
  )
}
