import {
  type ClaimedTask,
  createSnapshot,
  type PersistentBackend,
  type TaskClaim,
} from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { startProxy } from '@sayiir/services'
import {
  Collection,
  type CommandStartedEvent,
  type Document,
  MongoBulkWriteError,
  MongoClient,
  MongoServerError,
} from 'mongodb'
import { expect, inject, onTestFinished, test } from 'vitest'
import { TestCollections } from './collections.ts'

const MANY = 40
const TTL_MS = 600_000
const OUTPUT = new Uint8Array([7])

function idAt(index: number): string {
  return `i${String(index).padStart(3, '0')}`
}

function atTask(instanceId: string, priority = 3) {
  const position = { kind: 'at-task', taskId: 'a' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position, priority })
}

/** So many instances, each of which has waited longer than the next. */
async function fill(backend: PersistentBackend, count = MANY): Promise<void> {
  for (let index = 0; index < count; index += 1) await backend.saveSnapshot(atTask(idAt(index)))
}

async function claimOne(backend: PersistentBackend): Promise<ClaimedTask> {
  const worker = { workerId: 'w', limit: 1, ttlMs: TTL_MS }
  const [task] = await backend.claimAvailableTasks(worker)
  return task ?? expect.fail('nothing to claim')
}

function commit(backend: PersistentBackend, claim: TaskClaim) {
  const outcome = { kind: 'completed', output: OUTPUT, next: { finalOutput: OUTPUT } } as const
  return backend.commitTask({ claim, outcome, claimNext: { ttlMs: TTL_MS } })
}

/** Commits and claims on, so often; the last one that was claimed. */
async function goOn(backend: PersistentBackend, from: ClaimedTask, times: number) {
  let task = from
  for (let step = 0; step < times; step += 1) {
    const { next } = await commit(backend, task.claim)
    task = next ?? expect.fail('nothing was claimed')
  }
  return task
}

const nameOf = ({ task }: ClaimedTask): string => task.instanceId

/** Updates in order: of a server that reads an index in its order there are none. */
function watchGuesses(client: MongoClient): Document[] {
  const guesses: Document[] = []
  client.on('commandStarted', ({ command }: CommandStartedEvent) => {
    const updates: Document[] = command.updates ?? []
    if (updates.some(({ sort }) => sort !== undefined)) guesses.push(command)
  })
  return guesses
}

test('D2 a worker that claims one task after the other gets them in order, each once', async () => {
  await using t = new TestCollections()
  const client = await new MongoClient(t.url, { monitorCommands: true }).connect()
  const guesses = watchGuesses(client)
  const backend = await MongoBackend.fromClient(client, t.options)
  await fill(backend)
  const order: string[] = []
  for (let index = 0; index < MANY / 2; index += 1) {
    const task = await claimOne(backend)
    order.push(nameOf(task))
  }
  let task = await claimOne(backend)
  order.push(nameOf(task))
  while (order.length < MANY) {
    task = await goOn(backend, task, 1)
    order.push(nameOf(task))
  }
  expect(order).toEqual(Array.from({ length: MANY }, (_, index) => idAt(index)))
  expect((await commit(backend, task.claim)).next).toBeNull()
  const { queryPlanner } = await t.instances.find({ 'q.p': 1 }).explain()
  const isOrdered = queryPlanner?.winningPlan !== undefined
  // What the server can do decides; where it needs them, commits take them along.
  if (!isOrdered) expect(guesses.some(({ updates }) => updates.length === 2)).toBe(true)
  else expect(guesses).toHaveLength(0)
  await backend.close()
  await client.close()
})

test('D2 what another process has made available, and is better, comes first', async () => {
  await using t = new TestCollections()
  const [backend, other] = await Promise.all([t.open(), t.open()])
  await fill(backend)
  let task = await claimOne(backend)
  for (const urgent of ['u1', 'u2', 'u3', 'u4']) {
    task = await goOn(backend, task, 6)
    expect(nameOf(task)).not.toBe(urgent)
    await other.saveSnapshot(atTask(urgent, 1))
    task = await goOn(backend, task, 1)
    expect(nameOf(task)).toBe(urgent)
  }
  // The same without a commit.
  for (let index = 0; index < 8; index += 1) await claimOne(backend)
  await other.saveSnapshot(atTask('u5', 1))
  expect(nameOf(await claimOne(backend))).toBe('u5')
})

