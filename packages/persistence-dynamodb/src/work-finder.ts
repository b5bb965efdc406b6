import {
  compareIds,
  type DispatchEntry,
  isFree,
  isLive,
  isOpen,
  isServed,
  orderKey,
  TIMER_TASK_ID,
  type WorkRequest,
} from '@sayiir/persistence-core/adapter'
import type { State } from './instance-item.ts'
import type { InstanceStore, Known, Parts } from './instance-store.ts'
import { HEAD } from './keys.ts'
import { markedClassOf } from './markers.ts'
import type { Attributes } from './service.ts'
import type { TaskClass } from './task-class.ts'

/** Keys of a page of an index at least: half a read unit. */
const MIN_PAGE = 25
/** Keys of a page of an index at most. */
const MAX_PAGE = 250
/** Instances that are read at a time: at least, and at most. */
const MIN_READ = 4
const READ_AT_ONCE = 100
/** Instances that one look hands over to be taken care of. */
const MAX_DUE = 100

/** A task that a worker can have. */
export interface Candidate {
  readonly known: Known
  readonly entry: DispatchEntry
  /** Whether this worker failed it last: it comes after all others (rule D4). */
  readonly isOwnFailure: boolean
  readonly rank: number
}

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
}

/** A part of an index that is read from its front. */
interface Front {
  readonly index: 'ready' | 'due'
  readonly partition: string
  /** Null: instances to look at whatever the worker serves. */
  readonly of: TaskClass | null
  start: Attributes | null
  isDone: boolean
}

/** A key that an index gave. */
interface Hint {
  readonly instanceId: string
  /** Sort key of the item that stands in the index. */
  readonly s: string
  readonly of: TaskClass | null
  readonly rank: number
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

  /** Looks until `want` tasks are found, those that the worker failed itself aside, or there are no more. */
  async look(request: Pick<WorkRequest, 'filter' | 'workerId'>, want: number): Promise<Look> {
    const scan = new Scan(request, this.#agingIntervalMs, this.#instances.now)
    const page = Math.min(Math.max(want, MIN_PAGE), MAX_PAGE)
    const fronts: Front[] = this.#shardList().map((shard) => ({
      index: 'due',
      partition: this.#parts.keys.due(shard),
      of: null,
      start: null,
      isDone: false,
    }))
    const known = new Set<string>()
    const add = (classes: readonly TaskClass[]): Front[] => {
      const fresh = classes.filter(({ id }) => !known.has(id))
      for (const { id } of fresh) known.add(id)
      return fresh.flatMap((of) =>
        this.#shardList().map(
          (shard): Front => ({
            index: 'ready',
            partition: this.#parts.keys.ready(shard, of.id),
            of,
            start: null,
            isDone: false,
          }),
        ),
      )
    }
    fronts.push(...add(this.#parts.classes.served(request.filter)))
    // Classes that others have just made are not waited for before the known ones are looked at.
    const late = this.#parts.classes.refresh().then(async () => {
      const more = add(this.#parts.classes.served(request.filter))
      await this.#readPages(more, page, scan)
      return more
    })
    const [, more] = await Promise.all([this.#readPages(fronts, page, scan), late])
    fronts.push(...more)
    for (;;) {
      await this.#readInstances(scan, want)
      const open = fronts.filter(({ isDone }) => !isDone)
      if (scan.count >= want || open.length === 0) {
        return {
          now: scan.now,
          candidates: scan.ranked(),
          due: [...scan.due].slice(0, MAX_DUE),
          nextDueAt: scan.nextDueAt,
          isComplete: open.length === 0 && scan.hints.length === 0,
        }
      }
      await this.#readPages(open, page, scan)
    }
  }

  #shardList(): number[] {
    return Array.from({ length: this.#shards() }, (_, shard) => shard)
  }

  async #readPages(fronts: readonly Front[], limit: number, scan: Scan): Promise<void> {
    await Promise.all(
      fronts.map(async (front) => {
        const [hash, range] = front.index === 'ready' ? ['rp', 'rs'] : ['dp', 'ds']
        const { items, next } = await this.#parts.service.query({
          IndexName: front.index,
          KeyConditionExpression: `${hash} = :p`,
          ExpressionAttributeValues: { ':p': { S: front.partition } },
          Limit: limit,
          ...(front.start === null ? undefined : { ExclusiveStartKey: front.start }),
        })
        front.start = next
        front.isDone = next === null
        for (const { p, s, [range as string]: key } of items) {
          const time = Math.floor(Number(key?.N))
          if (time > scan.now) {
            scan.nextDueAt = Math.min(scan.nextDueAt ?? time, time)
            front.isDone = true
            break
          }
          const instanceId = this.#parts.keys.instanceIdOf(p?.S ?? '')
          scan.hint({ instanceId, s: s?.S ?? '', of: front.of }, time)
        }
      }),
    )
  }

  /** Reads instances that were hinted at, the best first, until enough was found. */
  async #readInstances(scan: Scan, want: number): Promise<void> {
    while (scan.hints.length > 0) {
      const missing = want - scan.count
      // Those to be looked at anyway come first: their rank is not known before.
      if (missing <= 0 && scan.hints[0]?.of !== null) return
      const hints = scan.take(Math.min(Math.max(missing, MIN_READ), READ_AT_ONCE))
      const keys = [...new Set(hints.map(({ instanceId }) => instanceId))].map((instanceId) =>
        this.#parts.keys.head(instanceId),
      )
      const found = new Map<string, Known>()
      await Promise.all(
        (await this.#parts.service.getMany(keys)).map(async (attributes) => {
          const item = this.#instances.seen(attributes)
          if (item.isTombstone) return
          const state = await this.#instances.decode(item)
          if (state !== null) found.set(item.instanceId, { item, state })
        }),
      )
      for (const hint of hints) this.#judge(scan, hint, found.get(hint.instanceId) ?? null)
    }
  }

  #judge(scan: Scan, hint: Hint, known: Known | null): void {
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
  const { dp, rp } = item.attributes
  if (of === null) return dp !== undefined
  return rp?.S?.endsWith(`#${of.id}`) === true && rp.S.startsWith(keys.prefix) && isOpen(state)
}

