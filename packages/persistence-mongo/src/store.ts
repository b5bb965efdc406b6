import type { PruneParams, PruneResult } from '@sayiir/persistence-core'
import {
  type ClaimedEntry,
  type ClaimRequest,
  type InstanceWrite,
  isOpen,
  isServed,
  isUnreadable,
  type OptimisticStore,
  type WriteResult,
} from '@sayiir/persistence-core/adapter'
import { CommitRecords } from './commit-records.ts'
import type { Database } from './database.ts'
import { Dispatch } from './dispatch.ts'
import { KnownDocuments } from './known-documents.ts'
import { MongoMaintenance } from './maintenance.ts'
import type { CheckedOptions } from './options.ts'
import { Payloads } from './payloads.ts'
import { ReadyQueue } from './ready-queue.ts'
import { type EntryDoc, toClaim } from './records.ts'
import { Routes } from './routes.ts'
import { checkSchema } from './schema.ts'
import { MongoSignalStore } from './signal-store.ts'
import { MongoSnapshotStore } from './snapshot-store.ts'
import { Tails } from './tail.ts'
import { MongoTaskClaimStore } from './task-claim-store.ts'
import { MongoTaskResultStore } from './task-result-store.ts'
import { Upkeep } from './upkeep.ts'
import { Wakeups } from './wakeup.ts'
import { WriteQueue } from './write-queue.ts'

/** Milliseconds that a commit may be under way: a claim that ends within them is not searched beside. */
const CLAIM_MARGIN_MS = 2000

/** What a server can do, as it was found when the backend connected. */
export interface ServerFeatures {
  /** Whether it reads a sort off an index. */
  readonly isOrdered: boolean
  readonly hasStreams: boolean
  /** Whether an update of one document takes the first in an order. */
  readonly updatesInOrder: boolean
}

/** What a `MongoBackend` stands on: the parts of it, put together. */
export class MongoStore implements OptimisticStore {
  readonly #db: Database
  readonly #release: () => Promise<void>
  readonly #snapshots: MongoSnapshotStore
  readonly #results: MongoTaskResultStore
  readonly #commits: CommitRecords
  readonly #claims: MongoTaskClaimStore
  readonly #signals: MongoSignalStore
  readonly #maintenance: MongoMaintenance
  readonly #dispatch: Dispatch
  readonly #routes: Routes
  readonly #tails: Tails
  readonly #upkeep: Upkeep
  readonly #wakeups: Wakeups
  /** Writes that are not answered yet. */
  #writing = 0