test('D2 urgent tasks that are not yet due are passed over, few or many, and come first once they are', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  await fill(backend)
  let task = await goOn(backend, await claimOne(backend), 8)
  for (const [count, prefix] of [
    [3, 'few'],
    [40, 'many'],
  ] as const) {
    const other = await t.open()
    // Of a rank before those that are due.
    const wakeAt = Date.now() + 100_000
    const position = {
      kind: 'at-delay',
      delayId: 'l',
      enteredAt: 0,
      wakeAt,
      nextTaskId: 'a',
    } as const
    await Promise.all(
      Array.from({ length: count }, (_, index) =>
        other.saveSnapshot(
          createSnapshot({
            instanceId: `${prefix}${index}`,
            definitionHash: 'd',
            position,
            priority: 1,
          }),
        ),
      ),
    )
    // Whether it knows of them or not: a process that comes new has to find it out.
    expect(nameOf(await claimOne(other))).toBe(idAt(Number(nameOf(task).slice(1)) + 1))
    task = await goOn(backend, task, 2)
  }
  const position = { kind: 'at-delay', delayId: 'l', enteredAt: 0, nextTaskId: 'a' } as const
  const soon = Date.now() + 300
  await backend.saveSnapshot(
    createSnapshot({
      instanceId: 'soon',
      definitionHash: 'd',
      position: { ...position, wakeAt: soon },
      priority: 1,
    }),
  )
  await expect
    .poll(async () => {
      task = await goOn(backend, task, 1)
      return nameOf(task)
    })
    .toBe('soon')
})

test('D5 what others took, changed or deleted meanwhile is passed over', async () => {
  await using t = new TestCollections()
  const [backend, other] = await Promise.all([t.open(), t.open()])
  await fill(backend)
  let task = await goOn(backend, await claimOne(backend), 8)
  const at = (index: number) => idAt(Number(nameOf(task).slice(1)) + index)
  const taken = { instanceId: at(1), taskId: 'a', workerId: 'other', ttlMs: TTL_MS }
  expect(await other.claimTask(taken)).not.toBeNull()
  const expected = at(2)
  task = await goOn(backend, task, 1)
  expect(nameOf(task)).toBe(expected)
  task = await goOn(backend, task, 8)
  const [deleted, paused, left] = [at(1), at(2), at(3)]
  await other.deleteSnapshot(deleted)
  await other.storeSignal(paused, 'pause')
  task = await goOn(backend, task, 1)
  expect(nameOf(task)).toBe(left)
  // Deleted and created anew it is another one, at the end of the queue.
  task = await goOn(backend, task, 4)
  const [again, next] = [at(1), at(2)]
  await other.deleteSnapshot(again)
  await other.saveSnapshot(atTask(again))
  task = await goOn(backend, task, 1)
  expect(nameOf(task)).toBe(next)
})

test.each([true, false])(
  'S7 a commit with a claim beside it, whose reply is lost, counts once (retryWrites %s)',
  async (retryWrites) => {
    const proxy = await startProxy(inject('mongodb').url)
    await using t = new TestCollections()
    const timeoutMs = 1500
    const clientOptions = { retryWrites, heartbeatFrequencyMS: 500 }
    const backend = await t.open({ url: proxy.url, timeoutMs, clientOptions })
    const direct = await t.open()
    await fill(direct)
    const task = await goOn(backend, await claimOne(backend), 8)
    proxy.swallowReplies()
    const committing = commit(backend, task.claim)
    await expect
      .poll(async () => (await direct.loadSnapshot(nameOf(task))).state.status, { timeout: 30_000 })
      .toBe('completed')
    proxy.heal()
    const { next, revision } = await committing
    expect(revision).toBe(2)
    // One claim is live: the one that was told of.
    expect((await direct.stats()).claimed).toBe(1)
    await direct.renewTaskClaim(next?.claim ?? expect.fail('nothing was claimed'), TTL_MS)
    await proxy.close()
  },
)

test.each([
  [
    'renewed',
    (backend: PersistentBackend, claim: TaskClaim) => backend.renewTaskClaim(claim, TTL_MS),
  ],
  ['extended', (backend: PersistentBackend, claim: TaskClaim) => backend.extendTaskClaim(claim, 1)],
] as const)(
  'C4 a claim that another process has %s meanwhile is committed all the same',
  async (_, prolong) => {
    await using t = new TestCollections()
    const [backend, other] = await Promise.all([t.open(), t.open()])
    await fill(backend)
    const outcome = { kind: 'completed', output: OUTPUT, next: { finalOutput: OUTPUT } } as const
    for (const elsewhere of [true, false]) {
      const { claim } = await claimOne(backend)
      await prolong(elsewhere ? other : backend, claim)
      expect(await backend.commitTask({ claim, outcome })).toMatchObject({ status: 'completed' })
    }
    const task = await goOn(backend, await claimOne(backend), 8)
    await prolong(other, task.claim)
    const { next, ...receipt } = await commit(backend, task.claim)
    expect(receipt).toMatchObject({ status: 'completed', revision: 2 })
    expect(nameOf(next ?? expect.fail('nothing was claimed'))).toBe(
      idAt(Number(nameOf(task).slice(1)) + 1),
    )
    // The one that was prolonged is committed, and one is claimed.
    expect((await other.stats()).claimed).toBe(1)
  },
)

