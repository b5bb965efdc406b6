import { createSnapshot } from '@sayiir/persistence-core'
import { expect, test } from 'vitest'
import { Database } from '../src/database.ts'
import { checkConnectOptions } from '../src/options.ts'
import { Upkeep } from '../src/upkeep.ts'
import { TestCollections } from './collections.ts'

test('a claim that was given up before it expired is nothing to look for', async () => {
  await using t = new TestCollections()
  const db = new Database(t.client, checkConnectOptions(t.options))
  const upkeep = new Upkeep(db, () => undefined)
  const now = await db.now()
  const [past, later] = [now - 1000, now + 3_600_000]
  expect(upkeep.isKnownDue).toBe(false)
  for (const time of [later, past, past]) upkeep.note(time)
  expect(upkeep.isKnownDue).toBe(true)
  upkeep.forget(past)
  // Another one expires then, too.
  expect(upkeep.isKnownDue).toBe(true)
  upkeep.forget(past)
  expect(upkeep.isKnownDue).toBe(false)
  upkeep.forget(past)
  upkeep.note(past)
  expect(upkeep.isKnownDue).toBe(true)
  await upkeep.look(false)
  expect(upkeep.isKnownDue).toBe(false)
})

test('C2 an expired claim is taken over, however many instances there are that nobody can take care of', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  const position = { kind: 'at-task', taskId: 'a' } as const
  const atTask = (instanceId: string) =>
    createSnapshot({ instanceId, definitionHash: 'd', position })
  await backend.saveSnapshot(atTask('bad'))
  await backend.storeSignal('bad', 'cancel')
  const bad = await t.instances.findOne({ _id: 'bad' })
  // Of a newer version, and before the other one in whatever order.
  const others = Array.from({ length: 250 }, (_, index) => ({
    ...bad,
    ...{ _id: `bad${index}`, g: `g${index}`, v: 99 },
  }))
  await t.instances.insertMany(others)
  await backend.saveSnapshot(atTask('i'))
  const [first] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 1 })
  expect(first?.task.instanceId).toBe('i')
  const claim = { workerId: 'x', limit: 1, ttlMs: 60_000 }
  await expect
    .poll(async () => (await backend.claimAvailableTasks(claim))[0]?.task, { timeout: 20_000 })
    .toMatchObject({ instanceId: 'i', deliveries: 2 })
})
