import type { SnapshotSummary } from '@sayiir/persistence-core'
import type { ListPage } from '@sayiir/persistence-core/adapter'
import type { Attributes } from './expressions.ts'
import { codeOf, InstanceItem } from './instance-item.ts'
import type { Parts } from './instance-store.ts'

/** One shard's part of a listing, read ahead by a page. */
interface Lane {
  readonly partition: string
  /** Partition keys of instances, ascending. */
  waiting: string[]
  start: Attributes | null
  isDone: boolean
}

/** A page of all instances by id: the shards of the index merged, then the instances themselves read. */
export async function list(
  parts: Parts,
  shards: number,
  page: ListPage,
): Promise<SnapshotSummary[]> {
  const { keys } = parts
  const lanes = Array.from(
    { length: shards },
    (_, shard): Lane => ({
      partition: keys.list(shard),
      waiting: [],
      start: null,
      isDone: false,
    }),
  )
  const summaries: SnapshotSummary[] = []
  for (;;) {
    const wanted: string[] = []
    const missing = page.limit - summaries.length
    while (wanted.length < missing) {
      await Promise.all(
        lanes
          .filter(({ waiting, isDone }) => waiting.length === 0 && !isDone)
          .map((lane) => fill(parts, lane, page, Math.ceil(missing / shards) + 1)),
      )
      const [first] = lanes
        .filter(({ waiting }) => waiting.length > 0)
        .sort((a, b) => compare(a.waiting[0] ?? '', b.waiting[0] ?? ''))
      const next = first?.waiting.shift()
      if (next === undefined) break
      wanted.push(next)
    }
    summaries.push(...(await summarize(parts, wanted, page)))
    if (summaries.length === page.limit || wanted.length < missing) return summaries
  }
}

async function fill(
  { service, keys }: Parts,
  lane: Lane,
  { start, inclusive, statuses, definitionHashes }: ListPage,
  limit: number,
): Promise<void> {
  const values: Record<string, { S: string }> = { ':l': { S: lane.partition } }
  if (start !== null) values[':start'] = { S: keys.instance(start) }
  const filters: string[] = []
  const among = (attribute: string, wanted: readonly string[]): void => {
    const names = wanted.map((value, index) => {
      values[`:${attribute}${index}`] = { S: value }
      return `:${attribute}${index}`
    })
    filters.push(`${attribute} IN (${names.join(', ')})`)
  }
  if (statuses !== null) among('st', statuses.map(codeOf))
  // What does not fit into an expression is looked at when the instances are read.
  if (definitionHashes !== null && definitionHashes.length <= 50) among('dh', definitionHashes)
  const { items, next } = await service.query({
    IndexName: 'list',
    KeyConditionExpression:
      start === null ? 'lp = :l' : `lp = :l AND p ${inclusive ? '>=' : '>'} :start`,
    ExpressionAttributeValues: values,
    ...(filters.length === 0 ? undefined : { FilterExpression: filters.join(' AND ') }),
    ...(lane.start === null ? undefined : { ExclusiveStartKey: lane.start }),
    Limit: filters.length === 0 ? limit : 1000,
  })
  lane.waiting = items.map(({ p }) => p?.S ?? '')
  lane.start = next
  lane.isDone = next === null
}

async function summarize(
  { service, keys }: Parts,
  partitions: readonly string[],
  { statuses, definitionHashes }: ListPage,
): Promise<SnapshotSummary[]> {
  const items = await service.getMany(
    partitions.map((p) => ({ p, s: 'H' })),
    { consistent: true },
  )
  return items
    .map((attributes) => new InstanceItem(keys.instanceIdOf(attributes.p?.S ?? ''), attributes))
    .filter((item) => !item.isTombstone)
    .map(summaryOf)
    .filter(
      ({ status, definitionHash }) =>
        (statuses === null || statuses.includes(status)) &&
        (definitionHashes === null || definitionHashes.includes(definitionHash)),
    )
    .sort((a, b) => compare(a.instanceId, b.instanceId))
}

function summaryOf({ instanceId, attributes, status }: InstanceItem): SnapshotSummary {
  const { dh, r, ca, ua } = attributes
  return {
    instanceId,
    definitionHash: dh?.S ?? '',
    status,
    revision: Number(r?.N),
    createdAt: Number(ca?.N),
    updatedAt: Number(ua?.N),
  }
}

/** By UTF-8 bytes, as the service sorts. */
function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
