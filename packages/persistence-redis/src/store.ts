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
import type {
  ClaimedEntry,
  ClaimRequest,
  CommitRecord,
  Dispatched,
  FoundTask,
  HeldClaim,
  InstanceWrite,
  ListPage,
  OptimisticStore,
  WorkRequest,
  WriteResult,
} from '@sayiir/persistence-core/adapter'
import type { StoreContext } from './context.ts'
import { DispatchStore } from './dispatch-store.ts'
import { InstanceStore } from './instance-store.ts'
import { MaintenanceStore } from './maintenance-store.ts'
import { checkSchema } from './schema.ts'
import { Wakeups } from './wakeup.ts'

/** What an `OptimisticBackend` needs, on a server: put together from its parts. */
export class RedisStore implements OptimisticStore {
  readonly #context: StoreContext
  readonly #release: () => Promise<void>
  readonly #dispatch: DispatchStore
  readonly #instances: InstanceStore
  readonly #maintenance: MaintenanceStore
  readonly #wakeups: Wakeups

  constructor(context: StoreContext, release: () => Promise<void>) {
    this.#context = context
    this.#release = release
    this.#dispatch = new DispatchStore(context)
    this.#instances = new InstanceStore(context, this.#dispatch)
    this.#maintenance = new MaintenanceStore(context)
    this.#wakeups = new Wakeups(context)
  }

  /** Of the first shard: in a cluster every node has a clock of its own. */
  async now(): Promise<number> {
    return (await this.#instances.read('')).now
  }

  read(
    instanceId: string,
    event?: { readonly signalName: string; readonly eventId: string },
  ): ReturnType<OptimisticStore['read']> {
    return this.#instances.read(instanceId, event)
  }

  readWhole(instanceId: string): ReturnType<OptimisticStore['readWhole']> {
    return this.#instances.readWhole(instanceId)
  }

  readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): Promise<ReadonlyMap<string, Uint8Array> | null> {
    return this.#instances.readOutputs(instanceId, taskIds)
  }

  readEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#instances.readEvent(instanceId, signalName)
  }

  readCommit(instanceId: string, taskId: string): Promise<CommitRecord | null> {
    return this.#instances.readCommit(instanceId, taskId)
  }

  write(write: InstanceWrite): Promise<WriteResult> {
    return this.#instances.write(write)
  }

  takeEvent(instanceId: string, signalName: string): Promise<Uint8Array | null> {
    return this.#instances.takeEvent(instanceId, signalName)
  }

  remove(instanceId: string): Promise<boolean> {
    return this.#instances.remove(instanceId)
  }

  claimTask(params: ClaimTaskParams): ReturnType<OptimisticStore['claimTask']> {
    return this.#dispatch.claimTask(params)
  }

  claimAvailable(request: ClaimRequest): Promise<Dispatched<ClaimedEntry>> {
    return this.#dispatch.claimAvailable(request)
  }

  findAvailable(request: WorkRequest): Promise<Dispatched<FoundTask>> {
    return this.#dispatch.findAvailable(request)
  }

  changeClaim(
    ref: TaskClaimRef,
    change: Parameters<OptimisticStore['changeClaim']>[1],
  ): Promise<HeldClaim | null> {
    return this.#dispatch.changeClaim(ref, change)
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
    return this.#maintenance.list(page)
  }

  prune(params: Required<PruneParams>, signal: AbortSignal | undefined): Promise<PruneResult> {
    return this.#maintenance.prune(params, signal)
  }

  stats(): Promise<BackendStats> {
    return this.#maintenance.stats()
  }

  checkHealth(): Promise<void> {
    const { connection, options, layout } = this.#context
    return checkSchema(connection, options, layout)
  }

  async disconnect(): Promise<void> {
    this.#wakeups.stop()
    await this.#context.connection.forget()
    await this.#release()
  }
}
