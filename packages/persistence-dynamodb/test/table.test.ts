import {
  CreateTableCommand,
  DeleteTableCommand,
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb'
import {
  cloudFormationTemplate,
  DynamoDBBackend,
  tableDefinition,
  terraformResource,
} from '@sayiir/persistence-dynamodb'
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { Keys } from '../src/keys.ts'
import { classOf } from '../src/task-class.ts'
import { atTask, namespace, open } from './namespace.ts'
import { client, place } from './process.ts'

/** A table of the test's own. */
function tableName(): string {
  const name = namespace()
  onTestFinished(async () => {
    const admin = client(inject('dynamodb').url)
    await admin.send(new DeleteTableCommand({ TableName: name })).catch(() => {})
    admin.destroy()
  })
  return name
}

/** Keys and indexes as lines that both languages and the API can be brought to. */
interface Shape {
  readonly attributes: readonly string[]
  readonly keys: readonly string[]
}

function shapeOf(definition: ReturnType<typeof tableDefinition>): Shape {
  const keys = (schema: typeof definition.KeySchema) =>
    (schema ?? []).map(({ AttributeName }) => AttributeName).join()
  return {
    attributes: (definition.AttributeDefinitions ?? [])
      .map(({ AttributeName, AttributeType }) => `${AttributeName}:${AttributeType}`)
      .sort(),
    keys: [
      `:${keys(definition.KeySchema)}`,
      ...(definition.GlobalSecondaryIndexes ?? []).map(
        ({ IndexName, KeySchema, Projection }) =>
          `${IndexName}:${keys(KeySchema)}:${Projection?.ProjectionType}:${Projection?.NonKeyAttributes ?? ''}`,
      ),
    ],
  }
}

function shapeOfCloudFormation(text: string): Shape {
  const attributes = text.matchAll(/AttributeName: (\w+), AttributeType: (\w)/g)
  const [table = '', ...indexes] = text.split('- IndexName: ')
  const keys = (part: string) =>
    [...part.matchAll(/AttributeName: (\w+), KeyType: \w+/g)].map(([, name]) => name).join()
  return {
    attributes: [...attributes].map(([, name, type]) => `${name}:${type}`).sort(),
    keys: [
      `:${keys(table)}`,
      ...indexes.map((part) => {
        const [, type, names = ''] =
          /ProjectionType: (\w+)(?:, NonKeyAttributes: \[([^\]]*)\])?/.exec(part) ?? []
        return `${part.split('\n')[0]}:${keys(part)}:${type}:${names.replaceAll(' ', '')}`
      }),
    ],
  }
}

