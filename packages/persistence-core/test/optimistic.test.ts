import { afterEach, expect, test } from 'vitest'
import { OptimisticBackend, type OptimisticStore } from '../src/adapter.ts'
import {
  BackendError,
  type Capabilities,
  completeTask,
  createSnapshot,
  moveTo,
  type Position,
  type TaskOutcome,
} from '../src/index.ts'
import { MapStore } from './optimistic-store.ts'

/** A store with a clock of its own, that tells which of its methods were called. */
class Watched {
  readonly calls: string[] = []
  #ahead: number = Date.UTC(2030, 0)
  readonly map: MapStore = new MapStore(() => this.now)
  readonly store: OptimisticStore = new Proxy<OptimisticStore>(this.map, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        this.calls.push(String(name))
        return value.apply(target, args)
      }
    },
  })

  get now(): number {
    return Math.floor(this.#ahead + performance.now())
  }

  elapse(ms: number): void {
    this.#ahead += ms
  }
}

class WatchedBackend extends OptimisticBackend {
  readonly name: string = 'watched'
  readonly capabilities: Capabilities = {
    durable: false,
    shared: true,
    wakeups: 'poll',
    clock: 'store',
    order: 'global',
  }
  protected readonly store: OptimisticStore

  constructor(store: OptimisticStore) {
    super()
    this.store = store
  }
}

const opened: WatchedBackend[] = []
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.close()
})

