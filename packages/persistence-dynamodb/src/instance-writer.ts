import {
  type ClaimedEntry,
  type CommitRecord,
  type InstanceWrite,
  isEnded,
  isHeldBy,
} from '@sayiir/persistence-core/adapter'
import { claimOwn, mergeEntries, withoutLastToken } from './claims.ts'
import type { EventQueue } from './event-queue.ts'
import type { State, TailEntry } from './instance-item.ts'
import type { Basis, Change, InstanceStore, Known, Parts } from './instance-store.ts'
import { datedName } from './keys.ts'
import { sizeOf } from './packing.ts'
import { mergeTail } from './results.ts'

/** Bytes up to which the newest results may stay in an item of one write unit. */
const ITEM_BYTES = 1000
/** Bytes that names and numbers of a tail entry take, roughly. */
const ENTRY_BYTES = 60
/** Results of one write from which on they go to items of their own at once. */
const MANY_RESULTS = 16

/** The claim that comes with a commit. */
export type Next = NonNullable<CommitRecord['next']>

/** What became of a write. */
export interface Written {
  readonly now: number
  /** The task of the same instance that was claimed. */
  readonly own: ClaimedEntry | null
  /** What is there now. */
  readonly after: Known | null
}

/** Rule by rule what an engine's write makes of a stored instance. */
export class InstanceWriter {
  readonly #parts: Parts
  readonly #instances: InstanceStore
  readonly #events: EventQueue

  constructor(parts: Parts, instances: InstanceStore, events: EventQueue) {
    this.#parts = parts
    this.#instances = instances
    this.#events = events
  }

