import { statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { completeTask, createSnapshot, moveTo } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'
import { makeFolder } from './folder.ts'

const STEPS = 1000
/** Steps before and after the 10th that are measured with it; ten times as many up to the 1,000th. */
const AROUND = 5
const OUTPUT: Uint8Array = new Uint8Array(500).fill(7)
const FIRST = createSnapshot({
  instanceId: 'i',
  definitionHash: 'd',
  initialInput: OUTPUT,
  position: { kind: 'at-task', taskId: 'task-1' },
})

/** Does one step of the instance; 1 is the first. */
type Step = (backend: SqliteBackend, step: number) => Promise<unknown>

test('S6: the 1,000th commit writes at most 1.5 times the bytes of the 10th', () =>
  expectLevel(async (backend, step) => {
    const params = { instanceId: 'i', taskId: `task-${step}`, workerId: 'w', ttlMs: 600_000 }
    const claim = await backend.claimTask(params)
    await backend.commitTask({
      claim: claim!,
      outcome: {
        kind: 'completed',
        output: OUTPUT,
        next: { position: { kind: 'at-task', taskId: `task-${step + 1}` } },
      },
    })
  }))

test('S6: the 1,000th save writes at most 1.5 times the bytes of the 10th', () => {
  let snapshot = { ...FIRST, revision: 1 }
  return expectLevel(async (backend, step) => {
    const completed = completeTask(snapshot, `task-${step}`, OUTPUT)
    snapshot = await backend.saveSnapshot(
      moveTo(completed, { kind: 'at-task', taskId: `task-${step + 1}` }),
      { expectedRevision: snapshot.revision },
    )
  })
})

test('S6: the same for a save of a snapshot that was just loaded', () => {
  let snapshot = { ...FIRST, revision: 1 }
  return expectLevel(async (backend, step) => {
    // Not at the steps that nobody looks at: loading is what takes long.
    if (step < 20 || step > 900) snapshot = await backend.loadSnapshot('i')
    const completed = completeTask(snapshot, `task-${step}`, OUTPUT)
    snapshot = await backend.saveSnapshot(
      moveTo(completed, { kind: 'at-task', taskId: `task-${step + 1}` }),
    )
  })
})

/** Proves that the write-ahead log grows by as much at a late step as at an early one. */
async function expectLevel(step: Step): Promise<void> {
  const path = join(makeFolder(), 'file.db')
  const database = new DatabaseSync(path)
  // Nothing is moved out of the log, so that its size tells what was written.
  database.exec(
    'PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF',
  )
  const backend = await SqliteBackend.fromClient(database)
  await backend.saveSnapshot(FIRST)
  const written: number[] = []
  for (let index = 1; index <= STEPS; index += 1) {
    const before = statSync(`${path}-wal`).size
    await step(backend, index)
    written.push(statSync(`${path}-wal`).size - before)
  }
  expect((await backend.loadSnapshot('i')).state.completedTasks.size).toBe(STEPS)
  await backend.close()
  database.close()
  // A step writes whole pages, and every few steps one of them is split: so the mean of some around it.
  const early = meanOf(written.slice(9 - AROUND, 10 + AROUND))
  const late = meanOf(written.slice(STEPS - 1 - 10 * AROUND))
  expect(early).toBeGreaterThan(OUTPUT.length)
  expect(late / early).toBeLessThanOrEqual(1.5)
}

function meanOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0) / numbers.length
}
