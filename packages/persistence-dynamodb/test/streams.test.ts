import { DeleteTableCommand, UpdateTableCommand } from '@aws-sdk/client-dynamodb'
import type { Next } from '@sayiir/persistence-core'
import { type StreamRecordLike, tellsOfWork } from '@sayiir/persistence-dynamodb'
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { atTask, namespace, open } from './namespace.ts'
import { client, place } from './process.ts'

const LONG_MS = 600_000
const HOUR_MS = 3_600_000

/** A request to DynamoDB Local's streams, which asks for no signature. */
async function streams<T>(operation: string, input: object): Promise<T> {
  const reply = await fetch(inject('dynamodb').url, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': `DynamoDBStreams_20120810.${operation}`,
      authorization:
        'AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0',
    },
    body: JSON.stringify(input),
  })
  return (await reply.json()) as T
}

/** The records of a stream that came since this was last called. */
class Stream {
  readonly #arn: string
  #seen = 0

  constructor(arn: string) {
    this.#arn = arn
  }

  async next(): Promise<StreamRecordLike[]> {
    const { StreamDescription } = await streams<{
      StreamDescription: { Shards: { ShardId: string }[] }
    }>('DescribeStream', { StreamArn: this.#arn })
    const records: StreamRecordLike[] = []
    for (const { ShardId } of StreamDescription.Shards) {
      let { ShardIterator } = await streams<{ ShardIterator: string | undefined }>(
        'GetShardIterator',
        { StreamArn: this.#arn, ShardId, ShardIteratorType: 'TRIM_HORIZON' },
      )
      for (let isEmpty = false; ShardIterator !== undefined && !isEmpty; ) {
        const page: { Records: StreamRecordLike[]; NextShardIterator?: string } = await streams(
          'GetRecords',
          { ShardIterator },
        )
        records.push(...page.Records)
        isEmpty = page.Records.length === 0
        ShardIterator = page.NextShardIterator
      }
    }
    const fresh = records.slice(this.#seen)
    this.#seen = records.length
    return fresh
  }
}

/** A table with a stream of what was and what is, and options to reach it. */
async function streamed() {
  const tableName = namespace()
  const options = { ...place(inject('dynamodb').url), tableName, keyPrefix: namespace() }
  const backend = await open(options)
  const admin = client(inject('dynamodb').url)
  onTestFinished(async () => {
    await admin.send(new DeleteTableCommand({ TableName: tableName }))
    admin.destroy()
  })
  const { TableDescription } = await admin.send(
    new UpdateTableCommand({
      TableName: tableName,
      StreamSpecification: { StreamEnabled: true, StreamViewType: 'NEW_AND_OLD_IMAGES' },
    }),
  )
  const stream = new Stream(TableDescription?.LatestStreamArn ?? expect.fail())
  return { backend, options, stream }
}

describe('records of the table’s stream', () => {
  test('tell of work that becomes available, and of nothing else', async () => {
    const { backend, options, stream } = await streamed()
    const tells = async (work: () => Promise<unknown>): Promise<boolean> => {
      await work()
      const records = await stream.next()
      expect(records.length).toBeGreaterThan(0)
      expect(records.some((record) => tellsOfWork(record, 'another'))).toBe(false)
      return records.some((record) => tellsOfWork(record, options.keyPrefix))
    }
    const claimOne = async () => {
      const params = { workerId: 'w', limit: 1, ttlMs: LONG_MS }
      const [one] = await backend.claimAvailableTasks(params)
      return one ?? expect.fail()
    }
    expect(await tells(() => backend.saveSnapshot(atTask('i')))).toBe(true)
    let work = await claimOne()
    expect(await tells(async () => undefined)).toBe(false)
    expect(await tells(() => backend.renewTaskClaim(work.claim, LONG_MS))).toBe(false)
    expect(await tells(() => backend.releaseTaskClaim(work.claim))).toBe(true)
    work = await claimOne()
    await stream.next()
    const commit = (next: Next, claimNext?: { readonly ttlMs: number }) =>
      backend.commitTask({
        claim: work.claim,
        outcome: { kind: 'completed', output: new Uint8Array(3), next },
        ...(claimNext === undefined ? undefined : { claimNext }),
      })
    const toTask = (taskId: string): Next => ({ position: { kind: 'at-task', taskId } })
    expect(await tells(() => commit(toTask('b')))).toBe(true)
    work = await claimOne()
    await stream.next()
    expect(
      await tells(async () => {
        const { next } = await commit(toTask('c'), { ttlMs: LONG_MS })
        work = next ?? expect.fail()
      }),
    ).toBe(false)
    expect(await tells(() => commit({ finalOutput: new Uint8Array(1) }))).toBe(false)
    expect(await tells(() => backend.deleteSnapshot('i'))).toBe(false)
  })

  test('say yes where they do not tell enough', () => {
    const keys = (s: string) => ({ p: { S: 'sayiir#I#i' }, s: { S: s } })
    const wp = { S: 'sayiir#R#0#x' }
    expect(tellsOfWork({ eventName: 'MODIFY', dynamodb: { Keys: keys('H') } })).toBe(true)
    expect(tellsOfWork({ eventName: 'INSERT', dynamodb: { Keys: keys('M#x') } })).toBe(true)
    expect(
      tellsOfWork({ eventName: 'MODIFY', dynamodb: { Keys: keys('H'), NewImage: { wp } } }),
    ).toBe(true)
    expect(tellsOfWork({ eventName: 'REMOVE', dynamodb: { Keys: keys('H') } })).toBe(false)
    expect(tellsOfWork({ eventName: 'INSERT', dynamodb: { Keys: keys('T#x#a') } })).toBe(false)
    expect(tellsOfWork({})).toBe(false)
  })

  test('D9 wake those who wait, long before their pause is over', async () => {
    const { backend, options, stream } = await streamed()
    const waiting = await open({
      ...options,
      pollIntervalMs: HOUR_MS,
      maxPollIntervalMs: HOUR_MS,
    })
    const wait = waiting.waitForWakeup({ timeoutMs: HOUR_MS })
    // Once it has looked, nothing but a notification makes it look again within the hour.
    await waiting.findAvailableTasks({ workerId: 'w', limit: 1 })
    await backend.saveSnapshot(atTask('i'))
    const records = await stream.next()
    expect(waiting.notify(records.filter(({ eventName }) => eventName === 'REMOVE'))).toBe(false)
    expect(waiting.notify(records)).toBe(true)
    expect(await wait).toMatchObject({ instanceId: 'i', taskId: 'a' })
    expect(waiting.notify()).toBe(true)
  })
})
