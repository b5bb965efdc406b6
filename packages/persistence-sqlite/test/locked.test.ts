import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'
import { makeFolder } from './folder.ts'

const SNAPSHOT = createSnapshot({ instanceId: 'i', definitionHash: 'd' })

test('a write waits for another connection’s lock, and the event loop goes on meanwhile', async () => {
  const path = join(makeFolder(), 'file.db')
  await using backend = await SqliteBackend.connect({ path })
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  let longestMs = 0
  let turns = 0
  let last = performance.now()
  const watch = setInterval(() => {
    const now = performance.now()
    longestMs = Math.max(longestMs, now - last)
    last = now
    turns += 1
    if (turns === 30) other.exec('COMMIT')
  }, 5)
  let turnsAtEnd = 0
  await backend.saveSnapshot(SNAPSHOT).then(() => {
    turnsAtEnd = turns
  })
  clearInterval(watch)
  other.close()
  expect(turnsAtEnd, 'it should have waited').toBeGreaterThanOrEqual(30)
  // A blocking wait would have held it for the whole time, and for ever: this process has the lock.
  expect(longestMs).toBeLessThan(2000)
  expect((await backend.loadSnapshot('i')).revision).toBe(1)
})

test('reads do not wait for a writer', async () => {
  const path = join(makeFolder(), 'file.db')
  await using backend = await SqliteBackend.connect({ path })
  await backend.saveSnapshot(SNAPSHOT)
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE; DELETE FROM sayiir_instance')
  expect((await backend.loadSnapshot('i')).revision).toBe(1)
  expect(await backend.findAvailableTasks({ workerId: 'w', limit: 1 })).toEqual([])
  other.exec('ROLLBACK')
  other.close()
})

test('a lock that stays is UNAVAILABLE after busyTimeoutMs, and nothing was written', async () => {
  const path = join(makeFolder(), 'file.db')
  await using backend = await SqliteBackend.connect({ path, busyTimeoutMs: 50 })
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  await expect(backend.saveSnapshot(SNAPSHOT)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    retryable: true,
  })
  const connecting = SqliteBackend.connect({ path, busyTimeoutMs: 50, tablePrefix: 'other_' })
  await expect(connecting).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  other.exec('COMMIT')
  other.close()
  await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  expect((await backend.saveSnapshot(SNAPSHOT)).revision).toBe(1)
})
