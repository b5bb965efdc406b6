import {
  type ClaimedEntry,
  type ClaimRequest,
  type CommitRecord,
  compareIds,
  type DispatchEntry,
  type Dispatched,
  type FoundTask,
  type HeldClaim,
  type InstanceWrite,
  isEnded,
  isFree,
  isHeldBy,
  isLive,
  isOpen,
  isServed,
  later,
  type OptimisticStore,
  orderKey,
  pause,
  prolonged,
  type StoredInstance,
  type StoredResult,
  TIMER_TASK_ID,
  type WorkRequest,
  type WriteResult,
} from '../src/adapter.ts'
import type { InstanceStatus, TaskClaimRef, TaskResult } from '../src/index.ts'
import { copyHead } from '../src/optimistic/hand-out.ts'

/** What one instance comes to in this store. */
interface Row {
  stored: StoredInstance
  readonly results: Map<string, StoredResult>
  events: { readonly signalName: string; readonly payload: Uint8Array }[]
  readonly eventIds: Set<string>
  readonly commits: Map<string, CommitRecord>
}

/** The simplest store that an OptimisticBackend can stand on: maps, and one step at a time. */
export class MapStore implements OptimisticStore {
  readonly rows: Map<string, Row> = new Map()
  /** Makes the next writes fail as if somebody else had been faster. */
  refusals = 0
  readonly #clock: () => number
  readonly #agingIntervalMs: number
  #token = 0

  constructor(clock: () => number, agingIntervalMs = 300_000) {
    this.#clock = clock
    this.#agingIntervalMs = agingIntervalMs
  }

  async now(): Promise<number> {
    return this.#clock()
  }

  async read(
    instanceId: string,
    event?: { readonly signalName: string; readonly eventId: string },
  ): Promise<{ now: number; stored: StoredInstance | null; isKnownEvent: boolean }> {
    const row = this.rows.get(instanceId)
    const isKnownEvent = event !== undefined && row?.eventIds.has(keyOf(event)) === true
    return { now: this.#clock(), stored: row?.stored ?? null, isKnownEvent }
  }

  async readWhole(
    instanceId: string,
  ): Promise<{ now: number; stored: StoredInstance; results: TaskResult[] } | null> {
    const row = this.rows.get(instanceId)
    if (row === undefined) return null
    const results = [...row.results.values()].sort((a, b) => a.order - b.order)
    return { now: this.#clock(), stored: row.stored, results: results.map(toResult) }
  }

  async readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): Promise<Map<string, Uint8Array> | null> {
    const row = this.rows.get(instanceId)
    if (row === undefined) return null
    return new Map(
      taskIds.flatMap((taskId) => {
        const result = row.results.get(taskId)
        return result === undefined ? [] : [[taskId, result.output.slice()] as const]
      }),
    )
  }

  async readEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    const events = this.rows.get(instanceId)?.events ?? []
    return events.find((event) => event.signalName === signalName)?.payload.slice() ?? null
  }

  async readCommit(instanceId: string, taskId: string): Promise<CommitRecord | null> {
    return this.rows.get(instanceId)?.commits.get(taskId) ?? null
  }

