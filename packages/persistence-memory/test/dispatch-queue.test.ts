import {
  BackendError,
  type Capabilities,
  type TaskClaim,
  type TaskClaimRef,
  type WorkerFilter,
} from '@sayiir/persistence-core'
import {
  CheckedBackend,
  type CheckedCalls,
  compareIds,
  isFree,
  isServed,
  Nudge,
  orderKey,
  TIMER_TASK_ID,
} from '@sayiir/persistence-core/adapter'
import { expect, test } from 'vitest'
import { InMemoryBackend } from '../src/backend.ts'
import { Dispatch } from '../src/dispatch.ts'
import { DispatchQueue } from '../src/dispatch-queue.ts'
import { MemoryMaintenance } from '../src/maintenance.ts'
import { handsOut, Records } from '../src/records.ts'
import { MemorySignalStore } from '../src/signal-store.ts'
import { MemorySnapshotStore } from '../src/snapshot-store.ts'
import { MemoryTaskClaimStore } from '../src/task-claim-store.ts'
import { MemoryTaskResultStore } from '../src/task-result-store.ts'
import { at, atTask, bytes, completed, forkOf, randomFrom } from './fixtures.ts'

const AGING = 50
const WORKERS = ['w1', 'w2']
const TAGS = [[], ['x'], ['y'], ['y', 'x']]

/** A backend of which a test sees the records. */
class OpenBackend extends CheckedBackend {
  readonly name = 'memory'
  readonly capabilities: Capabilities = new InMemoryBackend().capabilities
  readonly clock = { now: 1000 }
  readonly queue = new DispatchQueue(AGING, () => undefined)
  readonly records = new Records(this.queue)
  protected readonly calls: CheckedCalls

  constructor() {
    super(1000)
    const context = {
      records: this.records,
      dispatch: new Dispatch(this.records, this.queue),
      lifecycle: this.lifecycle,
      nudge: new Nudge(),
      now: () => this.clock.now,
    }
    this.calls = {
      snapshots: new MemorySnapshotStore(context),
      results: new MemoryTaskResultStore(context),
      signals: new MemorySignalStore(context),
      claims: new MemoryTaskClaimStore(context),
      maintenance: new MemoryMaintenance(context),
      disconnect: () => undefined,
    }
  }
}

