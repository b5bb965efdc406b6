import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createSnapshot, type PersistentBackend } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { type CommandStartedEvent, MongoClient } from 'mongodb'
import { expect, test, vi } from 'vitest'
import { TestCollections } from './collections.ts'

const MIB: number = 1024 * 1024
const HOUR_MS = 3_600_000

function filled(length: number, seed: number): Uint8Array {
  return new Uint8Array(length).map((_, index) => (index * 31 + seed) & 0xff)
}

/** Runs `steps` tasks of an instance, each with an output. */
async function run(
  backend: PersistentBackend,
  instanceId: string,
  steps: number,
  outputOf: (step: number) => Uint8Array,
): Promise<void> {
  const position = { kind: 'at-task', taskId: 't0' } as const
  await backend.saveSnapshot(createSnapshot({ instanceId, definitionHash: 'd', position }))
  const claim = { workerId: 'w', ttlMs: 600_000 }
  let [task] = await backend.claimAvailableTasks({ ...claim, limit: 1 })
  for (let step = 0; step < steps; step += 1) {
    if (task === undefined) return expect.fail(`step ${step} was not handed out`)
    const receipt = await backend.commitTask({
      claim: task.claim,
      outcome: {
        kind: 'completed',
        output: outputOf(step),
        next: { position: { kind: 'at-task', taskId: `t${step + 1}` } },
      },
      claimNext: { ttlMs: 600_000 },
    })
    task = receipt.next ?? undefined
  }
}

test('outputs of an instance may come to far more than a document can hold', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  await run(backend, 'i', 40, (step) => filled(MIB, step))
  const { state } = await (await t.open()).loadSnapshot('i')
  expect(state.completedTasks.size).toBe(40)
  for (const [taskId, { output }] of state.completedTasks) {
    expect(Buffer.compare(output, filled(MIB, Number(taskId.slice(1))))).toBe(0)
  }
  await backend.deleteSnapshot('i')
  expect(await t.parts.countDocuments()).toBe(0)
})

test('small outputs leave the document once there are many, and the commit is still known', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  await run(backend, 'i', 100, (step) => filled(100, step))
  await vi.waitFor(async () => {
    const doc = await t.instances.findOne({ _id: 'i' })
    expect(doc?.l.length).toBeLessThanOrEqual(20)
    expect(doc?.cm.length).toBeLessThanOrEqual(20)
  })
  const { state } = await (await t.open()).loadSnapshot('i')
  expect([...state.completedTasks.keys()]).toEqual(Array.from({ length: 100 }, (_, i) => `t${i}`))
  expect(await backend.loadTaskResult('i', 't3')).toEqual(filled(100, 3))
})

test('of tasks that run again and again the last output is there, in order, wherever the others went', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  const rounds = 12
  const position = (step: number) => ({ kind: 'at-task', taskId: `t${step % 10}` }) as const
  await backend.saveSnapshot(
    createSnapshot({ instanceId: 'i', definitionHash: 'd', position: position(0) }),
  )
  const [first] = await backend.claimAvailableTasks({ workerId: 'w', ttlMs: 600_000, limit: 1 })
  let task = first
  for (let step = 0; step < 10 * rounds; step += 1) {
    if (task === undefined) return expect.fail(`step ${step} was not handed out`)
    const output = filled(100, step)
    const next = { position: position(step + 1) }
    const receipt = await backend.commitTask({
      claim: task.claim,
      outcome: { kind: 'completed', output, next },
      claimNext: { ttlMs: 600_000 },
    })
    task = receipt.next ?? undefined
  }
  await vi.waitFor(async () => expect(await t.parts.countDocuments()).toBeGreaterThan(10))
  const { state } = await (await t.open()).loadSnapshot('i')
  expect([...state.completedTasks.values()]).toEqual(
    Array.from({ length: 10 }, (_, index) => ({
      taskId: `t${index}`,
      output: filled(100, 10 * (rounds - 1) + index),
    })),
  )
})

test('a payload of 16 MiB, everywhere where there is one', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  const payload = filled(16 * MIB, 1)
  const position = { kind: 'at-task', taskId: 'a' } as const
  const start = { instanceId: 'i', definitionHash: 'd', position, initialInput: payload }
  await backend.saveSnapshot(createSnapshot(start))
  await backend.sendEvent('i', 'go', payload)
  expect(
    Buffer.compare((await backend.consumeEvent('i', 'go')) ?? new Uint8Array(0), payload),
  ).toBe(0)
  const [task] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 600_000 })
  if (task === undefined) return expect.fail('nothing was claimed')
  expect(Buffer.compare(task.task.input, payload)).toBe(0)
  await backend.commitTask({
    claim: task.claim,
    outcome: { kind: 'completed', output: payload, next: { finalOutput: payload } },
  })
  const { state, initialInput } = await backend.loadSnapshot('i')
  if (state.status !== 'completed') return expect.fail(state.status)
  for (const bytes of [initialInput, state.finalOutput, state.completedTasks.get('a')?.output])
    expect(Buffer.compare(bytes ?? new Uint8Array(0), payload)).toBe(0)
})