  async write(write: InstanceWrite): Promise<WriteResult> {
    const now = this.#clock()
    if (!this.#isAsExpected(write, now)) return { written: false, now }
    const { instanceId, before, after, commit, claimNext } = write
    const row: Row = this.rows.get(instanceId) ?? {
      stored: after,
      results: new Map(),
      events: [],
      eventIds: new Set(),
      commits: new Map(),
    }
    const { removedResults, results, takenEvent, event } = write
    if (removedResults === 'all') row.results.clear()
    else for (const taskId of removedResults) row.results.delete(taskId)
    for (const result of results) row.results.set(result.taskId, copyOf(result))
    if (takenEvent !== null) this.#take(row, takenEvent)
    if (event?.payload != null)
      row.events.push({ signalName: event.signalName, payload: event.payload })
    if (event?.eventId != null)
      row.eventIds.add(keyOf({ signalName: event.signalName, eventId: event.eventId }))
    row.stored = {
      ...after,
      head: write.plain === 'start' ? copyHead(after.head) : after.head,
      entries: entriesAfter(before === null ? [] : row.stored.entries, write),
    }
    if (isEnded(after.head.state.status)) {
      row.events = []
      row.eventIds.clear()
    }
    this.rows.set(instanceId, row)
    const next = claimNext === null ? null : this.#claimNext(instanceId, claimNext, now)
    if (commit !== null) {
      const { taskId, ...record } = commit
      row.commits.set(taskId, { ...record, next: next === null ? null : refOf(next) })
    }
    return { written: true, now, next, due: claimNext === null ? [] : this.#due(now) }
  }

  async takeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    const row = this.rows.get(instanceId)
    const payload = row === undefined ? null : this.#take(row, signalName)
    if (row === undefined || payload === null) return null
    const { version, queuedEvents } = row.stored
    row.stored = { ...row.stored, version: version + 1, queuedEvents: queuedEvents - 1 }
    return payload
  }

  async remove(instanceId: string): Promise<boolean> {
    return this.rows.delete(instanceId)
  }

  async claimTask({
    instanceId,
    taskId,
    workerId,
    ttlMs,
  }: Parameters<OptimisticStore['claimTask']>[0]): ReturnType<OptimisticStore['claimTask']> {
    const row = this.rows.get(instanceId)
    if (row === undefined) return { outcome: 'missing' }
    const now = this.#clock()
    const entry = row.stored.entries.find((one) => one.taskId === taskId)
    if (entry === undefined) return this.#isTimerDue(row, now) ? { outcome: 'timer' } : unavailable
    if (!isOpen(row.stored) || !isFree(entry, now)) return unavailable
    if (entry.timer) return { outcome: 'timer' }
    const { claim, stored } = this.#claim(row, entry, workerId, ttlMs, now)
    return { outcome: 'claimed', claim, ...(stored === undefined ? undefined : { stored }) }
  }

  async claimAvailable(request: ClaimRequest): Promise<Dispatched<ClaimedEntry>> {
    const now = this.#clock()
    const tasks = this.#best(request, now).map(({ row, entry }) =>
      this.#claim(row, entry, request.workerId, request.ttlMs, now),
    )
    return { now, tasks, due: this.#due(now) }
  }

  async findAvailable(request: WorkRequest): Promise<Dispatched<FoundTask>> {
    const now = this.#clock()
    const tasks = this.#best(request, now).map(({ row, entry }) => ({
      instanceId: row.stored.head.instanceId,
      taskId: entry.taskId,
      stored: row.stored,
    }))
    return { now, tasks, due: this.#due(now) }
  }

  async changeClaim(
    ref: TaskClaimRef,
    change: Parameters<OptimisticStore['changeClaim']>[1],
  ): Promise<HeldClaim | null> {
    const row = this.rows.get(ref.instanceId)
    const entry = row?.stored.entries.find(({ taskId }) => taskId === ref.taskId)
    const claim = entry?.claim
    if (row === undefined || entry === undefined || claim == null || !isHeldBy(entry, ref))
      return null
    if (change.kind === 'release') {
      setEntry(row, { ...entry, claim: null })
      return claim
    }
    const expiresAt = prolonged(claim.expiresAt, change, this.#clock())
    setEntry(row, { ...entry, claim: { ...claim, expiresAt } })
    return { ...claim, expiresAt }
  }

  async waitForWakeup(
    { timeoutMs, ...filter }: Parameters<OptimisticStore['waitForWakeup']>[0],
    signal: AbortSignal | undefined,
    closing: AbortSignal,
    takeCare: (due: readonly string[]) => Promise<boolean>,
  ): ReturnType<OptimisticStore['waitForWakeup']> {
    const end = performance.now() + timeoutMs
    for (;;) {
      signal?.throwIfAborted()
      if (closing.aborted) return null
      await takeCare(this.#due(this.#clock()))
      const [best] = this.#best({ filter, workerId: '', limit: 1 }, this.#clock())
      if (best !== undefined) {
        const { instanceId, definitionHash } = best.row.stored.head
        return { instanceId, taskId: best.entry.taskId, definitionHash }
      }
      const left = end - performance.now()
      if (left <= 0) return null
      await pause(Math.min(left, 5), signal, closing)
    }
  }

  async list({
    start,
    inclusive,
    limit,
    statuses,
    definitionHashes,
  }: Parameters<OptimisticStore['list']>[0]): ReturnType<OptimisticStore['list']> {
    return [...this.rows.values()]
      .map(({ stored }) => stored.head)
      .filter(({ instanceId }) => {
        const order = start === null ? 1 : compareIds(instanceId, start)
        return order > 0 || (inclusive && order === 0)
      })
      .filter(({ state }) => statuses?.includes(state.status) !== false)
      .filter(({ definitionHash }) => definitionHashes?.includes(definitionHash) !== false)
      .sort((a, b) => compareIds(a.instanceId, b.instanceId))
      .slice(0, limit)
      .map(({ instanceId, definitionHash, revision, createdAt, updatedAt, state }) => ({
        instanceId,
        definitionHash,
        status: state.status,
        revision,
        createdAt,
        updatedAt,
      }))
  }

  async prune(
    { endedBefore, statuses, limit, dryRun }: Parameters<OptimisticStore['prune']>[0],
    signal: AbortSignal | undefined,
  ): ReturnType<OptimisticStore['prune']> {
    const ended = [...this.rows.values()]
      .map(({ stored }) => stored.head)
      .filter(({ updatedAt }) => updatedAt < endedBefore)
      .filter(({ state }) => isEnded(state.status) && statuses.includes(state.status))
    const taken = ended.slice(0, limit)
    for (const [index, { instanceId }] of taken.entries()) {
      if (index % 10 === 0) await pause(0)
      signal?.throwIfAborted()
      if (!dryRun) this.rows.delete(instanceId)
    }
    return { deleted: taken.length, more: ended.length > limit }
  }

  async stats(): ReturnType<OptimisticStore['stats']> {
    const now = this.#clock()
    const byStatus: Record<InstanceStatus, number> = {
      'in-progress': 0,
      completed: 0,
      failed: 0,
      cancelled: 0,
      paused: 0,
    }
    let claimed = 0
    for (const { stored } of this.rows.values()) {
      byStatus[stored.head.state.status] += 1
      claimed += stored.entries.filter(({ claim }) => isLive(claim, now)).length
    }
    const all = this.#best({ filter: {}, workerId: '', limit: Infinity }, now)
    const oldest = Math.min(...all.map(({ entry }) => entry.availableSince))
    const oldestAvailableAgeMs = all.length === 0 ? null : now - oldest
    return { byStatus, available: all.length, claimed, oldestAvailableAgeMs }
  }

  async checkHealth(): Promise<void> {}

  async disconnect(): Promise<void> {}

  #isAsExpected({ instanceId, before, at, toleranceMs, holds }: InstanceWrite, now: number) {
    if (this.refusals > 0) {
      this.refusals -= 1
      return false
    }
    const stored = this.rows.get(instanceId)?.stored
    if (Math.abs(now - at) > toleranceMs) return false
    if (before === null || stored === undefined) return before === null && stored === undefined
    if (stored.generation !== before.generation || stored.version !== before.version) return false
    return (
      holds === null ||
      isHeldBy(
        stored.entries.find(({ taskId }) => taskId === holds.taskId),
        holds,
      )
    )
  }

  #take(row: Row, signalName: string): Uint8Array | null {
    const index = row.events.findIndex((event) => event.signalName === signalName)
    const [event] = index < 0 ? [] : row.events.splice(index, 1)
    return event?.payload ?? null
  }

  #claimNext(
    instanceId: string,
    { own, request }: NonNullable<InstanceWrite['claimNext']>,
    now: number,
  ): ClaimedEntry | null {
    const row = this.rows.get(instanceId) as Row
    const entry = row.stored.entries.find(({ taskId }) => taskId === own)
    if (entry !== undefined && isOpen(row.stored) && isFree(entry, now)) {
      const { stored: _, ...claimed } = this.#claim(
        row,
        entry,
        request.workerId,
        request.ttlMs,
        now,
      )
      return claimed
    }
    const [best] = this.#best(request, now)
    return best === undefined
      ? null
      : this.#claim(best.row, best.entry, request.workerId, request.ttlMs, now)
  }

  #claim(
    row: Row,
    entry: DispatchEntry,
    workerId: string,
    ttlMs: number | null,
    now: number,
  ): ClaimedEntry {
    this.#token += 1
    const expiresAt = ttlMs === null ? null : later(now, ttlMs)
    const claim = { workerId, token: this.#token, claimedAt: now, expiresAt }
    const deliveries = entry.deliveries + 1
    setEntry(row, { ...entry, claim, deliveries })
    row.commits.delete(entry.taskId)
    const { instanceId } = row.stored.head
    return { instanceId, taskId: entry.taskId, claim, deliveries, stored: row.stored }
  }

  #best(
    { filter, workerId, limit }: WorkRequest,
    now: number,
  ): { readonly row: Row; readonly entry: DispatchEntry }[] {
    const failed = (entry: DispatchEntry) => Number(entry.lastFailedWorker === workerId)
    const rank = (entry: DispatchEntry) => orderKey(entry, this.#agingIntervalMs)
    return [...this.rows.values()]
      .filter(({ stored }) => isOpen(stored))
      .flatMap((row) => row.stored.entries.map((entry) => ({ row, entry })))
      .filter(({ row, entry }) => isServed(filter, row.stored.head.definitionHash, entry.tags))
      .filter(({ entry }) => entry.taskId !== TIMER_TASK_ID && isFree(entry, now))
      .sort(
        (a, b) =>
          failed(a.entry) - failed(b.entry) ||
          rank(a.entry) - rank(b.entry) ||
          a.entry.availableSince - b.entry.availableSince ||
          compareIds(a.row.stored.head.instanceId, b.row.stored.head.instanceId) ||
          compareIds(a.entry.taskId, b.entry.taskId),
      )
      .slice(0, limit)
  }

  #due(now: number): string[] {
    return [...this.rows.entries()]
      .filter(([, row]) => {
        const { cancel, pause: pausing, entries } = row.stored
        if (cancel !== null || pausing !== null)
          return !entries.some(({ claim }) => isLive(claim, now))
        return this.#isTimerDue(row, now)
      })
      .map(([instanceId]) => instanceId)
      .slice(0, 100)
  }

  #isTimerDue({ stored }: Row, now: number): boolean {
    return (
      isOpen(stored) &&
      stored.entries.some((entry) => entry.taskId === TIMER_TASK_ID && isFree(entry, now))
    )
  }
}

