import { BatchWriteItemCommand, GetItemCommand } from '@aws-sdk/client-dynamodb'
import { createSnapshot } from '@sayiir/persistence-core'
import { type ConsumedCapacity, DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { startService } from '@sayiir/services'
import { Keys, shardOf } from '../src/keys.ts'
import { clientOf, local } from './place.ts'

/**
 * What a claim consumes with few and with many pending (rule D8), in capacity units:
 * `node --conditions=@sayiir/source bench/depth.ts 1000 200000`.
 */
const depths = process.argv.slice(2).map(Number)
const SHARDS = 4
const service = await startService('dynamodb')
const client = clientOf(service.url)
const keys = new Keys('depth')
let consumed: ConsumedCapacity[] = []
const backend = await DynamoDBBackend.connect({
  ...local(service.url),
  keyPrefix: keys.prefix,
  shards: SHARDS,
  onConsumedCapacity: (one) => void consumed.push(one),
})
try {
  await backend.saveSnapshot(
    createSnapshot({
      instanceId: 'first',
      definitionHash: 'definition',
      initialInput: new Uint8Array(200),
      position: { kind: 'at-task', taskId: 'a' },
    }),
  )
  const { p, s } = keys.head('first')
  const { Item: item = {} } = await client.send(
    new GetItemCommand({ TableName: 'sayiir', Key: { p: { S: p }, s: { S: s } } }),
  )
  const classId = item.rp?.S?.split('#').at(-1) ?? ''
  let pending = 0
  for (const depth of depths) {
    await fill(depth)
    // What is remembered of the last look is forgotten by then.
    await new Promise((resolve) => setTimeout(resolve, 1500))
    consumed = []
    const claimed = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 60_000 })
    if (claimed.length !== 1) throw new Error('nothing was claimed')
    const read = consumed.reduce((sum, one) => sum + one.read, 0)
    const write = consumed.reduce((sum, one) => sum + one.write, 0)
    console.log(`${depth} pending: ${read} read units, ${write} write units`)
  }

  async function fill(depth: number): Promise<void> {
    const batches: number[] = []
    for (; pending < depth; pending += 25) batches.push(pending)
    const work = async (): Promise<void> => {
      for (let first = batches.pop(); first !== undefined; first = batches.pop()) {
        const from = first
        await client.send(
          new BatchWriteItemCommand({
            RequestItems: {
              sayiir: Array.from({ length: 25 }, (_, index) => ({
                PutRequest: { Item: clone(`n${from + index}`) },
              })),
            },
          }),
        )
      }
    }
    await Promise.all([work(), work(), work(), work()])
  }

  function clone(instanceId: string) {
    const shard = shardOf(instanceId, SHARDS)
    return {
      ...item,
      p: { S: keys.instance(instanceId) },
      rp: { S: keys.ready(shard, classId) },
      lp: { S: keys.list(shard) },
    }
  }
} finally {
  await backend.close()
  client.destroy()
  await service.stop()
}