test('S6 the steps of one instance keep every output, also where only the newest are sent', async () => {
  await using t = new TestCollections()
  const client = await new MongoClient(t.url, { monitorCommands: true }).connect()
  const backend = await MongoBackend.fromClient(client, t.options)
  const updates: Document[] = []
  client.on('commandStarted', ({ command, commandName }: CommandStartedEvent) => {
    if (commandName === 'update' && command.update === t.instances.collectionName)
      updates.push(command)
  })
  await backend.saveSnapshot(atTask('i'))
  let { claim } = await claimOne(backend)
  const steps = Array.from({ length: 40 }, (_, index) => `s${index % 30}`)
  for (const [index, taskId] of steps.entries()) {
    const output = new Uint8Array(100).fill(index)
    const position = { kind: 'at-task', taskId } as const
    updates.length = 0
    const { next } = await backend.commitTask({
      claim,
      outcome: { kind: 'completed', output, next: { position } },
      claimNext: { ttlMs: TTL_MS },
    })
    claim = next?.claim ?? expect.fail('nothing was claimed')
    const sent = JSON.stringify(updates)
    const earlier = Buffer.alloc(100, index - 1).toString('base64')
    if (index > 0) expect(sent).not.toContain(earlier)
  }
  const { state } = await backend.loadSnapshot('i')
  // Each task has the output of its last run; the last step has not run.
  const outputs = [...state.completedTasks].map(([taskId, { output }]) => [taskId, output[0]])
  const expected = new Map<string, number>([['a', 0]])
  for (const [index, taskId] of steps.slice(0, -1).entries()) {
    expected.delete(taskId)
    expected.set(taskId, index + 1)
  }
  expect(outputs).toEqual([...expected])
  await backend.close()
  await client.close()
})

test('D5 a claim that the server gives up for another one is made all the same', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  await fill(backend, 3)
  const { findOneAndUpdate } = Collection.prototype
  const restore = (): void => {
    Collection.prototype.findOneAndUpdate = findOneAndUpdate
  }
  onTestFinished(restore)
  for (const given of [
    { message: 'deadlock detected', code: 1 },
    { message: 'WriteConflict', code: 112 },
  ]) {
    Collection.prototype.findOneAndUpdate = async () => {
      restore()
      throw new MongoServerError(given)
    }
    expect(await claimOne(backend)).toMatchObject({ task: { taskId: 'a' } })
    // The server was asked.
    expect(Collection.prototype.findOneAndUpdate).toBe(findOneAndUpdate)
  }
  expect((await backend.stats()).claimed).toBe(2)
})

test('a commit that is refused gives the claim beside it back', async () => {
  await using t = new TestCollections()
  const [backend, other] = await Promise.all([t.open(), t.open()])
  await fill(backend)
  const task = await goOn(backend, await claimOne(backend), 8)
  const instanceId = nameOf(task)
  const next = idAt(Number(instanceId.slice(1)) + 1)
  const claims = async () => (await other.stats()).claimed
  await other.releaseTaskClaim(task.claim)
  // By another worker, so that the task beside it is the best that there is.
  await other.claimTask({ instanceId, taskId: task.task.taskId, workerId: 'y', ttlMs: TTL_MS })
  const before = await claims()
  const { bulkWrite } = Collection.prototype
  let together = 0
  onTestFinished(() => {
    Collection.prototype.bulkWrite = bulkWrite
  })
  Collection.prototype.bulkWrite = async function (this: Collection, ...args) {
    const result = await bulkWrite.apply(this, args).catch((error) => error)
    const { matchedCount } = result instanceof MongoBulkWriteError ? result.result : result
    if (args[0].length === 2 && matchedCount === 1) together += 1
    if (result instanceof Error) throw result
    return result
  }
  await expect(commit(backend, task.claim)).rejects.toMatchObject({ code: 'CLAIM_LOST' })
  // The claim landed, and the commit did not.
  expect(together).toBe(1)
  await expect.poll(claims).toBe(before)
  const [first] = await other.claimAvailableTasks({ workerId: 'x', limit: 1, ttlMs: TTL_MS })
  expect(first?.task.instanceId).toBe(next)
})

test('a commit that is refused is not taken for made where the claim beside it is gone again', async () => {
  await using t = new TestCollections()
  const [backend, other] = await Promise.all([t.open(), t.open()])
  await fill(backend)
  const task = await goOn(backend, await claimOne(backend), 8)
  const id = nameOf(task)
  const next = idAt(Number(id.slice(1)) + 1)
  // The commit was worked out without it, and is refused once.
  await other.sendEvent(id, 'go', OUTPUT)
  const { bulkWrite } = Collection.prototype
  const restore = (): void => {
    Collection.prototype.bulkWrite = bulkWrite
  }
  onTestFinished(restore)
  Collection.prototype.bulkWrite = async function (this: Collection, ...args) {
    restore()
    const result = await bulkWrite.apply(this, args)
    // Before the reply has come.
    await other.deleteSnapshot(next)
    return result
  }
  expect(await commit(backend, task.claim)).toMatchObject({ status: 'completed' })
  expect((await other.loadSnapshot(id)).state.status).toBe('completed')
})
