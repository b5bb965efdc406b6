import { randomUUID } from 'node:crypto'
import {
  BatchWriteItemCommand,
  ConditionalCheckFailedException,
  CreateTableCommand,
  DeleteTableCommand,
  type DynamoDBClient,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb'
import type { Floor, FloorJob, Place } from '@sayiir/bench'
import { clientOf, meter } from './place.ts'

interface Job extends FloorJob {
  readonly id: string
  readonly token: string
}

const LEASE_MS = 30_000
/** Jobs that are found by one query; workers of a process share them. */
const PAGE = 100

/**
 * The bare SDK: one conditional UpdateItem to claim and one to complete. Which jobs there are a
 * sparse index tells, a page of 100 at a time, in which each process begins somewhere else.
 */
class DynamoDBFloor implements Floor<Job> {
  readonly #client: DynamoDBClient
  readonly #table: string
  readonly #prefix = randomUUID().slice(0, 8)
  #enqueued = 0
  #found: { id: string; payload: string }[] = []
  #looking: Promise<void> | null = null

  constructor(client: DynamoDBClient, table: string) {
    this.#client = client
    this.#table = table
  }

  async create(): Promise<void> {
    await this.#client.send(
      new CreateTableCommand({
        TableName: this.#table,
        BillingMode: 'PAY_PER_REQUEST',
        AttributeDefinitions: [
          { AttributeName: 'id', AttributeType: 'S' },
          { AttributeName: 'queue', AttributeType: 'S' },
          { AttributeName: 'at', AttributeType: 'N' },
        ],
        KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
        GlobalSecondaryIndexes: [
          {
            IndexName: 'queue',
            KeySchema: [
              { AttributeName: 'queue', KeyType: 'HASH' },
              { AttributeName: 'at', KeyType: 'RANGE' },
            ],
            Projection: { ProjectionType: 'INCLUDE', NonKeyAttributes: ['payload'] },
          },
        ],
      }),
    )
  }

  async drop(): Promise<void> {
    await this.#client.send(new DeleteTableCommand({ TableName: this.#table }))
  }

  async fill(payloads: readonly string[]): Promise<void> {
    for (let first = 0; first < payloads.length; first += 25) {
      const requests = payloads
        .slice(first, first + 25)
        .map((payload) => ({ PutRequest: { Item: this.#item(payload) } }))
      await this.#client.send(
        new BatchWriteItemCommand({ RequestItems: { [this.#table]: requests } }),
      )
    }
  }

  enqueue(payload: string): Promise<unknown> {
    return this.#client.send(
      new PutItemCommand({ TableName: this.#table, Item: this.#item(payload) }),
    )
  }

  async claim(worker: string): Promise<Job | undefined> {
    for (;;) {
      const next = this.#found.pop()
      if (next === undefined) {
        await this.#look()
        if (this.#found.length === 0) return undefined
        continue
      }
      const job = await this.#claimOne(next, worker)
      if (job !== undefined) return job
    }
  }

  async complete({ id, token }: Job): Promise<void> {
    await this.#client.send(
      new UpdateItemCommand({
        TableName: this.#table,
        Key: { id: { S: id } },
        UpdateExpression: 'SET #status = :done REMOVE queue, #at',
        ConditionExpression: '#token = :token',
        ExpressionAttributeNames: { '#status': 'status', '#token': 'token', '#at': 'at' },
        ExpressionAttributeValues: { ':done': { S: 'done' }, ':token': { S: token } },
      }),
    )
  }

  async checkpoint({ id, token }: Job, outputs: readonly string[]): Promise<void> {
    await this.#client.send(
      new UpdateItemCommand({
        TableName: this.#table,
        Key: { id: { S: id } },
        UpdateExpression: 'SET outputs = :outputs',
        ConditionExpression: '#token = :token',
        ExpressionAttributeNames: { '#token': 'token' },
        ExpressionAttributeValues: {
          ':outputs': { S: JSON.stringify(outputs) },
          ':token': { S: token },
        },
      }),
    )
  }

  async remaining(): Promise<number> {
    let count = 0
    for (const queue of ['ready', 'claimed']) {
      let start: Record<string, never> | undefined
      do {
        const { Count = 0, LastEvaluatedKey } = await this.#client.send(
          new QueryCommand({
            TableName: this.#table,
            IndexName: 'queue',
            KeyConditionExpression: 'queue = :queue',
            ExpressionAttributeValues: { ':queue': { S: queue } },
            Select: 'COUNT',
            ExclusiveStartKey: start,
          }),
        )
        count += Count
        start = LastEvaluatedKey as Record<string, never> | undefined
      } while (start !== undefined)
    }
    return count
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy()
  }

  async #claimOne(
    { id, payload }: { id: string; payload: string },
    worker: string,
  ): Promise<Job | undefined> {
    const token = randomUUID()
    try {
      await this.#client.send(
        new UpdateItemCommand({
          TableName: this.#table,
          Key: { id: { S: id } },
          UpdateExpression:
            'SET queue = :claimed, #at = :expiry, #worker = :worker, #token = :token',
          ConditionExpression: 'queue = :ready',
          ExpressionAttributeNames: { '#at': 'at', '#worker': 'worker', '#token': 'token' },
          ExpressionAttributeValues: {
            ':ready': { S: 'ready' },
            ':claimed': { S: 'claimed' },
            ':expiry': { N: String(Date.now() + LEASE_MS) },
            ':worker': { S: worker },
            ':token': { S: token },
          },
        }),
      )
      return { id, token, payload }
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return undefined
      throw error
    }
  }

  #look(): Promise<void> {
    this.#looking ??= this.#query().finally(() => {
      this.#looking = null
    })
    return this.#looking
  }

  async #query(): Promise<void> {
    const { Items = [] } = await this.#client.send(
      new QueryCommand({
        TableName: this.#table,
        IndexName: 'queue',
        KeyConditionExpression: 'queue = :ready',
        ExpressionAttributeValues: { ':ready': { S: 'ready' } },
        Limit: PAGE,
      }),
    )
    this.#found = Items.map(({ id, payload }) => ({
      id: id?.S ?? '',
      payload: payload?.S ?? '',
    }))
    this.#found.sort(() => Math.random() - 0.5)
  }

  #item(payload: string) {
    this.#enqueued += 1
    return {
      id: { S: `${this.#prefix}-${this.#enqueued}` },
      payload: { S: payload },
      queue: { S: 'ready' },
      at: { N: String(Date.now()) },
    }
  }
}

export async function connect({ url, namespace, workload }: Place): Promise<Floor<Job>> {
  const client = clientOf(url)
  // Asked for where it is shown only: telling costs a little.
  if (workload === 'COST') meter(client)
  return new DynamoDBFloor(client, namespace)
}
