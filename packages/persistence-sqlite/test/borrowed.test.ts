import { DatabaseSync } from 'node:sqlite'
import { createSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'

test('S9: a database in which ids would not be in the order of their UTF-8 bytes is refused', async () => {
  const database = new DatabaseSync(':memory:')
  database.exec(`PRAGMA encoding = 'UTF-16le'`)
  await expect(SqliteBackend.fromClient(database)).rejects.toMatchObject({ code: 'SCHEMA' })
  expect(database.prepare('SELECT * FROM sqlite_schema').all()).toEqual([])
  database.close()
})

test('M3: a prefix that only SQLite takes for the same is refused', async () => {
  const database = new DatabaseSync(':memory:')
  const backend = await SqliteBackend.fromClient(database, { tablePrefix: 'App_' })
  await backend.saveSnapshot(createSnapshot({ instanceId: 'i', definitionHash: 'd' }))
  await expect(SqliteBackend.fromClient(database, { tablePrefix: 'app_' })).rejects.toMatchObject({
    code: 'SCHEMA',
  })
  expect((await backend.loadSnapshot('i')).revision).toBe(1)
  database.close()
})

test('D9: a wait sees what another backend on the same connection does', async () => {
  const database = new DatabaseSync(':memory:')
  const options = { pollIntervalMs: 1 }
  await using waiting = await SqliteBackend.fromClient(database, options)
  await using saving = await SqliteBackend.fromClient(database, options)
  const wakeup = waiting.waitForWakeup({ timeoutMs: 600_000 })
  // The wait has looked, and knows that nothing is there, by the time that a later call of its backend is done.
  await waiting.findAvailableTasks({ workerId: 'w', limit: 1 })
  const position = { kind: 'at-task', taskId: 'a' } as const
  await saving.saveSnapshot(createSnapshot({ instanceId: 'i', definitionHash: 'd', position }))
  expect(await wakeup).toEqual({ instanceId: 'i', taskId: 'a', definitionHash: 'd' })
})
