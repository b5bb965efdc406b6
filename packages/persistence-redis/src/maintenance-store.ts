import type {
  BackendStats,
  PruneParams,
  PruneResult,
  SnapshotSummary,
} from '@sayiir/persistence-core'
import { compareIds, ENDED_STATUSES, type ListPage, pause } from '@sayiir/persistence-core/adapter'
import type { StoreContext } from './context.ts'
import type { Shard } from './layout.ts'
import { decodeSummary } from './records.ts'
import { statusCharacter } from './statuses.ts'
import { endedFrom, STATUS_STEP } from './write-args.ts'

/** Instances that one script removes at most. */
const PRUNE_BATCH = 50
/** Instances that one script looks at for a listing at most. */
const LIST_BATCH = 500

/** A part of a shard's listing. */
interface Part {
  readonly summaries: readonly SnapshotSummary[]
  /** The last id that was looked at; null at the end. */
  readonly last: string | null
}

/** Listings, pruning and numbers. */
export class MaintenanceStore {
  readonly #context: StoreContext

  constructor(context: StoreContext) {
    this.#context = context
  }

  async list(page: ListPage): Promise<readonly SnapshotSummary[]> {
    const listed = await Promise.all(
      this.#context.layout.shards.map((shard) => this.#listShard(shard, page)),
    )
    const [only] = listed
    if (only !== undefined && listed.length === 1) return only
    return listed
      .flat()
      .sort((a, b) => compareIds(a.instanceId, b.instanceId))
      .slice(0, page.limit)
  }

  async prune(
    { endedBefore, statuses, limit, dryRun }: Required<PruneParams>,
    signal: AbortSignal | undefined,
  ): Promise<PruneResult> {
    const ranges = [...new Set(statuses)].map((status) => {
      const from = endedFrom(status)
      return [from, from + endedBefore] as const
    })
    let deleted = 0
    for (const shard of this.#context.layout.shards) {
      for (;;) {
        signal?.throwIfAborted()
        const batch = Math.min(limit - deleted, PRUNE_BATCH)
        const { count, ids } = await this.#ended(shard, ranges, batch)
        if (dryRun) {
          deleted += count
          break
        }
        if (ids.length === 0) {
          if (count > 0) return { deleted, more: true }
          break
        }
        signal?.throwIfAborted()
        deleted += await this.#removeEnded(shard, ranges, ids)
        // Lets others in, an abort among them.
        await pause(0)
      }
    }
    return { deleted: Math.min(deleted, limit), more: deleted > limit }
  }

  async stats(): Promise<BackendStats> {
    const all = await Promise.all(this.#context.layout.shards.map((shard) => this.#statsOf(shard)))
    const sum = (index: number): number =>
      all.reduce((total, one) => total + Number(one[index] ?? 0), 0)
    const [instances, completed, failed, cancelled] = [sum(1), sum(2), sum(3), sum(4)]
    const paused = sum(5)
    const ages = all.flatMap((one) =>
      String(one[9]) === '' ? [] : [Number(one[8]) - Number(one[9])],
    )
    return {
      byStatus: {
        'in-progress': instances - completed - failed - cancelled - paused,
        paused,
        completed,
        failed,
        cancelled,
      },
      available: sum(6),
      claimed: sum(7),
      oldestAvailableAgeMs: ages.length === 0 ? null : Math.max(...ages),
    }
  }

  async #listShard(shard: Shard, page: ListPage): Promise<readonly SnapshotSummary[]> {
    const summaries: SnapshotSummary[] = []
    let start = page.start === null ? '-' : `${page.inclusive ? '[' : '('}${page.start}`
    for (;;) {
      const left = page.limit - summaries.length
      const part = await this.#listPart(shard, start, left, page)
      summaries.push(...part.summaries)
      if (part.last === null || summaries.length === page.limit) return summaries
      start = `(${part.last}`
    }
  }

  async #listPart(shard: Shard, start: string, limit: number, page: ListPage): Promise<Part> {
    const statuses = page.statuses?.map(statusCharacter) ?? null
    const [last = Buffer.alloc(0), ...listed] = (await this.#context.connection.run(
      'list',
      shard.keys,
      [
        start,
        statuses === null && page.definitionHashes === null
          ? Math.min(limit, LIST_BATCH)
          : LIST_BATCH,
        limit,
        ...listArguments(statuses),
        ...listArguments(page.definitionHashes),
      ],
    )) as Buffer[]
    const summaries: SnapshotSummary[] = []
    for (let index = 0; index + 1 < listed.length; index += 2) {
      const id = (listed[index] as Buffer).toString()
      summaries.push(decodeSummary(id, listed[index + 1] as Buffer))
    }
    return { summaries, last: last.length === 0 ? null : last.toString() }
  }

  async #ended(
    shard: Shard,
    ranges: readonly (readonly [number, number])[],
    limit: number,
  ): Promise<{ readonly count: number; readonly ids: readonly string[] }> {
    const [count, ids] = (await this.#context.connection.run('ended', shard.keys, [
      limit,
      ...ranges.flatMap(([from, to]) => [from, `(${to}`]),
    ])) as [number, Buffer[]]
    return { count, ids: ids.map((id) => id.toString()) }
  }

  async #removeEnded(
    shard: Shard,
    ranges: readonly (readonly [number, number])[],
    ids: readonly string[],
  ): Promise<number> {
    const keys = [...shard.keys, ...ids.map((id) => shard.results(id))]
    const args = [ranges.length, ...ranges.flat(), ...ids]
    return (await this.#context.connection.run('prune', keys, args)) as number
  }

  async #statsOf(shard: Shard): Promise<readonly unknown[]> {
    const ranges = ENDED_STATUSES.flatMap((status) => [
      endedFrom(status),
      endedFrom(status) + STATUS_STEP,
    ])
    for (;;) {
      const reply = (await this.#context.connection.run('stats', shard.keys, ranges)) as unknown[]
      if (reply[0] === 0) return reply
    }
  }
}

function listArguments(wanted: readonly string[] | null): (string | number)[] {
  return wanted === null ? [''] : [wanted.length, ...wanted]
}
