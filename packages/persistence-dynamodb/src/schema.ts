import { setTimeout as sleep } from 'node:timers/promises'
import type {
  CreateTableCommandInput,
  DescribeTableCommandOutput,
  TableDescription,
} from '@aws-sdk/client-dynamodb'
import { BackendError } from '@sayiir/persistence-core'
import type { Keys } from './keys.ts'
import { WHOLE } from './packing.ts'
import type { Service } from './service.ts'

/** One more with every change of the stored form that an older version would misread. */
const FORMAT = 1

/** The attribute by which the service deletes what has been left behind, whenever it comes to it. */
export const TTL_ATTRIBUTE = 'ttl'

/** Milliseconds that a table may take to be made. */
const CREATING_MS = 60_000

/** The table, as `CreateTable` takes it: on demand, and one index, since each makes every write dearer. */
export function tableDefinition(tableName: string): CreateTableCommandInput {
  return {
    TableName: tableName,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: [
      { AttributeName: 'p', AttributeType: 'S' },
      { AttributeName: 's', AttributeType: 'S' },
      { AttributeName: 'wp', AttributeType: 'S' },
      { AttributeName: 'ws', AttributeType: 'N' },
    ],
    KeySchema: [
      { AttributeName: 'p', KeyType: 'HASH' },
      { AttributeName: 's', KeyType: 'RANGE' },
    ],
    GlobalSecondaryIndexes: [
      {
        IndexName: 'work',
        KeySchema: [
          { AttributeName: 'wp', KeyType: 'HASH' },
          { AttributeName: 'ws', KeyType: 'RANGE' },
        ],
        Projection: { ProjectionType: 'INCLUDE', NonKeyAttributes: [WHOLE] },
      },
    ],
  }
}

/**
 * Makes sure that the table is there and of a form that this version knows; makes it if it may.
 *
 * @throws `SCHEMA`.
 */
export async function setUp(
  service: Service,
  keys: Keys,
  { createTable, shards }: { readonly createTable: boolean; readonly shards: number },
): Promise<void> {
  const table = await describe(service)
  if (table === null) {
    if (!createTable) throw missing(service.tableName)
    await create(service)
    await awaitActive(service, await describe(service))
    await expire(service)
  } else await awaitActive(service, table)
  await agree(service, keys, shards)
}

/** Throws `SCHEMA` unless the table is there and this version's. */
export async function checkSchema(service: Service, keys: Keys): Promise<void> {
  const table = await describe(service)
  if (table === null) throw missing(service.tableName)
  checkTable(table)
  const meta = await service.get(keys.meta)
  checkFormat(meta?.v?.N)
}

/** How many shards the indexes have, or once had: all must be looked at. */
export async function readShards(service: Service, keys: Keys): Promise<number> {
  const meta = await service.get(keys.meta)
  return Number(meta?.n?.N ?? 1)
}

async function describe(service: Service): Promise<TableDescription | null> {
  try {
    const reply = await service.send<DescribeTableCommandOutput>('DescribeTable', {
      TableName: service.tableName,
    })
    return reply.Table ?? null
  } catch (error) {
    if (BackendError.is(error, 'SCHEMA')) return null
    throw error
  }
}

async function create(service: Service): Promise<void> {
  try {
    await service.send('CreateTable', tableDefinition(service.tableName))
  } catch (error) {
    // Another process was faster.
    if (
      (error as BackendError).cause instanceof Error &&
      nameOf(error) === 'ResourceInUseException'
    )
      return
    throw error
  }
}

async function awaitActive(service: Service, first: TableDescription | null): Promise<void> {
  const until = performance.now() + CREATING_MS
  let table = first
  for (;;) {
    if (table !== null) {
      checkTable(table)
      const indexes = table.GlobalSecondaryIndexes ?? []
      const isActive =
        table.TableStatus !== 'CREATING' &&
        indexes.every(({ IndexStatus }) => IndexStatus !== 'CREATING')
      if (isActive) break
    }
    if (performance.now() > until) {
      throw new BackendError('UNAVAILABLE', `table ${service.tableName} is still being made`)
    }
    await sleep(200)
    table = await describe(service)
  }
}

/** Leftovers expire; that this is so is a convenience, so where it may not be set it stays as it is. */
async function expire(service: Service): Promise<void> {
  try {
    await service.send('UpdateTimeToLive', {
      TableName: service.tableName,
      TimeToLiveSpecification: { AttributeName: TTL_ATTRIBUTE, Enabled: true },
    })
  } catch (error) {
    // Already so, or not allowed: `prune` sweeps as well.
    if (!BackendError.is(error, 'BACKEND')) throw error
  }
}

function checkTable({ TableName, KeySchema, GlobalSecondaryIndexes }: TableDescription): void {
  const wanted = tableDefinition(TableName ?? '')
  const have = new Map(
    (GlobalSecondaryIndexes ?? []).map((index) => [index.IndexName, namesOf(index.KeySchema)]),
  )
  have.set('', namesOf(KeySchema))
  for (const { IndexName, KeySchema: schema } of [
    { IndexName: '', KeySchema: wanted.KeySchema },
    ...(wanted.GlobalSecondaryIndexes ?? []),
  ]) {
    if (have.get(IndexName) !== namesOf(schema)) {
      const what = IndexName === '' ? 'its keys are' : `its index ${IndexName} is missing or`
      throw new BackendError('SCHEMA', `table ${TableName} is another program’s: ${what} not ours`)
    }
  }
}

function namesOf(schema: TableDescription['KeySchema']): string {
  return (schema ?? []).map(({ AttributeName }) => AttributeName).join()
}

/** Leaves the format and the greatest number of shards for all who come later. */
async function agree(service: Service, keys: Keys, shards: number): Promise<void> {
  const meta = await service.get(keys.meta)
  if (meta !== null) checkFormat(meta.v?.N)
  if (Number(meta?.n?.N ?? 0) >= shards) return
  const result = await service.updateIf(
    keys.meta,
    { set: { v: { N: String(FORMAT) }, n: { N: String(shards) } }, remove: [] },
    { expression: 'attribute_not_exists(n) OR (n < :n AND v = :v)' },
  )
  if (!result.written) checkFormat(result.found?.v?.N)
}

function checkFormat(format: string | undefined): void {
  const version = Number(format)
  if (version === FORMAT) return
  throw new BackendError(
    'SCHEMA',
    version > FORMAT
      ? `the stored data has format ${version}, and only ${FORMAT} is known: it was written by a newer version; upgrade`
      : 'the stored data is not set up under this prefix; connect with createTable: true',
  )
}

function missing(tableName: string): BackendError {
  return new BackendError(
    'SCHEMA',
    `table ${tableName} is missing; create it, or connect with createTable: true`,
  )
}

function nameOf(error: unknown): string {
  return ((error as BackendError).cause as Error).name
}
