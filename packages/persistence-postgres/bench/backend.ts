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
  return asAdmin(url, ...['work', 'result'].map((table) => `VACUUM ANALYZE ${namespace}.${table}`))
}

/** Copies an instance's row, which is faster than saving a million. */
export async function clone({ url, namespace }: Place, id: string, count: number): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    const columns = await sql`SELECT column_name AS name FROM information_schema.columns
      WHERE table_schema = ${namespace} AND table_name = 'work'`
    const indexes = await sql`SELECT indexname AS name, indexdef AS definition FROM pg_indexes
      WHERE schemaname = ${namespace} AND tablename = 'work' AND indexname <> 'work_pkey'`
    const [first] = await sql`SELECT last_value + 1 AS key FROM ${sql(namespace)}.counter`
    const changed: Record<string, string> = {
      key: `n.n + ${first?.key}`,
      id: `'${id}-' || to_char(n.n, 'FM0000000')`,
    }
    for (const { name } of indexes) await sql.unsafe(`DROP INDEX ${namespace}.${name}`)
    await sql.unsafe(`INSERT INTO ${namespace}.work (${columns.map(({ name }) => name)})
      SELECT ${columns.map(({ name }) => changed[name] ?? `x.${name}`)}
      FROM ${namespace}.work x, generate_series(1, ${count}) AS n (n) WHERE x.id = '${id}'`)
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
