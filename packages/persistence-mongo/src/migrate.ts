import { connectClient } from './connect.ts'
import { Database } from './database.ts'
import { checkConnectOptions, type MongoMigrateOptions } from './options.ts'
import { migrateSchema } from './schema.ts'

/**
 * Makes the collections and indexes, for a deploy step; `connect` with `migrate: false` then needs
 * no right to make indexes. May be run again, and by several at once.
 *
 * @example
 * ```ts
 * import { migrate } from '@sayiir/persistence-mongo'
 *
 * await migrate({ url: 'mongodb://127.0.0.1:27017' })
 * ```
 * @throws as `MongoBackend.connect`.
 */
export async function migrate(options: MongoMigrateOptions): Promise<void> {
  const checked = checkConnectOptions(options)
  const client = await connectClient(checked)
  try {
    await migrateSchema(new Database(client, checked))
  } finally {
    await client.close()
  }
}
