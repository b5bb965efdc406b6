export { SqliteBackend } from './backend.ts'
export type { SqliteDatabase, SqliteStatement, SqlValue } from './database.ts'
export { migrate } from './migrate.ts'
export type {
  SqliteBackendOptions,
  SqliteConnectOptions,
  SqliteMigrateOptions,
  Synchronous,
} from './options.ts'
