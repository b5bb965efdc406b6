import { open } from './connect.ts'
import { checkConnectOptions, type PostgresMigrateOptions } from './options.ts'
import { setUp } from './schema.ts'

/**
 * Sets the tables up, or brings older ones up to date, apart from running: for a deploy step, after
 * which backends connect with `migrate: false` as a user that may not change them. Does nothing
 * where they are up to date.
 *
 * @throws as `PostgresBackend.connect`.
 *
 * @example
 * ```ts
 * import { migrate } from '@sayiir/persistence-postgres'
 *
 * await migrate({ url: 'postgres://owner@localhost/app' })
 * ```
 */
export async function migrate(options: PostgresMigrateOptions): Promise<void> {
  const { options: checked, connection } = checkConnectOptions(options)
  const client = open({ ...connection, maxConnections: 1 }, checked)
  try {
    await setUp(client, checked.schema, true)
  } finally {
    await client.end()
  }
}
