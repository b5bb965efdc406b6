import { DeleteTableCommand } from '@aws-sdk/client-dynamodb'
import type { Place } from '@sayiir/bench'
import { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { clientOf, count, local } from './place.ts'

/** A table of its own, as the floor has, so that neither is slowed down by what others have left. */
export function connect({ url, namespace, workload }: Place): Promise<DynamoDBBackend> {
  return DynamoDBBackend.connect({
    ...local(url),
    tableName: namespace,
    // Asked for where it is shown only: telling costs a little.
    ...(workload === 'COST' || workload === 'S6'
      ? {
          onConsumedCapacity: ({ operation, read, write }) => count(operation, read + write),
        }
      : undefined),
  })
}

export async function drop({ url, namespace }: Place): Promise<void> {
  const client = clientOf(url)
  await client.send(new DeleteTableCommand({ TableName: namespace }))
  client.destroy()
}