test('a payload is sent once, however long that takes', async () => {
  await using t = new TestCollections()
  const client = await new MongoClient(t.url, { monitorCommands: true }).connect()
  const backend = await MongoBackend.fromClient(client, t.options)
  let chunks = 0
  client.on('commandStarted', ({ command }: CommandStartedEvent) => {
    if (command.insert === t.parts.collectionName) chunks += command.documents.length
  })
  const initialInput = filled(16 * MIB, 1)
  await backend.saveSnapshot(createSnapshot({ instanceId: 'i', definitionHash: 'd', initialInput }))
  expect(chunks).toBe(4)
  await backend.close()
  await client.close()
})

test('a writer that is killed between two chunks leaves the old snapshot, and chunks that are swept', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  const saved = await backend.saveSnapshot(
    createSnapshot({ instanceId: 'i', definitionHash: 'd', initialInput: new Uint8Array([1]) }),
  )
  const writer = fork(new URL('./large-writer.ts', import.meta.url), {
    env: { ...process.env, SAYIIR_TEST_MONGO: t.url, SAYIIR_TEST_PREFIX: t.prefix },
  })
  const exit = once(writer, 'exit')
  await vi.waitFor(async () => expect(await t.parts.countDocuments()).toBeGreaterThan(0), {
    timeout: 30_000,
    interval: 1,
  })
  writer.kill('SIGKILL')
  await exit
  expect(await backend.loadSnapshot('i')).toEqual(saved)
  // Not old enough: their writer might still be at it.
  await backend.prune({ endedBefore: 1 })
  expect(await t.parts.countDocuments()).toBeGreaterThan(0)
  await t.parts.updateMany({}, { $inc: { at: -2 * HOUR_MS } })
  await backend.prune({ endedBefore: 1 })
  expect(await t.parts.countDocuments()).toBe(0)
})

test('chunks that a document refers to are never swept', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  const payload = filled(MIB, 1)
  await run(backend, 'i', 40, () => payload)
  await t.parts.updateMany({ k: { $exists: true } }, { $set: { at: Date.now() - 2 * HOUR_MS } })
  while ((await t.parts.countDocuments({ at: { $gt: 0 } })) > 0) {
    await backend.prune({ endedBefore: 1 })
  }
  const { state } = await backend.loadSnapshot('i')
  for (const { output } of state.completedTasks.values())
    expect(Buffer.compare(output, payload)).toBe(0)
})

test('a deletion that was interrupted is ended by whoever looks for work', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  await run(backend, 'i', 40, (step) => filled(100, step))
  await vi.waitFor(async () => expect(await t.parts.countDocuments()).toBeGreaterThan(0))
  const doc = await t.instances.findOne({ _id: 'i' })
  // As the first step leaves it.
  const marker = { tk: doc?.tk, sw: doc?.g, u: 1 }
  await t.instances.replaceOne({ _id: 'i' }, marker)
  await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
  await vi.waitFor(async () => {
    expect(await t.parts.countDocuments()).toBe(0)
    expect(await t.instances.findOne({ _id: 'i' })).toMatchObject({ sw: null })
  })
})

test('what is left of a deleted instance goes away once its time is over, and not before', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  for (const id of ['i', 'j']) {
    await run(backend, id, 1, (step) => filled(100, step))
    await backend.deleteSnapshot(id)
  }
  const look = () => backend.findAvailableTasks({ workerId: 'w', limit: 1 })
  await look()
  expect(await t.instances.countDocuments({ tk: { $gt: 0 } })).toBe(2)
  await t.instances.updateOne({ _id: 'i' }, { $set: { u: 1 } })
  await look()
  expect(await t.instances.findOne({ _id: 'i' })).toBeNull()
  expect(await t.instances.findOne({ _id: 'j' })).not.toBeNull()
})

test('one save may bring more outputs than a document can hold, each of them small', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  const results = Array.from({ length: 3000 }, (_, index) => ({
    taskId: `t${index}`,
    output: filled(8000, index),
  }))
  const snapshot = createSnapshot({ instanceId: 'i', definitionHash: 'd' })
  const completedTasks = new Map(results.map((result) => [result.taskId, result]))
  await backend.saveSnapshot({
    ...snapshot,
    state: {
      status: 'in-progress',
      position: { kind: 'not-started' },
      completedTasks,
      lastCompletedTaskId: null,
    },
  })
  const { state } = await (await t.open()).loadSnapshot('i')
  expect([...state.completedTasks.keys()]).toEqual([...completedTasks.keys()])
  for (const { taskId, output } of results)
    expect(
      Buffer.compare(state.completedTasks.get(taskId)?.output ?? Buffer.alloc(0), output),
    ).toBe(0)
})
