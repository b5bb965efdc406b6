import type { SnapshotSummary } from '@sayiir/persistence-core'
import type {
  ClaimedEntry,
  ClaimRequest,
  Dispatched,
  FoundTask,
  InstanceWrite,
  ListPage,
  OptimisticStore,
  WorkRequest,
  WriteResult,
} from '@sayiir/persistence-core/adapter'
import { Bodies } from './bodies.ts'
import { nextToken } from './claims.ts'
import { Directory } from './directory.ts'
import { DueNudge } from './due-nudge.ts'
import { EventQueue } from './event-queue.ts'
import { InstanceStore, type Parts } from './instance-store.ts'
import { InstanceWriter, type Next, type Written } from './instance-writer.ts'
import { Keys } from './keys.ts'
import { list } from './listing.ts'
import { DynamoDBMaintenance } from './maintenance.ts'
import { Markers } from './markers.ts'
import type { CheckedOptions } from './options.ts'
import { Removal } from './removal.ts'
import { Results } from './results.ts'
import { checkSchema, readShards } from './schema.ts'
import type { Service } from './service.ts'
import { DynamoDBSnapshotStore } from './snapshot-store.ts'
import { StateCodec } from './state-codec.ts'
import { DynamoDBTaskClaimStore } from './task-claim-store.ts'
import { TaskClasses } from './task-class.ts'
import { Wakeup } from './wakeup.ts'
import { WorkFinder } from './work-finder.ts'
import type { Candidate } from './work-scan.ts'

/** Candidates that are tried before a commit, where others are often faster. */
const MAX_CANDIDATES = 4
/** Milliseconds after which is looked whether somebody has raised the number of shards. */
const SHARDS_MS = 60_000

/** What the engine asks of a store, put together. */
export class DynamoDBStore implements OptimisticStore {
  readonly #parts: Parts
  readonly #instances: InstanceStore
  readonly #snapshots: DynamoDBSnapshotStore
  readonly #events: EventQueue
  readonly #writer: InstanceWriter
  readonly #claims: DynamoDBTaskClaimStore
  readonly #removal: Removal
  readonly #maintenance: DynamoDBMaintenance
  readonly #wakeup: Wakeup
  readonly #nudge = new DueNudge()
  readonly #end: () => void
  #shards: number
  #shardsReadAt = performance.now()

