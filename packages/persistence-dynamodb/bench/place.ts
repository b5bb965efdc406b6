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

/** Capacity units that this process has consumed. */
export const consumed = { read: 0, write: 0 }

/** Adds what a request consumed: a query at least half a unit, which DynamoDB Local forgets. */
export function count(operation: string, units: number): void {
  if (operation === 'Query') consumed.read += Math.max(units, 0.5)
  else consumed[operation.includes('Get') ? 'read' : 'write'] += units
}

/** Makes the service tell what a client's requests consume. */
export function meter(client: DynamoDBClient): void {
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const reply = await next({
          ...args,
          input: { ...args.input, ReturnConsumedCapacity: 'TOTAL' } as typeof args.input,
        })
        const { ConsumedCapacity: told = [] } = reply.output as {
          ConsumedCapacity?: { CapacityUnits?: number } | { CapacityUnits?: number }[]
        }
        const units = [told].flat().reduce((sum, { CapacityUnits = 0 }) => sum + CapacityUnits, 0)
        count(String(commandName).replace(/Command$/, ''), units)
        return reply
      },
    { step: 'initialize' },
  )
}
