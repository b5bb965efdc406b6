/**
 * Durable persistence for Sayiir workflows on PostgreSQL.
 *
 * @module
 */
export { PostgresBackend } from './backend.ts'
export type { PostgresClient } from './client.ts'
export { migrate } from './migrate.ts'
export type {
  PostgresBackendOptions,
  PostgresConnectOptions,
  PostgresMigrateOptions,
} from './options.ts'
