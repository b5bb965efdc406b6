import { open } from './connect.ts'
import { checkConnectOptions, type SqliteMigrateOptions } from './options.ts'

/**
 * Sets the tables up, or brings older ones up to date, apart from running: for a deploy step, after
 * which backends connect with `migrate: false`. Does nothing where they are up to date.
 *
 * @throws as `SqliteBackend.connect`.
 *
 * @example
 * ```ts
 * import { migrate } from '@sayiir/persistence-sqlite'
 *
 * await migrate({ path: 'workflows.db' })
 * ```
 */
export async function migrate(options: SqliteMigrateOptions): Promise<void> {
  const db = await open({ ...checkConnectOptions(options), migrate: true })
  db.close()
}
