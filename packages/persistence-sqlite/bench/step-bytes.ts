import { statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import {
  completeTask,
  createSnapshot,
  moveTo,
  type PersistentBackend,
} from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import type { Row } from './table.ts'

const OUTPUT: Uint8Array = new Uint8Array(500).fill(7)
const STEPS = 1000

/** Bytes that the write-ahead log grows by at the 10th and at the 1,000th step of an instance (rule S6). */
export async function stepBytes(folder: string): Promise<Row[]> {
  return [
    ...(await measure(folder, 'commitTask', stepByCommit)),
    ...(await measure(folder, 'saveSnapshot', stepBySave())),
  ]
}

type Step = (backend: PersistentBackend, step: number) => Promise<unknown>

async function measure(folder: string, name: string, step: Step): Promise<Row[]> {
  const path = `${folder}/${name}.db`
  const database = new DatabaseSync(path)
  database.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0')
  const backend = await SqliteBackend.fromClient(database)
  await backend.saveSnapshot(
    createSnapshot({
      instanceId: 'one',
      definitionHash: 'definition',
      initialInput: OUTPUT,
      position: { kind: 'at-task', taskId: 'step-1' },
    }),
  )
  const bytes: number[] = []
  for (let index = 1; index <= STEPS; index += 1) {
    const before = statSync(`${path}-wal`).size
    await step(backend, index)
    bytes.push(statSync(`${path}-wal`).size - before)
  }
  await backend.close()
  database.close()
  // Of a few around it: which pages a row falls on is chance.
  const around = (index: number): number => average(bytes.slice(index - 5, index))
  const early = around(12)
  const late = around(STEPS)
  return [
    { what: `${name}: bytes of the 10th step`, value: `${Math.round(early)}`, ratio: 1 },
    {
      what: `${name}: bytes of the 1,000th step`,
      value: `${Math.round(late)}`,
      ratio: late / early,
      atMost: 1.5,
    },
  ]
}

async function stepByCommit(backend: PersistentBackend, step: number): Promise<void> {
  const [claimed] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 60_000 })
  await backend.commitTask({
    claim: claimed!.claim,
    outcome: {
      kind: 'completed',
      output: OUTPUT,
      next: { position: { kind: 'at-task', taskId: `step-${step + 1}` } },
    },
  })
}

function stepBySave(): Step {
  let snapshot = createSnapshot({ instanceId: 'one', definitionHash: 'definition' })
  return async (backend, step) => {
    if (step === 1) snapshot = await backend.loadSnapshot('one')
    const completed = completeTask(snapshot, `step-${step}`, OUTPUT)
    snapshot = await backend.saveSnapshot(
      moveTo(completed, { kind: 'at-task', taskId: `step-${step + 1}` }),
    )
  }
}

function average(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0) / numbers.length
}
