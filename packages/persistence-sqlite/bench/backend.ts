import { DatabaseSync } from 'node:sqlite'
import type { Place } from '@sayiir/bench'
import { SqliteBackend } from '@sayiir/persistence-sqlite'

/** The file of a namespace. */
export function pathOf({ url, namespace }: Place): string {
  return `${url}/${namespace}.db`
}

/** In W4 without a flush of the disk at each commit: it takes the same time for all, and would hide a difference. */
export function flushOf({ workload }: Place): 'NORMAL' | 'FULL' {
  return workload === 'W4' ? 'NORMAL' : 'FULL'
}

export function connect(place: Place): Promise<SqliteBackend> {
  return SqliteBackend.connect({ path: pathOf(place), synchronous: flushOf(place) })
}

/** Copies an instance's rows, which is faster than saving a million. */
export async function clone(place: Place, id: string, count: number): Promise<void> {
  const database = new DatabaseSync(pathOf(place))
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
