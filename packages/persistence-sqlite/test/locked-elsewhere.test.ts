import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { makeFolder } from './folder.ts'

const SNAPSHOT = createSnapshot({ instanceId: 'i', definitionHash: 'd' })
const BUSY_MS = 400

/** Holds the write lock until its standard input ends. */
const HOLDER = `
  const { DatabaseSync } = require('node:sqlite')
  const database = new DatabaseSync(process.argv[1])
  database.exec('BEGIN IMMEDIATE')
  process.stdout.write('locked')
  process.stdin.resume().once('end', () => database.close())
`

async function lock(path: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [...process.execArgv, '-e', HOLDER, path], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

test('a lock that another process keeps is UNAVAILABLE after busyTimeoutMs, and the event loop goes on', async () => {
  const path = join(makeFolder(), 'file.db')
  await using backend = await SqliteBackend.connect({ path, busyTimeoutMs: BUSY_MS })
  const holder = await lock(path)
  let turns = 0
  const watch = setInterval(() => (turns += 1), 10)
  const start = performance.now()
  const calls = await Promise.allSettled([
    backend.saveSnapshot(SNAPSHOT),
    backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 1000 }),
    backend.prune({ endedBefore: 1 }),
  ])
  const waitedMs = performance.now() - start
  clearInterval(watch)
  for (const call of calls) {
    expect(call).toMatchObject({
      status: 'rejected',
      reason: { code: 'UNAVAILABLE', retryable: true, message: expect.stringContaining('locked') },
    })
  }
  expect(waitedMs).toBeGreaterThanOrEqual(BUSY_MS - 1)
  // Together, not one after the other for ever; the rest is for a slow machine.
  expect(waitedMs).toBeLessThan(BUSY_MS * 3 + 3000)
  // A blocking wait would leave a turn or two to each call.
  expect(turns).toBeGreaterThan(10)
  holder.stdin?.end()
  await once(holder, 'exit')
  expect((await backend.saveSnapshot(SNAPSHOT)).revision).toBe(1)
})

test('the lock of a process that is killed is free at once', async () => {
  const path = join(makeFolder(), 'file.db')
  await using backend = await SqliteBackend.connect({ path })
  const holder = await lock(path)
  const saving = backend.saveSnapshot(SNAPSHOT)
  holder.kill('SIGKILL')
  expect((await saving).revision).toBe(1)
})
