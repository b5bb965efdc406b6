import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'
import { makeFolder } from './folder.ts'

function atTask(instanceId: string, tags: readonly string[] = []) {
  const position = { kind: 'at-task', taskId: 'a' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position, tags })
}

test('M4 a process that has the file open while a newer version migrates it leaves it alone from then on', async () => {
  const path = join(makeFolder(), 'workflows.db')
  await using backend = await SqliteBackend.connect({ path })
  const saved = await backend.saveSnapshot(atTask('i'))
  const worker = { workerId: 'w', limit: 1, ttlMs: 60_000 }
  const [claimed] = await backend.claimAvailableTasks(worker)
  const { claim } = claimed ?? expect.fail()
  const waiting = backend.waitForWakeup({ timeoutMs: 60_000 })
  waiting.catch(() => {})

  using newer = new DatabaseSync(path)
  newer.exec(`BEGIN IMMEDIATE;
    ALTER TABLE sayiir_instance ADD COLUMN more TEXT NOT NULL DEFAULT 'x';
    UPDATE sayiir_meta SET value = value + 1 WHERE key = 'schema-version';
    COMMIT`)
  const contents = (): unknown[] =>
    ['instance', 'task', 'result', 'meta'].map((table) =>
      newer.prepare(`SELECT * FROM sayiir_${table}`).all(),
    )
  const before = contents()
  const output = new Uint8Array(0)
  const outcome = { kind: 'completed', output, next: { finalOutput: output } } as const
  const calls: Promise<unknown>[] = [
    backend.saveSnapshot(saved),
    backend.commitTask({ claim, outcome }),
    backend.renewTaskClaim(claim, 1000),
    backend.claimAvailableTasks(worker),
    backend.findAvailableTasks(worker),
    backend.loadSnapshot('i'),
    backend.loadTaskResult('i', 'a'),
    backend.getSignal('i', 'cancel'),
    backend.deleteSnapshot('i'),
    backend.prune({ endedBefore: Date.now() }),
    backend.stats(),
    backend.checkHealth(),
    Array.fromAsync(backend.listSnapshots()),
    waiting,
  ]
  const told = { status: 'rejected', reason: { code: 'SCHEMA' } }
  expect(await Promise.allSettled(calls)).toMatchObject(calls.map(() => told))
  expect(contents()).toEqual(before)
})

test('D3 a worker finds tasks of routes that others have made, however many there are', async () => {
  const path = join(makeFolder(), 'workflows.db')
  await using backend = await SqliteBackend.connect({ path })
  await using other = await SqliteBackend.connect({ path })
  const claim = async (tag: string): Promise<string[]> => {
    const tasks = await backend.claimAvailableTasks({
      ...{ workerId: 'w', limit: 10, ttlMs: 60_000, tags: [tag] },
    })
    return tasks.map(({ task }) => task.instanceId)
  }
  expect(await claim('t1')).toEqual([])
  const db = new DatabaseSync(path)
  db.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
    INSERT INTO sayiir_route (definition_hash, tags) SELECT 'd', json_array('t' || i) FROM n`)
  db.close()
  for (const index of [1, 1500, 2500, 2501])
    await other.saveSnapshot(atTask(`i${index}`, [`t${index}`]))
  for (const index of [1, 1500, 2500, 2501]) expect(await claim(`t${index}`)).toEqual([`i${index}`])
  // More filters than are remembered.
  for (let index = 0; index < 100; index += 1) expect(await claim(`t${index}`)).toEqual([])
  await other.saveSnapshot(atTask('again', ['t1500']))
  expect(await claim('t7')).toEqual([])
  expect(await claim('t1500')).toEqual(['again'])
})
