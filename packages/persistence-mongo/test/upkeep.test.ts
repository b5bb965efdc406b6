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
