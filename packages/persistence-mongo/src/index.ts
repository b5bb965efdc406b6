export { MongoBackend } from './backend.ts'
export type { MongoClientLike } from './database.ts'
export { migrate } from './migrate.ts'
export type { MongoBackendOptions, MongoConnectOptions, MongoMigrateOptions } from './options.ts'
