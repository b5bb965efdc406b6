export { RedisBackend } from './backend.ts'
export type { RedisClient } from './connection.ts'
export type { RedisBackendOptions, RedisConnectOptions, WaitReplicas } from './options.ts'
