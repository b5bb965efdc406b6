import type {
  BackendStats,
  ClaimTaskParams,
  PruneParams,
  PruneResult,
  SnapshotSummary,
  TaskClaimRef,
  TaskWakeup,
  WaitForWakeupParams,
} from '@sayiir/persistence-core'
import {
  type ClaimedEntry,
  type ClaimRequest,
  type CommitRecord,
  type Dispatched,
  type FoundTask,
  type HeldClaim,
  type InstanceWrite,
  isOpen,
  type ListPage,
  type OptimisticStore,
  type WorkRequest,
  type WriteResult,
} from '@sayiir/persistence-core/adapter'
import type { Client } from './client.ts'
import { EventStore } from './event-store.ts'
import { InstanceReader } from './instance-reader.ts'
import { InstanceWriter } from './instance-writer.ts'
import { Maintenance } from './maintenance.ts'
import type { CheckedOptions } from './options.ts'
import { Routes } from './routes.ts'
import { checkSchema } from './schema.ts'
import { ClaimStore } from './task-claim-store.ts'
import { Wakeups } from './wakeup.ts'

/** The tables of one schema, as core's engine works with them. */
export class PostgresStore implements OptimisticStore {
  readonly #client: Client
  readonly #reader: InstanceReader
  readonly #writer: InstanceWriter
  readonly #claims: ClaimStore
  readonly #events: EventStore
  readonly #maintenance: Maintenance
  readonly #wakeups: Wakeups

  constructor(client: Client, options: CheckedOptions) {
    const { agingIntervalMs } = options
    this.#client = client
    this.#reader = new InstanceReader(client)
    this.#writer = new InstanceWriter(client, new Routes(client), agingIntervalMs)
    this.#claims = new ClaimStore(client, agingIntervalMs)
    this.#events = new EventStore(client)
    this.#maintenance = new Maintenance(client)
    this.#wakeups = new Wakeups(client, options)
  }

  /** Whether it is known that waiting is polling. */
  get polls(): boolean {
    return this.#wakeups.polls
  }

  now(): Promise<number> {
    return this.#reader.now()
  }

  read(
    instanceId: string,
    event?: { readonly signalName: string; readonly eventId: string },
  ): ReturnType<OptimisticStore['read']> {
    return this.#reader.read(instanceId, event)
  }

  readWhole(instanceId: string): ReturnType<OptimisticStore['readWhole']> {
    return this.#reader.readWhole(instanceId)
  }

  readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): Promise<ReadonlyMap<string, Uint8Array> | null> {
    return this.#reader.readOutputs(instanceId, taskIds)
  }

  readEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#events.readEvent(instanceId, signalName)
  }

  readCommit(instanceId: string, taskId: string): Promise<CommitRecord | null> {
    return this.#reader.readCommit(instanceId, taskId)
  }

  write(write: InstanceWrite): Promise<WriteResult> {
    const writing = this.#writer.write(write)
    // Nobody else tells of it.
    if (!this.polls || !isOpen(write.after)) return writing
    return writing.then((result) => {
      if (result.written) this.#wakeups.noteWork()
      return result
    })
  }

  takeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#events.takeEvent(instanceId, signalName)
  }

  remove(instanceId: string): Promise<boolean> {
    return this.#reader.remove(instanceId)
  }

  claimTask(params: ClaimTaskParams): ReturnType<OptimisticStore['claimTask']> {
    return this.#claims.claimTask(params)
  }

  claimAvailable(request: ClaimRequest): Promise<Dispatched<ClaimedEntry>> {
    return this.#claims.claimAvailable(request)
  }

  findAvailable(request: WorkRequest): Promise<Dispatched<FoundTask>> {
    return this.#claims.findAvailable(request)
  }

  async changeClaim(
    ref: TaskClaimRef,
    change: Parameters<OptimisticStore['changeClaim']>[1],
  ): Promise<HeldClaim | null> {
    const claim = await this.#claims.changeClaim(ref, change)
    if (claim !== null && change.kind === 'release') this.#wakeups.noteWork()
    return claim
  }

  waitForWakeup(
    params: WaitForWakeupParams,
    signal: AbortSignal | undefined,
    closing: AbortSignal,
    takeCare: (due: readonly string[]) => Promise<boolean>,
  ): Promise<TaskWakeup | null> {
    return this.#wakeups.wait(params, signal, closing, takeCare)
  }

  list(page: ListPage): Promise<readonly SnapshotSummary[]> {
    return this.#reader.list(page)
  }

  prune(params: Required<PruneParams>, signal: AbortSignal | undefined): Promise<PruneResult> {
    return this.#maintenance.prune(params, signal)
  }

  stats(): Promise<BackendStats> {
    return this.#maintenance.stats()
  }

  checkHealth(): Promise<void> {
    return checkSchema(this.#client)
  }

  async disconnect(): Promise<void> {
    await this.#wakeups.close()
    await this.#client.end()
  }
}
