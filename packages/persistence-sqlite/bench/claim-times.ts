import { DatabaseSync } from 'node:sqlite'
import {
  type CreateSnapshotParams,
  createSnapshot,
  type WorkerFilter,
} from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { median, type Row } from './table.ts'

const FEW = 1000
const MANY = 1_000_000
const SAMPLES = 500
const WARM_UP = 100

interface Crowd {
  readonly what: string
  /** What most instances are. */
  readonly most: Partial<CreateSnapshotParams>
  readonly filter: WorkerFilter
}

const AT_TASK = { kind: 'at-task', taskId: 'a' } as const

const CROWDS: readonly Crowd[] = [
  { what: 'all of one kind', most: { position: AT_TASK }, filter: {} },
  {
    what: 'most with other tags',
    most: { position: AT_TASK, tags: ['gpu'] },
    filter: { tags: [] },
  },
  {
    what: 'most of other definitions',
    most: { position: AT_TASK, definitionHash: 'other' },
    filter: { definitionHashes: ['definition'] },
  },
  {
    what: 'most not yet due',
    most: {
      position: {
        kind: 'at-delay',
        delayId: 'delay',
        enteredAt: 1,
        wakeAt: Date.now() + 86_400_000,
        nextTaskId: 'a',
      },
    },
    filter: {},
  },
]

/**
 * The time to claim one task, with few and with many pending (rule D8), taken in turns. Without a
 * flush of the disk at each commit, which takes the same time for both and would hide a difference.
 */
export async function claimTimes(folder: string): Promise<Row[]> {
  const rows: Row[] = []
  for (const [index, crowd] of CROWDS.entries()) {
    await using few = await fill(`${folder}/few-${index}.db`, crowd, FEW)
    await using many = await fill(`${folder}/many-${index}.db`, crowd, MANY)
    const times: [number[], number[]] = [[], []]
    for (let sample = 0; sample < WARM_UP + SAMPLES; sample += 1) {
      const ms = [await claimTime(few, crowd), await claimTime(many, crowd)] as const
      if (sample < WARM_UP) continue
      times[0].push(ms[0])
      times[1].push(ms[1])
    }
    const [fewMs, manyMs] = [median(times[0]), median(times[1])]
    const show = (ms: number): string => `${ms.toFixed(3)} ms`
    const count = (many: number): string => many.toLocaleString('en')
    rows.push(
      { what: `claim one of ${count(FEW)}, ${crowd.what}`, value: show(fewMs), ratio: 1 },
      {
        what: `claim one of ${count(MANY)}, ${crowd.what}`,
        value: show(manyMs),
        ratio: manyMs / fewMs,
        atMost: 2,
      },
    )
  }
  return rows
}

async function claimTime(backend: SqliteBackend, { filter }: Crowd): Promise<number> {
  const start = performance.now()
  const claimed = await backend.claimAvailableTasks({
    workerId: 'w',
    limit: 1,
    ttlMs: 600_000,
    ...filter,
  })
  if (claimed.length !== 1) throw new Error('there should be work')
  return performance.now() - start
}

/** A database with this many pending instances, of which a few are the worker's. */
async function fill(path: string, crowd: Crowd, count: number): Promise<SqliteBackend> {
  const backend = await SqliteBackend.connect({ path, synchronous: 'NORMAL' })
  const base = { definitionHash: 'definition', position: AT_TASK }
  await backend.saveSnapshot(createSnapshot({ instanceId: 'most', ...base, ...crowd.most }))
  await backend.saveSnapshot(createSnapshot({ instanceId: 'few', ...base }))
  const own = WARM_UP + SAMPLES + 50
  clone(path, 'most', count - own)
  clone(path, 'few', own)
  return backend
}

/** Copies an instance's rows, which is faster than saving a million. */
function clone(path: string, id: string, count: number): void {
  const database = new DatabaseSync(path)
  database.exec(`
    PRAGMA busy_timeout = 10000;
    PRAGMA synchronous = OFF;
    CREATE TEMP TABLE number AS
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) SELECT i FROM n;
    BEGIN;
  `)
  for (const [table, key] of [
    ['instance', 'id'],
    ['task', 'instance_id'],
  ] as const) {
    const columns = database
      .prepare(`SELECT name FROM pragma_table_info('sayiir_${table}')`)
      .all()
      .map(({ name }) => String(name))
    const values = columns.map((column) =>
      column === key ? `t.${key} || printf('-%07d', i)` : `t.${column}`,
    )
    database.exec(
      `INSERT INTO sayiir_${table} (${columns.join()}) SELECT ${values.join()} FROM sayiir_${table} t, number WHERE t.${key} = '${id}'`,
    )
  }
  database.exec('COMMIT; PRAGMA wal_checkpoint(TRUNCATE)')
  database.close()
}
