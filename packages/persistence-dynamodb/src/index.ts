export { DynamoDBBackend } from './backend.ts'
export type {
  ConsumedCapacity,
  DynamoDBBackendOptions,
  DynamoDBConnectOptions,
} from './options.ts'
export { tableDefinition } from './schema.ts'
export { type StreamRecordLike, tellsOfWork } from './streams.ts'
export { cloudFormationTemplate, terraformResource } from './templates.ts'
export type { DynamoDBClientLike } from './transport.ts'
