import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { createSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'
import { makeFolder } from './folder.ts'

const PROCESS: string = fileURLToPath(new URL('./cold-start.ts', import.meta.url))
const HOUR_MS = 3_600_000

interface Report {
  readonly updatedAt: number
  readonly won: boolean
}

/** Starts processes, and lets all go at once. */
async function race(path: string, offsetsMs: readonly number[]): Promise<Report[]> {
  const processes = offsetsMs.map((offsetMs, index) =>
    fork(PROCESS, [path, `process-${index}`, String(offsetMs)]),
  )
  const exits = processes.map((one) => once(one, 'exit'))
  // One that ends too early would never be heard of.
  const heard = (): Promise<Report[]> =>
    Promise.all(
      processes.map(async (one) => {
        const ended = new AbortController()
        one.once('exit', (code) => ended.abort(new Error(`a process ended with code ${code}`)))
        return (await once(one, 'message', { signal: ended.signal }))[0] as Report
      }),
    )
  await heard()
  const reports = heard()
  for (const one of processes) one.send('go')
  const all = await reports
  expect(await Promise.all(exits)).toEqual(processes.map(() => [0, null]))
  return all
}

test('M4: many processes at once set an empty file up once', async () => {
  const path = join(makeFolder(), 'file.db')
  await race(path, new Array(10).fill(0))
  const database = new DatabaseSync(path)
  expect(database.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' })
  expect(database.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
  expect(database.prepare('SELECT count(*) AS count FROM sayiir_instance').get()).toEqual({
    count: 10,
  })
  database.close()
})

test('C2: a process whose clock is hours off stores the same times, and wins no more', async () => {
  const path = join(makeFolder(), 'file.db')
  await using backend = await SqliteBackend.connect({ path })
  const position = { kind: 'at-task', taskId: 'a' } as const
  await backend.saveSnapshot(
    createSnapshot({ instanceId: 'shared', definitionHash: 'd', position }),
  )
  const [claimed] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: HOUR_MS })
  const reports = await race(path, [0, 5 * HOUR_MS, -5 * HOUR_MS])
  for (const { updatedAt, won } of reports) {
    expect(Math.abs(updatedAt - Date.now())).toBeLessThan(HOUR_MS / 2)
    expect(won, 'the claim is live, whatever the clock of a process says').toBe(false)
  }
  await backend.renewTaskClaim(claimed!.claim, HOUR_MS)
})