/** What one look has come to so far. */
class Scan {
  readonly now: number
  readonly due = new Set<string>()
  nextDueAt: number | null = null
  /** Best first; those without a class before all. */
  hints: Hint[] = []
  readonly #request: Pick<WorkRequest, 'filter' | 'workerId'>
  readonly #agingIntervalMs: number
  readonly #candidates: Candidate[] = []
  readonly #hinted = new Set<string>()
  readonly #judged = new Map<string, boolean>()
  #isSorted = true

  constructor(
    request: Pick<WorkRequest, 'filter' | 'workerId'>,
    agingIntervalMs: number,
    now: number,
  ) {
    this.#request = request
    this.#agingIntervalMs = agingIntervalMs
    this.now = now
  }

  /** Tasks found that the worker did not fail itself. */
  get count(): number {
    return this.#candidates.reduce((sum, { isOwnFailure }) => sum + (isOwnFailure ? 0 : 1), 0)
  }

  hint(hint: Omit<Hint, 'rank'>, time: number): void {
    const name = `${hint.of?.id ?? ''}#${hint.instanceId}`
    if (this.#hinted.has(name)) return
    this.#hinted.add(name)
    const rank =
      hint.of === null
        ? -Infinity
        : orderKey({ availableSince: time, priority: hint.of.priority }, this.#agingIntervalMs)
    this.hints.push({ ...hint, rank })
    this.#isSorted = false
  }

  take(count: number): Hint[] {
    if (!this.#isSorted) this.hints.sort((a, b) => a.rank - b.rank || 0)
    this.#isSorted = true
    return this.hints.splice(0, count)
  }

  /** Adds what an instance has to offer; whether the hint led to anything. */
  judge(known: Known, of: TaskClass | null): boolean {
    const { instanceId } = known.item
    const before = this.#judged.get(instanceId)
    if (before !== undefined) return before
    const isUseful = this.#add(known) || (of === null && this.#isEarly(known.state))
    this.#judged.set(instanceId, isUseful)
    return isUseful
  }

  ranked(): Candidate[] {
    return this.#candidates.sort(
      (a, b) =>
        Number(a.isOwnFailure) - Number(b.isOwnFailure) ||
        a.rank - b.rank ||
        a.entry.availableSince - b.entry.availableSince ||
        compareIds(a.known.item.instanceId, b.known.item.instanceId) ||
        compareIds(a.entry.taskId, b.entry.taskId),
    )
  }

  #add(known: Known): boolean {
    const { filter, workerId } = this.#request
    const { head, entries, cancel, pause } = known.state
    const { status } = head.state
    const isBusy = entries.some(({ claim }) => isLive(claim, this.now))
    if (cancel !== null || pause !== null) {
      if (isBusy) return false
      this.due.add(head.instanceId)
      return true
    }
    if (status !== 'in-progress') return false
    let isUseful = false
    for (const entry of entries) {
      if (!isFree(entry, this.now)) continue
      if (entry.taskId === TIMER_TASK_ID) {
        this.due.add(head.instanceId)
        isUseful = true
      } else if (isServed(filter, head.definitionHash, entry.tags)) {
        const isOwnFailure = entry.lastFailedWorker !== null && entry.lastFailedWorker === workerId
        const rank = orderKey(entry, this.#agingIntervalMs)
        this.#candidates.push({ known, entry, isOwnFailure, rank })
        isUseful = true
      }
    }
    return isUseful
  }

  /** Whether a claim is about to expire: the index has it a little early. */
  #isEarly({ entries }: State): boolean {
    const expiries = entries.flatMap(({ claim }) =>
      isLive(claim, this.now) && claim.expiresAt !== null ? [claim.expiresAt] : [],
    )
    if (expiries.length === 0) return false
    const expiry = Math.min(...expiries)
    this.nextDueAt = Math.min(this.nextDueAt ?? expiry, expiry)
    // With expired ones besides, it has to be put back for those who serve them.
    return entries.every(({ claim }) => claim === null || isLive(claim, this.now))
  }
}