function open(store: OptimisticStore): WatchedBackend {
  const backend = new WatchedBackend(store)
  opened.push(backend)
  return backend
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const worker = { workerId: 'w', ttlMs: 60_000 }
const at = (taskId: string): Position => ({ kind: 'at-task', taskId })
const started = (instanceId: string, position: Position = at('a')) =>
  createSnapshot({ instanceId, definitionHash: 'd', position, initialInput: bytes('in') })
const atDelay = { kind: 'at-delay', delayId: 'd', nextTaskId: 'after' } as const
const atSignal = { kind: 'at-signal', signalId: 's', signalName: 'n', nextTaskId: 'after' } as const
const to = (taskId: string): TaskOutcome => ({
  kind: 'completed',
  output: bytes(`before ${taskId}`),
  next: { position: { kind: 'at-task', taskId } },
})
const end: TaskOutcome = {
  kind: 'completed',
  output: bytes('end'),
  next: { finalOutput: bytes('final') },
}

test('a claim, a commit and what it brings are one call of the store each', async () => {
  const watched = new Watched()
  const backend = open(watched.store)
  await backend.saveSnapshot(started('i'))
  await backend.saveSnapshot(started('j'))
  watched.calls.length = 0
  const [first] = await backend.claimAvailableTasks({ ...worker, limit: 1 })
  expect(watched.calls.splice(0)).toEqual(['claimAvailable'])
  const claim = first?.claim ?? expect.fail()
  const claimNext = { ttlMs: 60_000 }
  const { next } = await backend.commitTask({ claim, outcome: to('b'), claimNext })
  expect(next?.task).toMatchObject({ instanceId: 'i', taskId: 'b', input: bytes('before b') })
  expect(watched.calls.splice(0)).toEqual(['write'])
  const other = await backend.commitTask({
    claim: next?.claim ?? expect.fail(),
    outcome: end,
    claimNext,
  })
  expect(other.next?.task).toMatchObject({ instanceId: 'j', taskId: 'a', input: bytes('in') })
  expect(watched.calls.splice(0)).toEqual(['write'])
  await backend.renewTaskClaim(other.next?.claim ?? expect.fail(), 1000)
  expect(watched.calls.splice(0)).toEqual(['changeClaim'])
})

test('a new instance, and each further save of what was saved, are one call of the store', async () => {
  const watched = new Watched()
  const backend = open(watched.store)
  // The first call of all has to learn the time.
  await backend.saveSnapshot(started('before'))
  watched.calls.length = 0
  let saved = await backend.saveSnapshot(started('i'))
  expect(watched.calls.splice(0)).toEqual(['write'])
  for (let step = 0; step < 5; step += 1) {
    const { revision } = saved
    saved = await backend.saveSnapshot(completeTask(saved, `t${step}`, bytes(`${step}`)), {
      expectedRevision: revision,
    })
    expect(watched.calls.splice(0)).toEqual(['write'])
  }
  expect((await backend.loadSnapshot('i')).state.completedTasks?.size).toBe(5)
})

test('A3 what is saved with many others shares nothing with what is stored, nor they with each other', async () => {
  const backend = open(new MapStore(() => Date.now()))
  const ids = Array.from({ length: 250 }, (_, index) => `i${index}`)
  await backend.saveSnapshot(started('before'))
  const given = ids.map((instanceId) => started(instanceId))
  const saved = await Promise.all(given.map((snapshot) => backend.saveSnapshot(snapshot)))
  for (const [index, snapshot] of saved.entries()) {
    expect(snapshot).toEqual(await backend.loadSnapshot(ids[index] ?? ''))
    expect(snapshot.initialInput).not.toBe(given[index]?.initialInput)
  }
  const first = saved[0] ?? expect.fail()
  const { completedTasks } = first.state
  for (const map of [completedTasks, first.retries, first.loopIterations]) {
    ;(map as Map<string, unknown>).set('own', 1)
  }
  first.initialInput?.fill(0)
  for (const instanceId of ids) {
    const { initialInput, state, retries, loopIterations } = await backend.loadSnapshot(instanceId)
    expect(initialInput).toEqual(bytes('in'))
    expect(state.completedTasks.size + retries.size + loopIterations.size).toBe(0)
  }
  const next = await Promise.all(
    ids.map((instanceId) => backend.saveSnapshot(started(`${instanceId} next`))),
  )
  for (const { state, retries, loopIterations } of next) {
    expect(state.completedTasks.size + retries.size + loopIterations.size).toBe(0)
  }
})

test('S6 a save sends no output that is stored, also after a load and in a loop', async () => {
  const watched = new Watched()
  const sent: string[][] = []
  const write = watched.map.write.bind(watched.map)
  watched.map.write = (change) => {
    sent.push(change.results.map(({ taskId }) => taskId))
    return write(change)
  }
  const backend = open(watched.store)
  let saved = await backend.saveSnapshot(started('i'))
  for (const taskId of ['a', 'b', 'c'])
    saved = await backend.saveSnapshot(completeTask(saved, taskId, bytes(taskId)))
  expect(sent.splice(0)).toEqual([[], ['a'], ['b'], ['c']])
  const loaded = await open(watched.store).loadSnapshot('i')
  const elsewhere = open(watched.store)
  const own = await elsewhere.loadSnapshot('i')
  await elsewhere.saveSnapshot(completeTask(own, 'a', bytes('again')))
  expect(sent.splice(0)).toEqual([['a']])
  const { state } = await elsewhere.loadSnapshot('i')
  expect([...(state.completedTasks?.keys() ?? [])]).toEqual(['b', 'c', 'a'])
  // What another backend object loaded is not known here: all of it is sent, and right.
  await backend.saveSnapshot(loaded)
  expect((await backend.loadSnapshot('i')).state).toEqual(loaded.state)
})

test('D6 a commit whose reply is lost is answered when it is repeated', async () => {
  const watched = new Watched()
  const backend = open(watched.store)
  await backend.saveSnapshot(started('i'))
  const [claimed] = await backend.claimAvailableTasks({ ...worker, limit: 1 })
  const claim = claimed?.claim ?? expect.fail()
  const write = watched.map.write.bind(watched.map)
  watched.map.write = async (change) => {
    await write(change)
    throw new BackendError('UNAVAILABLE', 'the reply was lost')
  }
  const commit = { claim, outcome: to('b'), claimNext: { ttlMs: 1000 } }
  await expect(backend.commitTask(commit)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  watched.map.write = write
  const receipt = await backend.commitTask(commit)
  expect(receipt).toMatchObject({ revision: 2, next: { task: { taskId: 'b', deliveries: 1 } } })
  expect((await backend.loadSnapshot('i')).revision).toBe(2)
})

test('E1 commits that bring each other the task behind a delay do not wait for each other', async () => {
  const watched = new Watched()
  const backend = open(watched.store)
  const wakeAt = watched.now + 1000
  const delayed = (id: string): Position => ({
    kind: 'at-fork',
    forkId: `fork-${id}`,
    pendingTasks: [{ taskId: 'first' }],
    join: { taskId: 'join' },
    completedBranches: new Map(),
    wakeAt: null,
  })
  for (const id of ['i', 'j']) await backend.saveSnapshot(started(id, delayed(id)))
  for (let n = 0; n < 4; n += 1) {
    await backend.saveSnapshot(
      started(`delay-${n}`, {
        kind: 'at-delay',
        delayId: 'd',
        enteredAt: watched.now,
        wakeAt,
        nextTaskId: 'after',
      }),
    )
  }
  const claimed = await backend.claimAvailableTasks({ ...worker, limit: 2 })
  expect(claimed.map(({ task }) => task.taskId)).toEqual(['first', 'first'])
  watched.elapse(1000)
  const outcome: TaskOutcome = { kind: 'completed', output: bytes('x'), next: { branch: null } }
  const first = await Promise.all(
    claimed.map(({ claim }) =>
      backend.commitTask({ claim, outcome, claimNext: { ttlMs: 1000, definitionHashes: ['d'] } }),
    ),
  )
  expect(first.map(({ next }) => next?.task.taskId)).toEqual(['join', 'join'])
  const second = await Promise.all(
    first.map(({ next }) =>
      backend.commitTask({
        claim: next?.claim ?? expect.fail(),
        outcome: end,
        claimNext: { ttlMs: 1000 },
      }),
    ),
  )
  expect(second.map(({ next }) => next?.task.taskId)).toEqual(['after', 'after'])
  expect(second.map(({ next }) => next?.head.state)).toMatchObject([
    { position: at('after') },
    { position: at('after') },
  ])
})

test('C2 a store whose clock is set back goes on', async () => {
  const watched = new Watched()
  const backend = open(watched.store)
  await backend.saveSnapshot(started('i'))
  const before = watched.now
  watched.elapse(-3_600_000)
  const [claimed] = await backend.claimAvailableTasks({ ...worker, limit: 1 })
  // Not due by this clock, which is all that there is.
  expect(claimed).toBeUndefined()
  const saved = await backend.saveSnapshot(started('j'))
  expect(saved.createdAt).toBeLessThan(before - 3_500_000)
  const [other] = await backend.claimAvailableTasks({ ...worker, limit: 1 })
  const claim = other?.claim ?? expect.fail()
  expect(await backend.commitTask({ claim, outcome: end })).toMatchObject({ status: 'completed' })
  const again = await backend.loadSnapshot('i')
  expect((await backend.saveSnapshot(again)).updatedAt).toBeLessThan(before - 3_500_000)
})

test.each([
  ['a delay', (wakeAt: number): Position => ({ ...atDelay, enteredAt: 0, wakeAt })],
  ['a signal', (wakeAt: number): Position => ({ ...atSignal, wakeAt })],
] as const)(
  'G4 a claim behind %s that is paused before it is handed out is given up',
  async (_, position) => {
    const watched = new Watched()
    const backend = open(watched.store)
    const other = open(watched.store)
    await backend.saveSnapshot(started('i', position(watched.now)))
    watched.elapse(1)
    const claimAvailable = watched.map.claimAvailable.bind(watched.map)
    watched.map.claimAvailable = async (request) => {
      const found = await claimAvailable(request)
      await other.storeSignal('i', 'pause')
      return found
    }
    // For ever: nobody would know of the claim, and none would ever come to an end.
    const wanted = { workerId: 'w', ttlMs: null, limit: 1 }
    expect(await backend.claimAvailableTasks(wanted)).toEqual([])
    watched.map.claimAvailable = claimAvailable
    expect(await backend.claimAvailableTasks(wanted)).toEqual([])
    expect((await backend.loadSnapshot('i')).state.status).toBe('paused')
    await backend.unpause('i')
    const [claimed] = await backend.claimAvailableTasks(wanted)
    expect(claimed).toMatchObject({ task: { taskId: 'after' }, claim: { expiresAt: null } })
  },
)

test('G4 an instance that can not be read holds up nobody else', async () => {
  const watched = new Watched()
  const backend = open(watched.store)
  await backend.saveSnapshot(started('bad'))
  await backend.storeSignal('bad', 'cancel')
  for (const id of ['i', 'j', 'k']) await backend.saveSnapshot(started(id))
  const read = watched.map.read.bind(watched.map)
  watched.map.read = async (instanceId, event) => {
    if (instanceId === 'bad') throw new BackendError('SERIALIZATION', 'not to be read')
    return read(instanceId, event)
  }
  const [first] = await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
  expect(first?.instanceId).toBe('i')
  const woken = await backend.waitForWakeup({ timeoutMs: 1000 })
  expect(woken?.instanceId).toBe('i')
  const [claimed] = await backend.claimAvailableTasks({ ...worker, limit: 1 })
  const claim = claimed?.claim ?? expect.fail()
  const { next } = await backend.commitTask({ claim, outcome: end, claimNext: { ttlMs: 1000 } })
  expect(next?.task.instanceId).toBe('j')
  await expect(backend.checkAndCancel('bad')).rejects.toMatchObject({ code: 'SERIALIZATION' })
})

test('D6 a commit that landed is told as landed, whatever can be read of the task that it brought', async () => {
  const watched = new Watched()
  const backend = open(watched.store)
  for (const id of ['i', 'j']) await backend.saveSnapshot(started(id))
  const [claimed] = await backend.claimAvailableTasks({ ...worker, limit: 1 })
  const claim = claimed?.claim ?? expect.fail()
  const commit = { claim, outcome: end, claimNext: { ttlMs: 1000 } }
  const receipt = await backend.commitTask(commit)
  expect(receipt.next?.task.instanceId).toBe('j')
  const read = watched.map.read.bind(watched.map)
  watched.map.read = async (instanceId, event) => {
    if (instanceId === 'j') throw new BackendError('SERIALIZATION', 'not to be read')
    return read(instanceId, event)
  }
  expect(await backend.commitTask(commit)).toEqual({ ...receipt, next: null })
})

test('E1 to claim what a timer stands before tells why it can not be read', async () => {
  const watched = new Watched()
  const backend = open(watched.store)
  await backend.saveSnapshot(started('i', { ...atDelay, enteredAt: 0, wakeAt: watched.now }))
  watched.elapse(1)
  watched.map.read = async () => {
    throw new BackendError('SERIALIZATION', 'not to be read')
  }
  const claiming = backend.claimTask({ ...worker, instanceId: 'i', taskId: 'after' })
  await expect(claiming).rejects.toMatchObject({ code: 'SERIALIZATION' })
})

test.each(['SERIALIZATION', 'UNAVAILABLE'] as const)(
  'D5 tasks that were claimed reach their worker, though what another one needs is %s',
  async (code) => {
    const watched = new Watched()
    const backend = open(watched.store)
    // Each of them needs its branch's output, which is not in the head.
    const branch = new Uint8Array(1000).fill(1)
    for (const id of ['a', 'b', 'c']) {
      const done = completeTask(started(id), 't', branch)
      const completedBranches = new Map([['t', { taskId: 't', output: branch }]])
      await backend.saveSnapshot(moveTo(done, { kind: 'at-join', joinId: 'j', completedBranches }))
    }
    const readOutputs = watched.map.readOutputs.bind(watched.map)
    watched.map.readOutputs = async (instanceId, taskIds) => {
      if (instanceId === 'b') throw new BackendError(code, 'not to be read')
      return readOutputs(instanceId, taskIds)
    }
    const found = await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
    expect(found.map(({ instanceId }) => instanceId)).toEqual(['a', 'c'])
    const claimed = await backend.claimAvailableTasks({ workerId: 'w', limit: 10, ttlMs: 1000 })
    expect(claimed.map(({ task }) => task.instanceId)).toEqual(['a', 'c'])
    expect(claimed.map(({ task }) => task.branches.get('t')?.output)).toEqual([branch, branch])
    // Where there is nothing else it is told.
    watched.elapse(2000)
    for (const { claim } of claimed) await backend.deleteSnapshot(claim.instanceId)
    await expect(backend.findAvailableTasks({ workerId: 'w', limit: 10 })).rejects.toMatchObject({
      code,
    })
  },
)
