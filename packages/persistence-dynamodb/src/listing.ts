import type { SnapshotSummary } from '@sayiir/persistence-core'
import { isEnded, type ListPage } from '@sayiir/persistence-core/adapter'
import type { DirectoryEntry } from './directory.ts'
import type { Attributes } from './expressions.ts'
import { InstanceItem } from './instance-item.ts'
import type { Parts } from './instance-store.ts'

/** Instances that are read at a time where only some of them are wanted. */
const READ_AT_ONCE = 400
/** Ended instances of a shard and a status up to which they are looked for in the index. */
const FEW = 500

/** Ids in their order. */
interface Ids {
  /** The next ones; fewer than `count` only at the end. */
  take(count: number): Promise<readonly Id[]>
}

/** An instance that may be there. */
interface Id {
  readonly instanceId: string
  /** Null: it is not known from the directory. */
  readonly entry: DirectoryEntry | null
}

/**
 * A page of all instances by id. Their ids come from the directory, or from the index where those
 * are wanted that have ended and there are few; then the instances themselves are read.
 */
export async function list(
  parts: Parts,
  shards: number,
  page: ListPage,
): Promise<SnapshotSummary[]> {
  const isFiltered = page.statuses !== null || page.definitionHashes !== null
  const ids = (await fewEnded(parts, shards, page)) ?? new DirectoryIds(parts, shards, page)
  const summaries: SnapshotSummary[] = []
  for (;;) {
    const missing = page.limit - summaries.length
    const count = isFiltered ? Math.max(missing, READ_AT_ONCE) : missing
    const wanted = await ids.take(count)
    summaries.push(...(await summarize(parts, wanted, page)))
    if (summaries.length >= page.limit) return summaries.slice(0, page.limit)
    if (wanted.length < count) return summaries
  }
}

/** Those that have ended so; null: others are wanted too, or there are many. */
async function fewEnded(
  { service, keys }: Parts,
  shards: number,
  { start, inclusive, statuses }: ListPage,
): Promise<Ids | null> {
  if (statuses === null || !statuses.every(isEnded)) return null
  const pages = await Promise.all(
    keys.allEnded(shards, statuses).map((partition) =>
      service.query({
        IndexName: 'work',
        KeyConditionExpression: 'wp = :p',
        ExpressionAttributeValues: { ':p': { S: partition } },
        Limit: FEW,
      }),
    ),
  )
  if (pages.some(({ next }) => next !== null)) return null
  // The index may lag, and have one in two places.
  const found = new Set(
    pages.flatMap(({ items }) => items.map(({ p }) => keys.instanceIdOf(p?.S ?? ''))),
  )
  const ids = [...found]
    .filter((id) => start === null || compare(id, start) >= (inclusive ? 0 : 1))
    .sort(compare)
    .map((instanceId): Id => ({ instanceId, entry: null }))
  return {
    take: async (count) => ids.splice(0, count),
  }
}

/** One shard's part of a listing, read ahead by a page. */
interface Lane {
  readonly shard: number
  /** Ascending. */
  waiting: readonly DirectoryEntry[]
  /** Those of them that have been taken. */
  taken: number
  start: Attributes | null
  isDone: boolean
}

/** The ids of the directory, its shards merged. */
class DirectoryIds implements Ids {
  readonly #parts: Parts
  readonly #page: ListPage
  readonly #lanes: readonly Lane[]

  constructor(parts: Parts, shards: number, page: ListPage) {
    this.#parts = parts
    this.#page = page
    this.#lanes = Array.from({ length: shards }, (_, shard) => ({
      ...{ shard, waiting: [], taken: 0, start: null, isDone: false },
    }))
  }

  async take(count: number): Promise<Id[]> {
    const ids: Id[] = []
    const lanes = this.#lanes
    const limit = Math.ceil(count / lanes.length) + 1
    while (ids.length < count) {
      const empty = lanes.filter((lane) => lane.taken === lane.waiting.length && !lane.isDone)
      if (empty.length > 0) await Promise.all(empty.map((lane) => this.#fill(lane, limit)))
      let first: Lane | null = null
      for (const lane of lanes) {
        const id = idOf(lane)
        if (id === undefined) continue
        if (first === null || compare(id, idOf(first) ?? '') < 0) first = lane
      }
      const entry = first?.waiting[first.taken]
      if (first === null || entry === undefined) {
        // A page may be empty, and others follow.
        if (lanes.every(({ isDone }) => isDone)) break
        continue
      }
      // A lane whose next page is not there yet may have what comes first.
      if (lanes.some((lane) => idOf(lane) === undefined && !lane.isDone)) continue
      first.taken += 1
      ids.push({ instanceId: entry.instanceId, entry })
    }
    return ids
  }

  async #fill(lane: Lane, limit: number): Promise<void> {
    const { start: from, inclusive } = this.#page
    const { entries, next } = await this.#parts.directory.page(lane.shard, {
      ...{ from, inclusive, start: lane.start, limit },
    })
    lane.waiting = entries
    lane.taken = 0
    lane.start = next
    lane.isDone = next === null
  }
}

function idOf({ waiting, taken }: Lane): string | undefined {
  return waiting[taken]?.instanceId
}

async function summarize(
  { service, keys, directory }: Parts,
  ids: readonly Id[],
  { statuses, definitionHashes }: ListPage,
): Promise<SnapshotSummary[]> {
  const items = await service.getMany(
    ids.map(({ instanceId }) => keys.head(instanceId)),
    { consistent: true },
  )
  const found = items
    .map((attributes) => new InstanceItem(keys.instanceIdOf(attributes.p?.S ?? ''), attributes))
    .filter((item) => !item.isTombstone)
  if (found.length < ids.length) {
    // Its writer died, or is at it just now.
    const there = new Set(found.map(({ instanceId }) => instanceId))
    await directory.removeStale(
      ids.flatMap(({ instanceId, entry }) =>
        entry === null || there.has(instanceId) ? [] : [entry],
      ),
    )
  }
  return found
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