function shapeOfTerraform(text: string): Shape {
  const value = (part: string, name: string) =>
    new RegExp(`\\b${name}\\s*= (?:"([^"]*)"|\\[([^\\]]*)\\])`).exec(part)?.slice(1).join('') ?? ''
  const [table = '', ...indexes] = text.split('global_secondary_index')
  const attributes = [...text.matchAll(/attribute \{\s*name = "(\w+)"\s*type = "(\w)"/g)]
  return {
    attributes: attributes.map(([, name, type]) => `${name}:${type}`).sort(),
    keys: [
      `:${value(table, 'hash_key')},${value(table, 'range_key')}`,
      ...indexes.map((part) => {
        const names = value(part, 'non_key_attributes').replaceAll(/[" ]/g, '')
        return `${value(part, 'name')}:${value(part, 'hash_key')},${value(part, 'range_key')}:${value(part, 'projection_type')}:${names}`
      }),
    ],
  }
}

describe('the table as text', () => {
  test('is the one that createTable makes', () => {
    const made = shapeOf(tableDefinition('any'))
    expect(made.keys).toHaveLength(2)
    expect(shapeOfCloudFormation(cloudFormationTemplate('any'))).toEqual(made)
    expect(shapeOfTerraform(terraformResource('any'))).toEqual(made)
    for (const text of [cloudFormationTemplate('a.table'), terraformResource('a.table')]) {
      expect(text).toContain('a.table')
      expect(text).toContain('PAY_PER_REQUEST')
      expect(text).toContain('ttl')
    }
  })

  test('takes no name that is none', () => {
    expect(() => cloudFormationTemplate('a b')).toThrow(TypeError)
    expect(() => terraformResource('"')).toThrow(TypeError)
  })
})

describe('setting up', () => {
  test('M4 many at once on no table make it once, on demand, with its time to live', async () => {
    const name = tableName()
    const backends = await Promise.all(
      Array.from({ length: 6 }, () => open({ tableName: name, keyPrefix: 'a' })),
    )
    await backends[0]?.saveSnapshot(atTask('i'))
    expect((await backends[5]?.loadSnapshot('i'))?.revision).toBe(1)
    const admin = client(inject('dynamodb').url)
    const { Table } = await admin.send(new DescribeTableCommand({ TableName: name }))
    expect(Table?.BillingModeSummary?.BillingMode).toBe('PAY_PER_REQUEST')
    const ttl = await admin.send(new DescribeTimeToLiveCommand({ TableName: name }))
    expect(ttl.TimeToLiveDescription?.AttributeName).toBe('ttl')
    admin.destroy()
  })

  test('createTable: false takes a table that is there, and SCHEMA where there is none', async () => {
    const name = tableName()
    const options = { ...place(inject('dynamodb').url), tableName: name, createTable: false }
    await expect(DynamoDBBackend.connect(options)).rejects.toMatchObject({ code: 'SCHEMA' })
    const admin = client(inject('dynamodb').url)
    await admin.send(new CreateTableCommand(tableDefinition(name)))
    admin.destroy()
    const backend = await DynamoDBBackend.connect(options)
    await backend.saveSnapshot(atTask('i'))
    await backend.checkHealth()
    await backend.close()
  })

  test('another program’s table is SCHEMA, and left as it is', async () => {
    const name = tableName()
    const admin = client(inject('dynamodb').url)
    await admin.send(
      new CreateTableCommand({
        TableName: name,
        BillingMode: 'PAY_PER_REQUEST',
        AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
        KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
      }),
    )
    await expect(open({ tableName: name })).rejects.toMatchObject({ code: 'SCHEMA' })
    const { Table } = await admin.send(new DescribeTableCommand({ TableName: name }))
    expect(Table?.ItemCount).toBe(0)
    admin.destroy()
  })

  test('data of a newer version is SCHEMA', async () => {
    const keyPrefix = namespace()
    const backend = await open({ keyPrefix })
    const admin = client(inject('dynamodb').url)
    await admin.send(
      new UpdateItemCommand({
        TableName: 'sayiir',
        Key: { p: { S: `${keyPrefix}#META` }, s: { S: 'M' } },
        UpdateExpression: 'SET v = :v',
        ExpressionAttributeValues: { ':v': { N: '99' } },
      }),
    )
    admin.destroy()
    await expect(open({ keyPrefix })).rejects.toMatchObject({ code: 'SCHEMA' })
    await expect(backend.checkHealth()).rejects.toMatchObject({ code: 'SCHEMA' })
  })

  test('the number of shards may be raised and lowered while there is work', async () => {
    const keyPrefix = namespace()
    const ids: string[] = []
    for (const shards of [1, 8, 2]) {
      const backend = await open({ keyPrefix, shards })
      for (let index = 0; index < 10; index += 1) {
        ids.push(`${shards}-${index}`)
        await backend.saveSnapshot(atTask(`${shards}-${index}`))
      }
    }
    const last = await open({ keyPrefix, shards: 2 })
    const listed = await Array.fromAsync(last.listSnapshots(), ({ instanceId }) => instanceId)
    expect(listed).toEqual(ids.toSorted())
    const claimed = await last.claimAvailableTasks({ workerId: 'w', limit: 100, ttlMs: 60_000 })
    expect(claimed.map(({ task }) => task.instanceId).toSorted()).toEqual(ids.toSorted())
  })

  test('no partition takes all writes: instances are spread over the shards of the index and the directory', async () => {
    const keyPrefix = namespace()
    const keys = new Keys(keyPrefix)
    const shards = 4
    const backend = await open({ keyPrefix, shards })
    const admin = client(inject('dynamodb').url)
    onTestFinished(() => admin.destroy())
    const countIn = async (key: 'p' | 'wp', partitions: readonly string[]): Promise<number[]> =>
      Promise.all(
        partitions.map(async (partition) => {
          const { Count = 0 } = await admin.send(
            new QueryCommand({
              TableName: 'sayiir',
              IndexName: key === 'wp' ? 'work' : undefined,
              KeyConditionExpression: '#p = :p',
              ExpressionAttributeNames: { '#p': key },
              ExpressionAttributeValues: { ':p': { S: partition } },
              Select: 'COUNT',
            }),
          )
          return Count
        }),
      )
    const each = (of: (shard: number) => string) => Array.from({ length: shards }, (_, n) => of(n))
    const ids = Array.from({ length: 100 }, (_, index) => `order-${index}`)
    await Promise.all(ids.map((id) => backend.saveSnapshot(atTask(id))))
    const { id: classId } = classOf('definition', { tags: [], priority: 3 })
    const counts = [
      await countIn(
        'wp',
        each((shard) => keys.ready(shard, classId)),
      ),
      await countIn(
        'p',
        each((shard) => keys.list(shard)),
      ),
    ]
    await backend.claimAvailableTasks({ workerId: 'w', limit: 100, ttlMs: 60_000 })
    counts.push(
      await countIn(
        'wp',
        each((shard) => keys.due(shard)),
      ),
    )
    for (const spread of counts) {
      expect(spread.reduce((sum, count) => sum + count, 0)).toBe(100)
      for (const count of spread) expect(count).toBeGreaterThan(10)
    }
  })
})
