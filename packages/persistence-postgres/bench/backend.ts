import type { Place } from '@sayiir/bench'
import { PostgresBackend } from '@sayiir/persistence-postgres'
import postgres from 'postgres'

export function connect({ url, namespace, concurrency }: Place): Promise<PostgresBackend> {
  return PostgresBackend.connect({ url, schema: namespace, maxConnections: concurrency })
}

export function drop({ url, namespace }: Place): Promise<void> {
  return asAdmin(url, `DROP SCHEMA ${namespace} CASCADE`)
}

export function settle({ url, namespace }: Place): Promise<void> {
  return asAdmin(
    url,
    ...['instance', 'task', 'result'].map((table) => `VACUUM ANALYZE ${namespace}.${table}`),
  )
}

/** Copies an instance's rows, which is faster than saving a million. */
export async function clone({ url, namespace }: Place, id: string, count: number): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  /** As many rows like the one of a table that is of the instance, but for some columns. */
  const copy = async (table: string, idColumn: string, changed: Record<string, string>) => {
    const columns = await sql`SELECT column_name AS name FROM information_schema.columns
      WHERE table_schema = ${namespace} AND table_name = ${table} AND is_generated = 'NEVER'`
    const values = columns.map(({ name }) => changed[name] ?? `x.${name}`)
    await sql.unsafe(`INSERT INTO ${namespace}.${table} (${columns.map(({ name }) => name)})
      SELECT ${values} FROM ${namespace}.${table} x, generate_series(1, ${count}) AS n (n)
      WHERE x.${idColumn} = '${id}'`)
  }
  try {
    const numbered = `'${id}-' || to_char(n.n, 'FM0000000')`
    const indexes = await sql`SELECT indexname AS name, indexdef AS definition FROM pg_indexes
      WHERE schemaname = ${namespace} AND tablename = 'task'`
    const [first] = await sql`SELECT last_value + 1 AS key FROM ${sql(namespace)}.counter`
    for (const { name } of indexes) await sql.unsafe(`DROP INDEX ${namespace}.${name}`)
    const keyed = `n.n + ${first?.key}`
    await copy('instance', 'id', { key: keyed, id: numbered })
    await copy('task', 'instance_id', { instance_key: keyed, instance_id: numbered })
    await sql`SELECT setval(${`${namespace}.counter`}, ${String(Number(first?.key) + count)}::bigint)`
    for (const { definition } of indexes) await sql.unsafe(definition)
  } finally {
    await sql.end()
  }
}

async function asAdmin(url: string, ...statements: readonly string[]): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    for (const statement of statements) await sql.unsafe(statement)
  } finally {
    await sql.end()
  }
}
