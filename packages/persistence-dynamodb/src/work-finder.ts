import { isOpen, isUnreadable, type WorkRequest } from '@sayiir/persistence-core/adapter'
import type { Attributes } from './expressions.ts'
import type { InstanceStore, Known, Parts } from './instance-store.ts'
import { HEAD } from './keys.ts'
import { markedClassOf } from './markers.ts'
import type { TaskClass } from './task-class.ts'
import { ifReadable } from './unreadable.ts'
import { type Candidate, type Hint, WorkScan } from './work-scan.ts'

/** Keys of a page of an index at least: half a read unit, or one where the instances come with them. */
const MIN_PAGE = 25
const MIN_WHOLE_PAGE = 10
/** Keys of a page of an index at most. */
const MAX_PAGE = 250
/** Instances that are read at a time: at least, and at most. */
const MIN_READ = 4
const READ_AT_ONCE = 100
/** Instances that one look hands over to be taken care of. */
const MAX_DUE = 100

/** What a look for work came to. */
export interface Look {
  readonly now: number
  /** Best first. */
  readonly candidates: readonly Candidate[]
  /** See `Dispatched` of the engine. */
  readonly due: readonly string[]
  /** When something becomes due that is not yet; null: nothing is known of. */
  readonly nextDueAt: number | null
  /** Whether there is nothing more to find. */
  readonly isComplete: boolean
  /** Whether everything was looked at, not only the classes that were known. */
  readonly isWhole: boolean
}

/** How far a look goes. */
export interface Extent {
  /** Tasks that are wanted, those that the worker failed itself aside. */
  readonly need: number
  /** Tasks that may be brought besides, where they are at hand. */
  readonly ahead: number
  /** Whether the last whole look was just now: then only if the classes known have too few, the rest is looked at. */
  readonly isRefill?: boolean
  /** Whether what the index has of instances will do, since a claim decides: it lags more than what is read. */
  readonly isForClaims?: boolean
}

/** A part of an index that is read from its front. */
interface Front {
  readonly partition: string
  /** Null: instances to look at whatever the worker serves. */
  readonly of: TaskClass | null
  start: Attributes | null
  /** What is behind has this rank or a worse one. */
  rank: number
  isDone: boolean
}

/**
 * Looks for work: the fronts of the index partitions of the classes that a worker serves, a page
 * each, whatever else is pending (rule D8). What an index says is only a hint, as it lags behind;
 * the instances themselves are read, and a claim is decided by the compare-and-set.
 */
export class WorkFinder {
  readonly #parts: Parts
  readonly #instances: InstanceStore
  readonly #agingIntervalMs: number
  readonly #shards: () => number

  constructor(
    parts: Parts,
    instances: InstanceStore,
    {
      agingIntervalMs,
      shards,
    }: { readonly agingIntervalMs: number; readonly shards: () => number },
  ) {
    this.#parts = parts
    this.#instances = instances
    this.#agingIntervalMs = agingIntervalMs
    this.#shards = shards
  }

  /** Looks until enough is found, or there is no more. */
  async look(request: Pick<WorkRequest, 'filter' | 'workerId'>, extent: Extent): Promise<Look> {
    const scan = new WorkScan(request, this.#agingIntervalMs, this.#instances.now)
    const { classes } = this.#parts
    const ready = (of: readonly TaskClass[]): Front[] =>
      of.flatMap((one) => this.#fronts((shard) => this.#parts.keys.ready(shard, one.id), one))
    const known = classes.served(request.filter)
    const fronts = ready(known)
    const page = Math.ceil(extent.ahead / Math.max(fronts.length, 1))
    const isForClaims = extent.isForClaims === true
    const least = isForClaims ? MIN_WHOLE_PAGE : MIN_PAGE
    const limit = { keys: Math.min(Math.max(page, least), MAX_PAGE), isForClaims }
    if (extent.isRefill === true) await this.#readPages(fronts, limit, scan)
    else {
      fronts.push(...this.#fronts((shard) => this.#parts.keys.due(shard), null))
      // Classes that others have just made are not waited for before the known ones are looked at.
      const late = classes.refresh().then(async () => {
        const ids = new Set(known.map(({ id }) => id))
        const more = ready(classes.served(request.filter).filter(({ id }) => !ids.has(id)))
        await this.#readPages(more, limit, scan)
        return more
      })
      const [, more] = await Promise.all([this.#readPages(fronts, limit, scan), late])
      fronts.push(...more)
    }
    for (;;) {
      const open = fronts.filter(({ isDone }) => !isDone)
      const ranks = open.flatMap(({ of, rank }) => (of === null ? [] : [rank]))
      await this.#readInstances(scan, extent.ahead, Math.min(...ranks))
      if (scan.count >= extent.need || open.length === 0) break
      await this.#readPages(open, limit, scan)
    }
    if (extent.isRefill === true && scan.count < extent.need)
      return this.look(request, { ...extent, isRefill: false })
    return {
      now: scan.now,
      candidates: scan.ranked(),
      due: [...scan.due].slice(0, MAX_DUE),
      nextDueAt: scan.nextDueAt,
      isComplete: fronts.every(({ isDone }) => isDone) && scan.hints.length === 0,
      isWhole: extent.isRefill !== true,
    }
  }

  #fronts(partition: (shard: number) => string, of: TaskClass | null): Front[] {
    return this.#shardList().map((shard) => ({
      partition: partition(shard),
      of,
      start: null,
      rank: -Infinity,
      isDone: false,
    }))
  }

  #shardList(): number[] {
    return Array.from({ length: this.#shards() }, (_, shard) => shard)
  }

  async #readPages(
    fronts: readonly Front[],
    { keys, isForClaims }: { readonly keys: number; readonly isForClaims: boolean },
    scan: WorkScan,
  ): Promise<void> {
    await Promise.all(
      fronts.map(async (front) => {
        const { items, next } = await this.#parts.service.query({
          IndexName: 'work',
          KeyConditionExpression: 'wp = :p',
          ExpressionAttributeValues: { ':p': { S: front.partition } },
          Limit: front.of === null ? Math.max(keys, MIN_PAGE) : keys,
          ...(front.start === null ? undefined : { ExclusiveStartKey: front.start }),
        })
        front.start = next
        front.isDone = next === null
        for (const entry of items) {
          const { p, s, ws } = entry
          const time = Math.floor(Number(ws?.N))
          if (time > scan.now) {
            scan.nextDueAt = Math.min(scan.nextDueAt ?? time, time)
            front.isDone = true
            break
          }
          const instanceId = this.#parts.keys.instanceIdOf(p?.S ?? '')
          const item = isForClaims ? ifReadable(() => this.#instances.seenInIndex(entry)) : null
          front.rank = scan.hint({ instanceId, s: s?.S ?? '', of: front.of, item }, time)
        }
      }),
    )
  }