/** What a look at every task, and a sort, would find. */
function naive(records: Records, filter: WorkerFilter, workerId: string, now: number): string[] {
  return [...records.all()]
    .filter(handsOut)
    .flatMap((record) =>
      [...record.entries.values()].map((entry) => ({ snapshot: record.snapshot, entry })),
    )
    .filter(({ snapshot, entry }) => {
      expect(entry.timer && entry.availableSince <= now, 'due timers are advanced').toBe(false)
      return (
        entry.taskId !== TIMER_TASK_ID &&
        isFree(entry, now) &&
        isServed(filter, snapshot.definitionHash, entry.tags)
      )
    })
    .sort(
      (a, b) =>
        Number(a.entry.lastFailedWorker === workerId) -
          Number(b.entry.lastFailedWorker === workerId) ||
        orderKey(a.entry, AGING) - orderKey(b.entry, AGING) ||
        a.entry.availableSince - b.entry.availableSince ||
        compareIds(a.snapshot.instanceId, b.snapshot.instanceId) ||
        compareIds(a.entry.taskId, b.entry.taskId),
    )
    .map(({ snapshot, entry }) => `${snapshot.instanceId}/${entry.taskId}`)
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  'the index finds what a look at everything would find (history %i)',
  async (seed) => {
    const random = randomFrom(seed)
    const pick = <T>(from: readonly T[]): T => from[random(from.length)] as T
    const backend = new OpenBackend()
    const { clock, queue, records } = backend
    const held: TaskClaim[] = []
    // The newest ones: older ones are mostly lost.
    const heldClaim = (): TaskClaimRef =>
      held.at(-1 - random(6)) ?? { instanceId: 'i0', taskId: 't0', workerId: 'w1' }
    const anyId = () => `i${random(12)}`
    const options = () => ({
      definitionHash: `d${random(2)}`,
      tags: pick(TAGS),
      priority: 1 + random(5),
    })
    const commands: (() => Promise<unknown>)[] = [
      () => backend.saveSnapshot(atTask(anyId(), `t${random(2)}`, options())),
      () =>
        backend.saveSnapshot(
          at(
            anyId(),
            forkOf([
              { taskId: 'f', tags: pick(TAGS) },
              { taskId: 'g', priority: 1 + random(5), availableAt: clock.now + random(200) },
            ]),
            options(),
          ),
        ),
      () =>
        backend.saveSnapshot(
          at(
            anyId(),
            {
              kind: 'at-delay',
              delayId: 'd',
              enteredAt: 0,
              wakeAt: clock.now + random(200),
              nextTaskId: pick(['t0', null]),
            },
            options(),
          ),
        ),
      () =>
        backend.saveSnapshot(
          at(
            anyId(),
            {
              kind: 'at-signal',
              signalId: 's',
              signalName: 'n',
              wakeAt: pick([null, clock.now + random(200)]),
              nextTaskId: pick(['t1', null]),
            },
            options(),
          ),
        ),
      async () => {
        const ttlMs = pick([null, 1 + random(150)])
        const request = { workerId: pick(WORKERS), limit: 1 + random(4), ttlMs, tags: pick(TAGS) }
        const claimed = await backend.claimAvailableTasks(request)
        held.push(...claimed.map(({ claim }) => claim))
      },
      () => backend.renewTaskClaim(heldClaim(), 1 + random(150)),
      () => backend.releaseTaskClaim(heldClaim()),
      () =>
        backend.commitTask({
          claim: heldClaim(),
          outcome: { kind: 'retry', error: 'e', delayMs: random(100), maxAttempts: 4 },
        }),
      async () => {
        const { next } = await backend.commitTask({
          claim: heldClaim(),
          outcome: completed({ position: { kind: 'at-task', taskId: 't0' }, tags: pick(TAGS) }),
          claimNext: { ttlMs: 100 },
        })
        if (next !== null) held.push(next.claim)
      },
      () => backend.commitTask({ claim: heldClaim(), outcome: completed({ branch: null }) }),
      () => backend.storeSignal(anyId(), pick(['pause', 'cancel', 'pause'])),
      () => backend.clearSignal(anyId(), pick(['pause', 'cancel'])),
      () => backend.unpause(anyId()),
      () => backend.sendEvent(anyId(), 'n', bytes('e')),
      () => backend.deleteSnapshot(anyId()),
      async () => {
        // Now and then backwards, as a wall clock may go.
        clock.now += random(10) === 0 ? -random(60) : random(60)
      },
    ]
    let compared = 0
    for (let step = 0; step < 1500; step += 1) {
      // Many do not apply: the instance is not there, has ended, nothing is held.
      await pick(commands)().catch((error: unknown) => {
        if (!BackendError.is(error) && !/fork/.test(String(error))) throw error
      })
      if (step % 3 !== 0) continue
      const workerId = pick(WORKERS)
      const filter: WorkerFilter = {
        ...(random(2) === 0 ? { tags: pick(TAGS) } : undefined),
        ...(random(2) === 0 ? { definitionHashes: ['d0'] } : undefined),
      }
      const found = await backend.findAvailableTasks({ ...filter, workerId, limit: 1000 })
      const names = found.map(({ instanceId, taskId }) => `${instanceId}/${taskId}`)
      expect(names).toEqual(naive(records, filter, workerId, clock.now))
      compared += names.length
    }
    expect(compared).toBeGreaterThan(300)
    records.clear()
    expect(queue.nextVisibleAt()).toBeNull()
  },
)

test('what changes leave behind stays in proportion', async () => {
  const backend = new OpenBackend()
  const { clock, queue } = backend
  const delayed = (id: string, wakeAt: number) =>
    backend.saveSnapshot(
      at(id, { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt, nextTaskId: 'a' }),
    )
  // Due before all others, so that they are not dropped as they come up.
  await delayed('first', 500_000)
  await backend.saveSnapshot(atTask('i'))
  const claim = await backend.claimTask({
    instanceId: 'i',
    taskId: 'a',
    workerId: 'w',
    ttlMs: 1_000_000,
  })
  for (let beat = 0; beat < 2000; beat += 1) {
    clock.now += 1
    await backend.renewTaskClaim(claim!, 1_000_000)
    expect(queue.size).toBeLessThan(100)
  }
  for (let save = 0; save < 2000; save += 1) {
    await delayed('moved', 1_000_000 + save)
    expect(queue.size).toBeLessThan(100)
  }
  for (let turn = 0; turn < 2000; turn += 1) {
    await delayed('gone', 1_000_000)
    await backend.deleteSnapshot('gone')
    expect(queue.size).toBeLessThan(100)
  }
})
