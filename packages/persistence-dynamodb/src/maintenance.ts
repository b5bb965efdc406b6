import type {
  BackendStats,
  InstanceStatus,
  PruneParams,
  PruneResult,
} from '@sayiir/persistence-core'
import {
  ENDED_STATUSES,
  isEnded,
  isFree,
  isLive,
  isOpen,
  isUnreadable,
  TIMER_TASK_ID,
} from '@sayiir/persistence-core/adapter'
import type { Directory } from './directory.ts'
import type { Attributes } from './expressions.ts'
import { FRACTION, NEVER } from './index-keys.ts'
import type { InstanceItem } from './instance-item.ts'
import type { InstanceStore, Parts } from './instance-store.ts'
import type { Removal } from './removal.ts'
import { ifReadable } from './unreadable.ts'

/** Instances that are deleted at a time. */
const AT_ONCE = 8

/** Pruning, sweeping and counting. */
export class DynamoDBMaintenance {
  readonly #parts: Parts
  readonly #instances: InstanceStore
  readonly #removal: Removal
  readonly #shards: () => number

  constructor(parts: Parts, instances: InstanceStore, removal: Removal, shards: () => number) {
    this.#parts = parts
    this.#instances = instances
    this.#removal = removal
    this.#shards = shards
  }

  /** Rule M1; and sweeps up what died with its writer. */
  async prune(
    { endedBefore, statuses, limit, dryRun }: Required<PruneParams>,
    signal: AbortSignal | undefined,
  ): Promise<PruneResult> {
    const found: { readonly instanceId: string; readonly endedAt: number }[] = []
    await Promise.all(
      this.#parts.keys.allEnded(this.#shards(), statuses).map(async (partition) => {
        let left = limit + 1
        await this.#each(partition, {
          before: endedBefore,
          visit: ({ p, ws }) => {
            const instanceId = this.#parts.keys.instanceIdOf(p?.S ?? '')
            found.push({ instanceId, endedAt: Number(ws?.N) })
            left -= 1
            return left > 0
          },
        })
      }),
    )
    signal?.throwIfAborted()
    found.sort((a, b) => a.endedAt - b.endedAt)
    const chosen = found.slice(0, limit)
    const more = found.length > limit
    if (dryRun) return { deleted: chosen.length, more }
    // Of one that can not be read it is not known.
    const mayGo = (item: InstanceItem): boolean => {
      const status = ifReadable(() => item.status)
      const isWanted = status !== null && isEnded(status) && statuses.includes(status)
      return isWanted && Number(item.attributes.ua?.N) < endedBefore
    }
    let deleted = 0
    for (let first = 0; first < chosen.length; first += AT_ONCE) {
      signal?.throwIfAborted()
      const gone = await Promise.all(
        chosen
          .slice(first, first + AT_ONCE)
          .map(({ instanceId }) => this.#removal.remove(instanceId, mayGo)),
      )
      deleted += gone.filter(Boolean).length
    }
    await this.#removal.sweep(signal, this.#shards())
    await this.#parts.classes.forget((one) => this.#isEmpty(one.id))
    return { deleted, more }
  }

  /**
   * Counts over the index, so as far as that has come; forks and what is about to expire are read. What
   * is in the directory, and neither ended nor paused, is in progress.
   */
  async stats(): Promise<BackendStats> {
    const now = this.#instances.now
    const byStatus: Record<InstanceStatus, number> = {
      'in-progress': 0,
      completed: 0,
      failed: 0,
      cancelled: 0,
      paused: 0,
    }
    const count = { available: 0, claimed: 0, oldest: Infinity }
    /** Partitions of instances that the index alone does not tell enough of. */
    const unclear = new Set<string>()
    /** Those of them that may be paused. */
    const held = new Set<string>()
    const shards = this.#shardList()
    const classes = await this.#parts.classes.all()
    const { keys } = this.#parts
    const counted = (partition: string, status: InstanceStatus): Promise<void> =>
      this.#each(partition, {
        visit: () => {
          byStatus[status] += 1
          return true
        },
      })
    const settled = shards.flatMap((shard) => [
      ...ENDED_STATUSES.map((status) => counted(keys.ended(shard, status), status)),
      counted(keys.paused(shard), 'paused'),
    ])
    const listed = Promise.all(shards.map((shard) => this.#countListed(shard)))
    const ready = shards.flatMap((shard) =>
      classes.map(({ id }) =>
        this.#each(keys.ready(shard, id), {
          before: now + 1,
          visit: ({ p, ws }) => {
            const time = Number(ws?.N)
            if (time % 1 !== FRACTION.one) unclear.add(p?.S ?? '')
            else {
              count.available += 1
              count.oldest = Math.min(count.oldest, time)
            }
            return true
          },
        }),
      ),
    )
    const due = shards.map((shard) =>
      this.#each(keys.due(shard), {
        visit: ({ p, ws }) => {
          const time = Number(ws?.N)
          const isOneClaim = time % 1 === FRACTION.one && time > now && time <= NEVER
          if (isOneClaim) count.claimed += 1
          else if (time % 1 !== FRACTION.timer) {
            unclear.add(p?.S ?? '')
            held.add(p?.S ?? '')
          }
          return true
        },
      }),
    )
    await Promise.all([...settled, ...ready, ...due])
    const items = await this.#parts.service.getMany(
      [...unclear].map((p) => ({ p, s: 'H' })),
      { consistent: true },
    )
    for (const attributes of items) {
      try {
        const item = await this.#countTasks(attributes, now, count)
        const isPaused = !item.isTombstone && item.status === 'paused'
        if (isPaused && held.has(attributes.p?.S ?? '')) byStatus.paused += 1
      } catch (error) {
        // It is there, and no more is known of it.
        if (!isUnreadable(error)) throw error
      }
    }
    const all = (await listed).reduce((sum, one) => sum + one, 0)
    const others = byStatus.completed + byStatus.failed + byStatus.cancelled + byStatus.paused
    byStatus['in-progress'] = Math.max(0, all - others)
    return {
      byStatus,
      available: count.available,
      claimed: count.claimed,
      oldestAvailableAgeMs: count.oldest === Infinity ? null : now - count.oldest,
    }
  }

  async #countTasks(
    attributes: Attributes,
    now: number,
    count: { available: number; claimed: number; oldest: number },
  ): Promise<InstanceItem> {
    const item = this.#instances.seen(attributes)
    const state = item.isTombstone ? null : await this.#instances.decode(item)
    for (const entry of state?.entries ?? []) {
      if (isLive(entry.claim, now)) count.claimed += 1
      else if (
        state !== null &&
        isOpen(state) &&
        entry.taskId !== TIMER_TASK_ID &&
        isFree(entry, now)
      ) {
        count.available += 1
        count.oldest = Math.min(count.oldest, entry.availableSince)
      }
    }
    return item
  }

  async #countListed(shard: number): Promise<number> {
    let count = 0
    let start: Attributes | null = null
    do {
      const page: Awaited<ReturnType<Directory['page']>> = await this.#parts.directory.page(shard, {
        ...{ from: null, inclusive: false, start },
      })
      count += page.entries.length
      start = page.next
    } while (start !== null)
    return count
  }

  async #isEmpty(classId: string): Promise<boolean> {
    let isEmpty = true
    for (const shard of this.#shardList()) {
      await this.#each(this.#parts.keys.ready(shard, classId), {
        visit: () => {
          isEmpty = false
          return false
        },
      })
    }
    return isEmpty
  }

  /** Goes through a partition of the index until `visit` has had enough. */
  async #each(
    partition: string,
    options: { readonly before?: number; readonly visit: (item: Attributes) => boolean },
  ): Promise<void> {
    let start: Attributes | null = null
    do {
      const page: { readonly items: readonly Attributes[]; readonly next: Attributes | null } =
        await this.#parts.service.query({
          IndexName: 'work',
          KeyConditionExpression: `wp = :p${options.before === undefined ? '' : ' AND ws < :before'}`,
          ExpressionAttributeValues: {
            ':p': { S: partition },
            ...(options.before === undefined
              ? undefined
              : { ':before': { N: String(options.before) } }),
          },
          ...(start === null ? undefined : { ExclusiveStartKey: start }),
        })
      for (const item of page.items) if (!options.visit(item)) return
      start = page.next
    } while (start !== null)
  }

  #shardList(): number[] {
    return Array.from({ length: this.#shards() }, (_, shard) => shard)
  }
}