  /** Reads instances that were hinted at, the best first, none past `rank`, until enough was found. */
  async #readInstances(scan: WorkScan, want: number, rank: number): Promise<void> {
    for (;;) {
      const missing = want - scan.count
      // Those to be looked at anyway come first: their rank is not known before.
      const hints = scan.take(
        Math.min(Math.max(missing, MIN_READ), READ_AT_ONCE),
        missing <= 0 ? -Infinity : rank,
      )
      if (hints.length === 0) return
      const { found, unreadable } = await this.#knownOf(hints)
      for (const hint of hints) {
        if (unreadable.has(hint.instanceId)) continue
        this.#judge(scan, hint, found.get(hint.instanceId) ?? null)
      }
    }
  }

  /**
   * The instances that were hinted at, read where the index had them not. Those that can not be read
   * are left where they are: they must hold up no others.
   */
  async #knownOf(hints: readonly Hint[]): Promise<{
    readonly found: ReadonlyMap<string, Known>
    readonly unreadable: ReadonlySet<string>
  }> {
    const items = new Map(
      hints.flatMap(({ instanceId, item }) => (item === null ? [] : [[instanceId, item]])),
    )
    const unreadable = new Set<string>()
    const missing = new Set(
      hints.map(({ instanceId }) => instanceId).filter((id) => !items.has(id)),
    )
    if (missing.size > 0) {
      const keys = Array.from(missing, (instanceId) => this.#parts.keys.head(instanceId))
      for (const attributes of await this.#parts.service.getMany(keys)) {
        const item = ifReadable(() => this.#instances.seen(attributes))
        if (item !== null) items.set(item.instanceId, item)
        else unreadable.add(this.#parts.keys.instanceIdOf(attributes.p?.S ?? ''))
      }
    }
    const found = new Map<string, Known>()
    await Promise.all(
      Array.from(items.values(), async (item) => {
        if (item.isTombstone) return
        try {
          const state = await this.#instances.decode(item)
          if (state !== null) found.set(item.instanceId, { item, state })
        } catch (error) {
          if (!isUnreadable(error)) throw error
          unreadable.add(item.instanceId)
        }
      }),
    )
    return { found, unreadable }
  }

  #judge(scan: WorkScan, hint: Hint, known: Known | null): void {
    const { instanceId, of, s } = hint
    if (known === null) {
      const classId = markedClassOf(s)
      if (classId !== null) this.#removeMarker(instanceId, classId, null, scan.now)
      return
    }
    const isUseful = scan.judge(known, of)
    if (isUseful) return
    const classId = markedClassOf(s)
    if (classId !== null && !known.state.markers.has(classId)) {
      this.#removeMarker(instanceId, classId, known, scan.now)
    } else if (isStillThere(known, hint, this.#parts)) {
      this.#instances.later(() => this.#instances.refile(instanceId))
    }
  }

  #removeMarker(instanceId: string, classId: string, known: Known | null, now: number): void {
    this.#instances.later(async () => {
      const current = known === null ? await this.#instances.read(instanceId) : known
      await this.#parts.markers.removeStale(instanceId, classId, current?.item ?? null, now)
    })
  }
}

/** Whether the instance stands in the index as the hint said, so that it is not the index that lags. */
function isStillThere({ item, state }: Known, { s, of }: Hint, { keys }: Parts): boolean {
  if (s !== HEAD) return true
  const partition = item.attributes.wp?.S
  if (of === null) return keys.isDue(partition)
  return keys.isReady(partition) && partition?.endsWith(`#${of.id}`) === true && isOpen(state)
}
