import type { Capabilities } from '@sayiir/persistence-core'
import { CheckedBackend, type CheckedCalls, Nudge } from '@sayiir/persistence-core/adapter'
import { Dispatch } from './dispatch.ts'
import { DispatchQueue } from './dispatch-queue.ts'
import { MemoryMaintenance } from './maintenance.ts'
import { checkOptions, type InMemoryBackendOptions } from './options.ts'
import { Records } from './records.ts'
import { MemorySignalStore } from './signal-store.ts'
import { MemorySnapshotStore } from './snapshot-store.ts'
import { MemoryTaskClaimStore } from './task-claim-store.ts'
import { MemoryTaskResultStore } from './task-result-store.ts'

/**
 * Every rule of the contract, in the memory of one process: the reference that other backends are
 * compared with, and the double for tests of code that works on a `PersistentBackend`. Nothing
 * survives the process, and no other process sees it.
 *
 * @throws (the constructor) `TypeError`/`RangeError` for a wrong option.
 *
 * @example
 * ```ts
 * import { createSnapshot } from '@sayiir/persistence-core'
 * import { InMemoryBackend } from '@sayiir/persistence-memory'
 *
 * let now = Date.parse('2030-01-01')
 * await using backend = new InMemoryBackend({ now: () => now })
 * await backend.saveSnapshot(
 *   createSnapshot({
 *     instanceId: 'order-1',
 *     definitionHash: 'checkout-v1',
 *     position: { kind: 'at-task', taskId: 'charge' },
 *   }),
 * )
 * await backend.claimAvailableTasks({ workerId: 'w1', limit: 1, ttlMs: 30_000 })
 *
 * // A worker that died: half a minute later the task is another's.
 * now += 30_000
 * backend.clockMoved()
 * await backend.claimAvailableTasks({ workerId: 'w2', limit: 1, ttlMs: 30_000 })
 * ```
 */
export class InMemoryBackend extends CheckedBackend {
  readonly name = 'memory'
  readonly capabilities: Capabilities = {
    durable: false,
    shared: false,
    wakeups: 'push',
    clock: 'store',
    order: 'global',
  }
  protected readonly calls: CheckedCalls
  readonly #nudge = new Nudge()

  constructor(options?: InMemoryBackendOptions) {
    const { agingIntervalMs, maxPayloadBytes, now } = checkOptions(options)
    super(maxPayloadBytes)
    const nudge = this.#nudge
    const queue = new DispatchQueue(agingIntervalMs, () => nudge.nudge())
    const records = new Records(queue)
    const dispatch = new Dispatch(records, queue)
    const context = { records, dispatch, lifecycle: this.lifecycle, nudge, now }
    this.calls = {
      snapshots: new MemorySnapshotStore(context),
      results: new MemoryTaskResultStore(context),
      signals: new MemorySignalStore(context),
      claims: new MemoryTaskClaimStore(context),
      maintenance: new MemoryMaintenance(context),
      disconnect: () => records.clear(),
    }
  }

  /**
   * Tells those who wait in `waitForWakeup` that the clock given as `now` was moved: they look again
   * at once. All other calls read the clock anyway. A wait's own `timeoutMs` is real time, because
   * it is the caller who waits.
   */
  clockMoved(): void {
    this.#nudge.nudge()
  }
}
