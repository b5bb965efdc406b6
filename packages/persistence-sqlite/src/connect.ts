import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { BackendError } from '@sayiir/persistence-core'
import { Connection } from './database.ts'
import { toBackendError } from './errors.ts'
import type { CheckedOptions, SqliteConnectOptions } from './options.ts'
import { setUp } from './schema.ts'

/** Kibibytes of a database that a process keeps in memory. */
const CACHE_KIB = 16_384
/**
 * Pages in the write-ahead log before it is copied into the file. A page that many steps change is
 * copied once for all of them, and copying flushes the disk twice: four times SQLite's default.
 */
const CHECKPOINT_PAGES = 1000
/** Bytes that the write-ahead log is cut back to after a burst. */
const WAL_BYTES = 64 * 1024 * 1024

/** Opens a database of our own and sets it up. */
export async function open(
  options: CheckedOptions & Required<Pick<SqliteConnectOptions, 'path' | 'synchronous'>>,
): Promise<Connection> {
  const { path, tablePrefix, migrate, busyTimeoutMs, synchronous } = options
  if (!migrate && path !== ':memory:' && !existsSync(path)) {
    throw new BackendError('SCHEMA', 'there is no such file: run migrate() to make it')
  }
  let db: Connection | null = null
  try {
    db = new Connection(new DatabaseSync(path), tablePrefix)
    // Waiting is ours, without blocking the event loop.
    db.exec('PRAGMA busy_timeout = 0')
    await setUp(db, { migrate, busyTimeoutMs, owned: true })
    db.exec(`PRAGMA synchronous = ${synchronous}`)
    db.exec(`PRAGMA cache_size = -${CACHE_KIB}`)
    db.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`)
    db.exec(`PRAGMA journal_size_limit = ${WAL_BYTES}`)
    return db
  } catch (error) {
    db?.close()
    throw toBackendError(error)
  }
}
