import { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import type { PersistentBackend } from '@sayiir/persistence-core'
import { DynamoDBBackend, type DynamoDBBackendOptions } from '@sayiir/persistence-dynamodb'

/** Where the tests' service is: told to processes by the one that starts them. */
export const ENDPOINT = 'SAYIIR_TEST_DYNAMODB'

/** How a client gets to DynamoDB Local, which takes any credentials. */
export function place(endpoint: string | undefined = process.env[ENDPOINT]): {
  endpoint: string
  region: string
  credentials: { accessKeyId: string; secretAccessKey: string }
} {
  return {
    endpoint: endpoint ?? 'http://127.0.0.1:8000',
    region: 'us-east-1',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
  }
}

/** A client of the AWS SDK. */
export function client(endpoint?: string): DynamoDBClient {
  return new DynamoDBClient(place(endpoint))
}

/** A backend on keys of its own in the tests' table. */
export function connect(
  namespace: string,
  options: DynamoDBBackendOptions = {},
): Promise<PersistentBackend> {
  return DynamoDBBackend.connect({ ...place(), keyPrefix: namespace, shards: 2, ...options })
}
