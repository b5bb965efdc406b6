import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createSnapshot } from '@sayiir/persistence-core'
import { migrate } from '@sayiir/persistence-mongo'
import { expect, test } from 'vitest'
import { TestCollections } from './collections.ts'

test('twenty backends set up an empty database at once', async () => {
  await using t = new TestCollections()
  await Promise.all(Array.from({ length: 20 }, () => t.open()))
  const names = (await t.instances.indexes()).map(({ name }) => name)
  expect(names.toSorted()).toEqual(['_id_', 'care', 'mixed', 'ready', 'ready_by_route'].toSorted())
  expect(await t.meta.countDocuments()).toBe(3)
})

test('twenty processes set up an empty database at once', async () => {
  await using t = new TestCollections()
  const starters = Array.from({ length: 20 }, () =>
    fork(new URL('./starter.ts', import.meta.url), {
      env: { ...process.env, SAYIIR_TEST_MONGO: t.url, SAYIIR_TEST_PREFIX: t.prefix },
    }),
  )
  const exits = starters.map((starter) => once(starter, 'exit'))
  await Promise.all(starters.map((starter) => once(starter, 'message')))
  for (const starter of starters) starter.send('go')
  expect((await Promise.all(exits)).map(([code]) => code)).toEqual(starters.map(() => 0))
  expect(await t.meta.countDocuments()).toBe(3)
  expect(await t.instances.indexes()).toHaveLength(5)
}, 180_000)

test('what a newer version set up is refused, and left as it is', async () => {
  await using t = new TestCollections()
  await t.meta.insertOne({ _id: 'schema', version: 2 })
  await expect(t.open()).rejects.toMatchObject({ code: 'SCHEMA' })
  await expect(migrate(t.options)).rejects.toMatchObject({ code: 'SCHEMA' })
  expect(await t.db.listCollections({ name: `${t.prefix}instances` }).toArray()).toEqual([])
  expect(await t.meta.find().toArray()).toEqual([{ _id: 'schema', version: 2 }])
})

test('without `migrate`, what is not set up is refused; set up apart, it works', async () => {
  await using t = new TestCollections()
  await expect(t.open({ migrate: false })).rejects.toMatchObject({ code: 'SCHEMA' })
  await migrate(t.options)
  const backend = await t.open({ migrate: false })
  await backend.checkHealth()
  await t.meta.drop()
  await expect(backend.checkHealth()).rejects.toMatchObject({ code: 'SCHEMA' })
})

test('an instance of a newer form is refused with SCHEMA, and left as it is', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  const snapshot = createSnapshot({ instanceId: 'i', definitionHash: 'd' })
  await backend.saveSnapshot(snapshot)
  await t.instances.updateOne({ _id: 'i' }, { $set: { v: 2 } })
  const before = await t.instances.findOne({ _id: 'i' })
  await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'SCHEMA' })
  const other = await t.open()
  await expect(other.saveSnapshot(snapshot)).rejects.toMatchObject({ code: 'SCHEMA' })
  await expect(other.storeSignal('i', 'cancel')).rejects.toMatchObject({ code: 'SCHEMA' })
  expect(await t.instances.findOne({ _id: 'i' })).toEqual(before)
})

test('ids may look like operators, paths and variables', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  for (const id of ['$where', 'a.b.c', '$$ROOT', '.', '$', 'x:y:z', '__proto__', '{"$gt":""}']) {
    const position = { kind: 'at-task', taskId: id } as const
    await backend.saveSnapshot(
      createSnapshot({ instanceId: id, definitionHash: id, position, tags: [id] }),
    )
    const filter = { tags: [id], definitionHashes: [id] }
    const [claimed] = await backend.claimAvailableTasks({
      workerId: id,
      limit: 5,
      ttlMs: 60_000,
      ...filter,
    })
    if (claimed === undefined) return expect.fail(`${id} was not claimed`)
    expect(claimed.task).toMatchObject({ instanceId: id, taskId: id, tags: [id] })
    const event = new Uint8Array([1])
    await backend.sendEvent(id, id, event, { eventId: id })
    await backend.sendEvent(id, id, event, { eventId: id })
    expect(await backend.consumeEvent(id, id)).toEqual(event)
    expect(await backend.consumeEvent(id, id)).toBeNull()
    await backend.storeSignal(id, 'cancel', { reason: id, requestedBy: id })
    expect(await backend.getSignal(id, 'cancel')).toMatchObject({ reason: id, requestedBy: id })
    await backend.clearSignal(id, 'cancel')
    await backend.commitTask({
      claim: claimed.claim,
      outcome: { kind: 'completed', output: event, next: { finalOutput: event } },
    })
    expect(await backend.loadTaskResult(id, id)).toEqual(event)
  }
})
