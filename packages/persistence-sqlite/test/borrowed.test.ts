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

test('calls wait for the end of a transaction of the program’s own, and are no part of it', async () => {
  const database = new DatabaseSync(':memory:')
  await using backend = await SqliteBackend.fromClient(database)
  const snapshot = createSnapshot({ instanceId: 'i', definitionHash: 'd' })
  database.exec('BEGIN; CREATE TABLE own (id)')
  const saving = backend.saveSnapshot(snapshot)
  // Turns in which the save is tried.
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  database.exec('ROLLBACK')
  expect((await saving).revision).toBe(1)
  expect((await backend.loadSnapshot('i')).revision).toBe(1)
})

test('one that stays open is UNAVAILABLE', async () => {
  const database = new DatabaseSync(':memory:')
  await using backend = await SqliteBackend.fromClient(database, { busyTimeoutMs: 10 })
  database.exec('BEGIN')
  const unavailable = { code: 'UNAVAILABLE', message: expect.stringContaining('own') }
  await expect(backend.deleteSnapshot('i')).rejects.toMatchObject(unavailable)
  await expect(backend.loadSnapshot('i')).rejects.toMatchObject(unavailable)
  database.exec('COMMIT')
})
