import { DynamoDBClient } from '@aws-sdk/client-dynamodb'

/** How a client gets to DynamoDB Local, which takes any credentials. */
export function local(endpoint: string): {
  endpoint: string
  region: string
  credentials: { accessKeyId: string; secretAccessKey: string }
} {
  return {
    endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
  }
}

/** A client of the AWS SDK. */
export function clientOf(endpoint: string): DynamoDBClient {
  return new DynamoDBClient(local(endpoint))
}

/** What this process's backends have consumed. */
export const consumed = { read: 0, write: 0, requests: 0 }
