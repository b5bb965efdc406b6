import type { Place } from '@sayiir/bench'
import { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { consumed, local } from './place.ts'

export function connect({ url, namespace, workload }: Place): Promise<DynamoDBBackend> {
  return DynamoDBBackend.connect({
    ...local(url),
    keyPrefix: namespace,
    // Asked for where it is shown only: telling costs a little.
    ...(workload === 'COST' || workload === 'S6'
      ? {
          onConsumedCapacity: ({ read, write }) => {
            consumed.read += read
            consumed.write += write
            consumed.requests += 1
          },
        }
      : undefined),
  })
}