  /**
   * The compare-and-set of the contract; null: it was refused.
   *
   * @param next The claim of another instance's task that is made in the same round trip.
   */
  write(write: InstanceWrite, next: Next | null): Promise<Written | null> {
    return this.#instances.change<Written | null>(
      write.instanceId,
      (basis) => this.#decide(write, next, basis),
      { supposed: write.before === null ? 'absent' : 'cached' },
    )
  }

  async #decide(
    write: InstanceWrite,
    next: Next | null,
    { known, now, floor }: Basis,
  ): Promise<Change<Written | null>> {
    const refused = { next: null, answer: () => null }
    const { before, at, toleranceMs, holds } = write
    if (before === null ? known !== null : !isSame(known, before)) return refused
    if (Math.abs(now - at) > toleranceMs) return refused
    if (holds !== null) {
      const entry = known?.state.entries.find(({ taskId }) => taskId === holds.taskId)
      if (!isHeldBy(entry, holds)) return refused
    }
    const time = Math.max(now, at)
    const merged = mergeEntries(known?.state ?? null, write)
    const life = known?.state.life ?? datedName(now)
    const state: State = {
      ...write.after,
      ...merged,
      life,
      epoch: known?.state.epoch ?? life,
      // A tombstone keeps the last token of the life before (rule C3).
      token: known?.state.token ?? floor,
      tail: known?.state.tail ?? [],
      hasResults: known?.state.hasResults ?? false,
      hasEvents: known?.state.hasEvents ?? false,
      markers: known?.state.markers ?? new Map(),
    }
    const claimed = claimOwn(state, write, time)
    const record =
      write.commit === null
        ? null
        : recordOf(
            write.commit,
            claimed === null ? next : nextOf(write.instanceId, claimed.claimed),
          )
    return this.#withResults(claimed?.state ?? state, known, write, record, {
      now,
      own: claimed?.claimed ?? null,
      after: null,
    })
  }

  /** With what the write stores of results, records and events. */
  async #withResults(
    state: State,
    known: Known | null,
    write: InstanceWrite,
    record: CommitRecord | null,
    written: Written,
  ): Promise<Change<Written | null>> {
    const { instanceId, removedResults, results, commit } = write
    const { version, life } = state
    const removed = removedResults === 'all' ? [] : removedResults
    const news = mergeTail([
      ...removed.map((taskId): TailEntry => ({ taskId, version, result: null })),
      // A copy: the engine hands out what it gave here.
      ...results.map(({ taskId, order, output }) => ({
        taskId,
        version,
        result: { order, output: output.slice() },
      })),
      ...(commit === null || record === null ? [] : [{ taskId: commit.taskId, version, record }]),
      ...forgottenRecords(known?.state ?? null, state, write),
    ])
    const steps: (() => Promise<unknown>)[] = []
    const afterwards: (() => Promise<unknown>)[] = []
    let { tail, epoch, hasResults } = state
    const isNewSet = known === null || (removedResults === 'all' && (hasResults || tail.length > 0))
    if (isNewSet && known !== null) {
      const old = { epoch, tail }
      const records = hasResults ? await this.#parts.results.readRecords(instanceId, epoch) : []
      tail = mergeTail([
        ...records,
        ...tail.flatMap(({ taskId, version: of, record: kept }) =>
          kept === undefined ? [] : [{ taskId, version: of, record: kept }],
        ),
      ])
      epoch = `${life}~${datedName(written.now)}`
      hasResults = false
      afterwards.push(() => this.#parts.results.drop(instanceId, old.epoch, old.tail))
    }
    const all = mergeTail([...tail, ...news])
    if (isNewSet && all.length > MANY_RESULTS) {
      steps.push(() => this.#parts.results.putAll(instanceId, { life, epoch }, all))
      tail = []
      hasResults = true
    } else if (news.length > 0) {
      const room = ITEM_BYTES - sizeOf(known?.item.stored ?? {}) - bytesOf(news)
      const ends = isEnded(state.head.state.status)
      if (tail.length === 0 || room >= 0 || isNewSet || (ends && tail.length < MANY_RESULTS)) {
        tail = all
      } else {
        const moving = tail.filter((entry) => !isReplaced(entry, news))
        const of = epoch
        steps.push(() => this.#parts.results.move(instanceId, of, moving))
        tail = news
        hasResults = true
      }
    } else if (isNewSet) tail = all
    const events = await this.#events.changes(instanceId, state, write)
    return {
      next: {
        ...state,
        epoch,
        tail,
        hasResults,
        hasEvents: state.hasEvents || write.event !== null,
      },
      first: () => Promise.all(steps.map((step) => step())),
      ...(afterwards.length === 0
        ? undefined
        : { finally: () => Promise.all(afterwards.map((step) => step())) }),
      others: events,
      answer: (after) => ({ ...written, after }),
    }
  }

  /**
   * The claim that came with a commit, where that was not known when it was written.
   *
   * @param commit The task and token that were committed.
   */
  async noteNext({ after }: Written, commit: Next, next: Next): Promise<void> {
    const { instanceId, taskId, token } = commit
    const decide = ({ known }: Basis): Change<void> => {
      const nothing = { next: null, answer: () => undefined }
      const entry = known?.state.tail.find((one) => one.taskId === taskId)
      if (known === null || entry?.record == null || entry.record.token !== token) return nothing
      const { record } = entry
      const { state } = known
      const tail = state.tail.map((one) =>
        one === entry ? { ...entry, record: { ...record, next } } : one,
      )
      const isSame = next.instanceId === instanceId && next.taskId === taskId
      return {
        next: { ...(isSame ? withoutLastToken(state, taskId) : state), tail },
        answer: () => undefined,
      }
    }
    const supposed = after === null ? 'cached' : after.item
    await this.#instances.change(instanceId, decide, { supposed })
  }
}

function isSame(known: Known | null, before: NonNullable<InstanceWrite['before']>): boolean {
  return (
    known !== null &&
    known.state.generation === before.generation &&
    known.state.version === before.version
  )
}

function recordOf(
  { taskId: _, ...commit }: NonNullable<InstanceWrite['commit']>,
  next: Next | null,
): CommitRecord {
  return { ...commit, next }
}

function nextOf(instanceId: string, { taskId, claim: { token } }: ClaimedEntry): Next {
  return { instanceId, taskId, token }
}

/**
 * Records of commits before a claim that the write ends without a commit: since the task was
 * claimed, they no longer count.
 */
function forgottenRecords(
  before: State | null,
  { entries, lastTokens, version }: State,
  { commit }: InstanceWrite,
): TailEntry[] {
  if (before === null) return []
  const there = new Set(entries.map(({ taskId }) => taskId))
  return [...before.lastTokens.keys()]
    .filter((taskId) => taskId !== commit?.taskId)
    .filter((taskId) => !there.has(taskId) || !lastTokens.has(taskId))
    .filter(
      (taskId) =>
        before.hasResults || before.tail.some((entry) => entry.taskId === taskId && entry.record),
    )
    .map((taskId) => ({ taskId, version, record: null }))
}

/** Whether nothing of an entry is left once these are there. */
function isReplaced({ taskId, result, record }: TailEntry, news: readonly TailEntry[]): boolean {
  const entry = news.find((one) => one.taskId === taskId)
  return (
    entry !== undefined &&
    (result === undefined || entry.result !== undefined) &&
    (record === undefined || entry.record !== undefined)
  )
}

function bytesOf(entries: readonly TailEntry[]): number {
  return entries.reduce((size, { result }) => {
    const output = result?.output
    return size + ENTRY_BYTES + (output instanceof Uint8Array ? output.byteLength : 0)
  }, 0)
}