  constructor(
    service: Service,
    options: CheckedOptions,
    { shards, end }: { readonly shards: number; readonly end: () => void },
  ) {
    this.#shards = shards
    this.#end = end
    const keys = new Keys(options.keyPrefix)
    const bodies = new Bodies(service, keys, service.clock, options.shards)
    this.#parts = {
      service,
      keys,
      shards: options.shards,
      bodies,
      codec: new StateCodec(bodies),
      results: new Results(service, keys, bodies),
      markers: new Markers(service, keys),
      directory: new Directory(service, keys),
      classes: new TaskClasses(service, keys),
    }
    const nudge = this.#nudge
    const current = (): number => this.#currentShards()
    this.#instances = new InstanceStore(this.#parts, nudge)
    this.#events = new EventQueue(this.#parts, this.#instances)
    this.#snapshots = new DynamoDBSnapshotStore(this.#parts, this.#instances, this.#events)
    this.#writer = new InstanceWriter(this.#parts, this.#instances, this.#events)
    const finder = new WorkFinder(this.#parts, this.#instances, {
      agingIntervalMs: options.agingIntervalMs,
      shards: current,
    })
    this.#claims = new DynamoDBTaskClaimStore(this.#instances, finder, nudge)
    this.#removal = new Removal(this.#parts, this.#instances)
    this.#maintenance = new DynamoDBMaintenance(
      this.#parts,
      this.#instances,
      this.#removal,
      current,
    )
    this.#wakeup = new Wakeup(finder, this.#instances, nudge, options)
  }

  async now(): Promise<number> {
    return this.#instances.now
  }

  read(...args: Parameters<OptimisticStore['read']>): ReturnType<OptimisticStore['read']> {
    return this.#snapshots.read(...args)
  }

  readWhole(instanceId: string): ReturnType<OptimisticStore['readWhole']> {
    return this.#snapshots.readWhole(instanceId)
  }

  readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): ReturnType<OptimisticStore['readOutputs']> {
    return this.#snapshots.readOutputs(instanceId, taskIds)
  }

  readEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#events.read(instanceId, signalName)
  }

  readCommit(instanceId: string, taskId: string): ReturnType<OptimisticStore['readCommit']> {
    return this.#snapshots.readCommit(instanceId, taskId)
  }

  async write(write: InstanceWrite): Promise<WriteResult> {
    const { claimNext, commit } = write
    const request = claimNext === null ? null : { ...claimNext.request, limit: 1 }
    const candidate =
      request !== null && claimNext?.own === null ? this.#claims.takeOne(request) : null
    if (request !== null && commit !== null && candidate !== null) {
      return this.#writeAndClaim(write, commit, request, candidate)
    }
    const written = await this.#writer.write(write, null)
    const now = this.#instances.now
    if (written === null) return { written: false, now }
    if (request === null || written.own !== null) {
      return { written: true, now, next: written.own, due: [] }
    }
    return this.#claimAfter(write, written, request)
  }

  /** The commit and the claim of another instance's task, in one round trip. */
  async #writeAndClaim(
    write: InstanceWrite,
    commit: NonNullable<InstanceWrite['commit']>,
    request: ClaimRequest,
    candidate: Candidate,
  ): Promise<WriteResult> {
    const { instanceId } = candidate.known.item
    const token = nextToken(candidate.known.state.token, this.#instances.now)
    const promised = { instanceId, taskId: candidate.entry.taskId, token }
    // The same instance can be changed only after the write.
    if (instanceId === write.instanceId) {
      this.#claims.leave(candidate)
      const written = await this.#writer.write(write, null)
      if (written === null) return { written: false, now: this.#instances.now }
      return this.#claimAfter(write, written, request)
    }
    // Where it may well fail, waiting for it costs less than writing it down and then another.
    const isKnown = this.#claims.isContended
    const first = isKnown ? await this.#claimOne(write.instanceId, candidate, request) : null
    const [written, claimed] = await Promise.all([
      this.#writer.write(write, isKnown ? nextOf(first) : promised),
      isKnown ? first : this.#claims.claimCandidate(candidate, request, token),
    ])
    const now = this.#instances.now
    if (written === null) {
      if (claimed !== null) await this.#claims.undo(claimed)
      return { written: false, now }
    }
    if (claimed === null) return this.#claimAfter(write, written, request)
    if (!isKnown && claimed.claim.token !== token)
      await this.#noteNext(write, written, commit, claimed)
    return { written: true, now, next: claimed, due: this.#claims.takeDue(request) }
  }

  /** The first of some candidates that nobody was faster to claim, but for those of one instance. */
  async #claimOne(
    not: string,
    first: Candidate,
    request: ClaimRequest,
  ): Promise<ClaimedEntry | null> {
    let candidate: Candidate | null = first
    for (let tries = 0; candidate !== null && tries < MAX_CANDIDATES; tries += 1) {
      const { item, state } = candidate.known
      if (item.instanceId === not) {
        this.#claims.leave(candidate)
        return null
      }
      const token = nextToken(state.token, this.#instances.now)
      const claimed = await this.#claims.claimCandidate(candidate, request, token)
      if (claimed !== null) return claimed
      candidate = this.#claims.takeOne(request)
    }
    if (candidate !== null) this.#claims.leave(candidate)
    return null
  }

  /** The best task of any instance, once the write has landed. A look that fails is one for the next call. */
  async #claimAfter(
    write: InstanceWrite,
    written: Written,
    request: ClaimRequest,
  ): Promise<WriteResult> {
    const nothing = { tasks: [], due: [] }
    const { tasks, due } = await this.#claims.claimAvailable(request).catch(() => nothing)
    const [next = null] = tasks
    if (next !== null && write.commit !== null)
      await this.#noteNext(write, written, write.commit, next)
    return { written: true, now: this.#instances.now, next, due }
  }

  #noteNext(
    { instanceId }: InstanceWrite,
    written: Written,
    { taskId, token }: NonNullable<InstanceWrite['commit']>,
    next: ClaimedEntry,
  ): Promise<void> {
    const { taskId: nextTaskId, claim } = next
    return this.#writer.noteNext(
      written,
      { instanceId, taskId, token },
      { instanceId: next.instanceId, taskId: nextTaskId, token: claim.token },
    )
  }

  takeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#events.take(instanceId, signalName)
  }

  remove(instanceId: string): Promise<boolean> {
    return this.#removal.remove(instanceId)
  }

  claimTask(
    ...args: Parameters<OptimisticStore['claimTask']>
  ): ReturnType<OptimisticStore['claimTask']> {
    return this.#claims.claimTask(...args)
  }

  claimAvailable(request: ClaimRequest): Promise<Dispatched<ClaimedEntry>> {
    return this.#claims.claimAvailable(request)
  }

  findAvailable(request: WorkRequest): Promise<Dispatched<FoundTask>> {
    return this.#claims.findAvailable(request)
  }

  changeClaim(
    ...args: Parameters<OptimisticStore['changeClaim']>
  ): ReturnType<OptimisticStore['changeClaim']> {
    return this.#claims.changeClaim(...args)
  }

  waitForWakeup(
    ...args: Parameters<OptimisticStore['waitForWakeup']>
  ): ReturnType<OptimisticStore['waitForWakeup']> {
    return this.#wakeup.wait(...args)
  }

  /** Lets those who wait look at once. */
  wake(): void {
    this.#nudge.nudge()
  }

  async list(page: ListPage): Promise<readonly SnapshotSummary[]> {
    return list(this.#parts, this.#currentShards(), page)
  }

  prune(...args: Parameters<OptimisticStore['prune']>): ReturnType<OptimisticStore['prune']> {
    return this.#maintenance.prune(...args)
  }

  stats(): ReturnType<OptimisticStore['stats']> {
    return this.#maintenance.stats()
  }

  checkHealth(): Promise<void> {
    return checkSchema(this.#parts.service, this.#parts.keys)
  }

  async disconnect(): Promise<void> {
    await this.#instances.idle()
    this.#end()
  }

  /** Somebody else may have raised it: then there is work in shards that this process does not fill. */
  #currentShards(): number {
    if (performance.now() - this.#shardsReadAt > SHARDS_MS) {
      this.#shardsReadAt = performance.now()
      this.#instances.later(async () => {
        const { service, keys, shards } = this.#parts
        this.#shards = Math.max(shards, await readShards(service, keys))
      })
    }
    return this.#shards
  }
}

function nextOf(claimed: ClaimedEntry | null): Next | null {
  if (claimed === null) return null
  const { instanceId, taskId, claim } = claimed
  return { instanceId, taskId, token: claim.token }
}
