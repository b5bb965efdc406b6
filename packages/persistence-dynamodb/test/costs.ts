import type { PersistentBackend } from '@sayiir/persistence-core'
import type { ConsumedCapacity } from '@sayiir/persistence-dynamodb'
import { namespace, open } from './namespace.ts'

/** What calls cost. */
export interface Costs {
  readonly write: number
  /** With the half unit that the service charges for a query that finds nothing, which DynamoDB Local does not. */
  readonly read: number
  readonly requests: readonly string[]
}

/** A backend, and a meter for what its calls consume. */
export async function openMetered(): Promise<{
  readonly backend: PersistentBackend
  measure(work: () => Promise<unknown>): Promise<Costs>
}> {
  let consumed: ConsumedCapacity[] = []
  const backend = await open({
    keyPrefix: namespace(),
    onConsumedCapacity: (one) => void consumed.push(one),
  })
  return {
    backend,
    async measure(work) {
      consumed = []
      await work()
      // What is done behind the scenes counts as well.
      await new Promise((resolve) => setTimeout(resolve, 100))
      return {
        write: consumed.reduce((sum, { write }) => sum + write, 0),
        read: consumed.reduce(
          (sum, { operation, read }) => sum + (operation === 'Query' ? Math.max(read, 0.5) : read),
          0,
        ),
        requests: consumed.map(({ operation }) => operation),
      }
    },
  }
}