const unavailable = { outcome: 'unavailable' } as const

function entriesAfter(
  stored: readonly DispatchEntry[],
  { entries: { removed, added, moved, released } }: InstanceWrite,
): DispatchEntry[] {
  const isGone = (taskId: string) =>
    removed.includes(taskId) || added.some((entry) => entry.taskId === taskId)
  const kept = stored
    .filter(({ taskId }) => !isGone(taskId))
    .map((entry) => {
      const place = moved.find(({ taskId }) => taskId === entry.taskId) ?? entry
      const claim = released.includes(entry.taskId) ? null : entry.claim
      return { ...place, claim, deliveries: entry.deliveries }
    })
  return [...kept, ...added]
}

function setEntry(row: Row, entry: DispatchEntry): void {
  const entries = row.stored.entries.map((one) => (one.taskId === entry.taskId ? entry : one))
  row.stored = { ...row.stored, entries }
}

function refOf({ instanceId, taskId, claim }: ClaimedEntry) {
  return { instanceId, taskId, token: claim.token }
}

function keyOf({ signalName, eventId }: { signalName: string; eventId: string }): string {
  return JSON.stringify([signalName, eventId])
}

function toResult({ taskId, output }: StoredResult): TaskResult {
  return { taskId, output: output.slice() }
}

function copyOf(result: StoredResult): StoredResult {
  return { ...result, output: result.output.slice() }
}