  /** @param release Closes the client, if it is ours. */
  constructor(
    db: Database,
    options: CheckedOptions,
    { isOrdered, hasStreams, updatesInOrder }: ServerFeatures,
    release: () => Promise<void>,
  ) {
    const { agingIntervalMs, pollIntervalMs } = options
    const payloads = new Payloads(db)
    this.#db = db
    this.#release = release
    this.#routes = new Routes(db)
    this.#tails = new Tails(db, payloads)
    this.#results = new MongoTaskResultStore(db, payloads)
    this.#commits = new CommitRecords(db)
    const queue = new WriteQueue(db)
    const documents = new KnownDocuments()
    this.#snapshots = new MongoSnapshotStore(
      db,
      payloads,
      this.#results,
      queue,
      documents,
      agingIntervalMs,
    )
    this.#upkeep = new Upkeep(db, ({ _id, sw }) => {
      if (sw !== null) db.later(() => this.#snapshots.sweep(_id, sw))
    })
    this.#claims = new MongoTaskClaimStore(db, this.#snapshots, this.#upkeep, documents)
    this.#signals = new MongoSignalStore(db, payloads)
    this.#maintenance = new MongoMaintenance(db, this.#snapshots)
    const ready = new ReadyQueue(db, agingIntervalMs, isOrdered)
    this.#dispatch = new Dispatch(
      db,
      this.#snapshots,
      this.#upkeep,
      this.#routes,
      ready,
      this.#tails,
      documents,
      // One that reads an index in its order finds and claims the best in one step for less.
      updatesInOrder && !isOrdered,
    )
    this.#wakeups = new Wakeups(db, this.#dispatch, pollIntervalMs, hasStreams)
  }

  now(): Promise<number> {
    return this.#db.now()
  }

  read(
    instanceId: string,
    event?: { readonly signalName: string; readonly eventId: string },
  ): ReturnType<OptimisticStore['read']> {
    return this.#snapshots.read(instanceId, event)
  }

  readWhole(instanceId: string): ReturnType<OptimisticStore['readWhole']> {
    return this.#snapshots.readWhole(instanceId)
  }

  readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): ReturnType<OptimisticStore['readOutputs']> {
    return this.#results.readOutputs(instanceId, taskIds)
  }

  readEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#signals.readEvent(instanceId, signalName)
  }

  readCommit(instanceId: string, taskId: string): ReturnType<OptimisticStore['readCommit']> {
    return this.#commits.read(instanceId, taskId)
  }

  async write(write: InstanceWrite): Promise<WriteResult> {
    // What its time may be off by: all that comes before it is sent is within the call.
    const startedAt = performance.now()
    this.#writing += 1
    try {
      return await this.#write(write, startedAt)
    } finally {
      this.#writing -= 1
    }
  }

  async #write(write: InstanceWrite, startedAt: number): Promise<WriteResult> {
    const { instanceId, after, claimNext } = write
    for (const { tags } of after.entries) await this.#routes.add(after.head.definitionHash, tags)
    const id = this.#snapshots.newId()
    // The best of any instance does not depend on this write, so both go at once.
    const request =
      claimNext !== null &&
      claimNext.own === null &&
      !this.#mayBeOwn(write) &&
      isAlone(write) &&
      holdsOn(write)
        ? claimNext.request
        : null
    const best =
      request !== null && this.#writing === 1
        ? this.#dispatch.best({ request, batch: id, isNext: true })
        : null
    const early = request !== null && best === null ? this.#claimAhead(request, id) : null
    // A look that fails is one for the next call.
    const looking = best === null ? null : this.#dispatch.look().catch(() => [])
    // What becomes of it is asked for after the write.
    early?.catch(() => undefined)
    const taken = async (): Promise<ClaimedEntry | null> => {
      if (early !== null) return (await early).next
      return best === null ? null : this.#dispatch.taken(best)
    }
    let written: Awaited<ReturnType<MongoSnapshotStore['write']>>
    try {
      written = await this.#snapshots.write(write, id, startedAt, best)
    } catch (error) {
      this.#db.later(async () => this.#giveBack(await taken()))
      throw error
    }
    if (written === null) {
      await this.#giveBack(await taken())
      return { written: false, now: await this.#db.now() }
    }
    const { now, care, own } = written
    this.#upkeep.note(care)
    const [only, ...others] = write.before?.entries ?? []
    const expiresAt = others.length === 0 ? only?.claim?.expiresAt : null
    if (expiresAt != null && expiresAt !== care) this.#upkeep.forget(expiresAt)
    for (const { lastFailedWorker } of write.entries.moved)
      if (lastFailedWorker !== null) this.#dispatch.failed(lastFailedWorker)
    for (const { lastFailedWorker } of write.entries.added)
      if (lastFailedWorker !== null) this.#dispatch.failed(lastFailedWorker)
    await this.#tails.grew(instanceId, after.generation, {
      before: write.before?.version ?? 0,
      after: after.version,
      added: write.results.length,
    })
    if (isOpen(after) && after.entries.length > 0) this.#wakeups.noteWork()
    if (claimNext === null) return { written: true, now, next: null, due: [] }
    if (own !== null) return { written: true, now, next: ownEntry(instanceId, own), due: [] }
    const guessed = best === null ? null : await this.#dispatch.taken(best)
    if (guessed !== null) return { written: true, now, next: guessed, due: (await looking) ?? [] }
    const { next, due } = await (early ?? this.#claimAhead(claimNext.request, id))
    return { written: true, now, next, due }
  }

  /** Whether the next task may be one of the instance that is written. */
  #mayBeOwn({ after, claimNext }: InstanceWrite): boolean {
    if (claimNext === null || !isOpen(after)) return false
    const { filter } = claimNext.request
    const { definitionHash } = after.head
    return after.entries.some(({ tags }) => isServed(filter, definitionHash, tags))
  }

  async #claimAhead(request: ClaimRequest, batch: string) {
    const next = { ...request, limit: 1 }
    try {
      const { tasks, due } = await this.#dispatch.claim({ request: next, batch, isNext: true })
      return { next: tasks[0] ?? null, due }
    } catch (error) {
      // The commit has landed, whether or not the task that it brought can be read.
      if (isUnreadable(error)) return { next: null, due: [] }
      throw error
    }
  }

  /** Gives a task back that nobody was told of, as if it had not been claimed. */
  async #giveBack(claimed: ClaimedEntry | null): Promise<void> {
    if (claimed === null) return
    const { instanceId, taskId, claim } = claimed
    const ref = { instanceId, taskId, workerId: claim.workerId, token: claim.token }
    await this.#claims.undo(ref)
  }

  takeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#signals.takeEvent(instanceId, signalName)
  }

  remove(instanceId: string): Promise<boolean> {
    return this.#snapshots.remove(instanceId)
  }

  claimTask(
    params: Parameters<OptimisticStore['claimTask']>[0],
  ): ReturnType<OptimisticStore['claimTask']> {
    return this.#claims.claimTask(params)
  }

  claimAvailable(request: ClaimRequest): ReturnType<OptimisticStore['claimAvailable']> {
    return this.#dispatch.claim({ request, batch: this.#snapshots.newId(), isNext: false })
  }

  findAvailable(
    request: Parameters<OptimisticStore['findAvailable']>[0],
  ): ReturnType<OptimisticStore['findAvailable']> {
    return this.#dispatch.find(request)
  }

  async changeClaim(
    ...[ref, change]: Parameters<OptimisticStore['changeClaim']>
  ): ReturnType<OptimisticStore['changeClaim']> {
    const claim = await this.#claims.changeClaim(ref, change)
    if (claim !== null && change.kind === 'release') this.#wakeups.noteWork()
    return claim
  }

  waitForWakeup(
    ...wanted: Parameters<OptimisticStore['waitForWakeup']>
  ): ReturnType<OptimisticStore['waitForWakeup']> {
    return this.#wakeups.wait(...wanted)
  }

  list(page: Parameters<OptimisticStore['list']>[0]): ReturnType<OptimisticStore['list']> {
    return this.#snapshots.list(page)
  }

  prune(params: Required<PruneParams>, signal: AbortSignal | undefined): Promise<PruneResult> {
    return this.#maintenance.prune(params, signal)
  }

  stats(): ReturnType<OptimisticStore['stats']> {
    return this.#maintenance.stats()
  }

  checkHealth(): Promise<void> {
    return checkSchema(this.#db)
  }

  async disconnect(): Promise<void> {
    await this.#wakeups.close()
    await this.#db.idle()
    await this.#release()
  }
}

function ownEntry(instanceId: string, entry: EntryDoc): ClaimedEntry | null {
  const claim = toClaim(entry)
  return claim === null ? null : { instanceId, taskId: entry.t, claim, deliveries: entry.d }
}

/** Whether the instance has no other task now: one that ends with this write would be there for the search beside it to take. */
function isAlone({ before, holds }: InstanceWrite): boolean {
  return before?.entries.every(({ taskId }) => taskId === holds?.taskId) ?? false
}

/** Whether the claim that is committed under lives on for a while: one that expires would be there for the search beside it to take. */
function holdsOn({ before, holds, at }: InstanceWrite): boolean {
  const claim = before?.entries.find(({ taskId }) => taskId === holds?.taskId)?.claim
  return claim != null && (claim.expiresAt === null || claim.expiresAt > at + CLAIM_MARGIN_MS)
}
