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
  const numbered = `generate_series(1, ${count}) AS n (i)`
  await asAdmin(
    url,
    `INSERT INTO ${namespace}.instance SELECT (jsonb_populate_record(x, jsonb_build_object(
        'key', nextval('${namespace}.counter'), 'id', x.id || '-' || to_char(n.i, 'FM0000000')))).*
      FROM ${namespace}.instance x, ${numbered} WHERE x.id = '${id}'`,
    `INSERT INTO ${namespace}.task SELECT (jsonb_populate_record(t, jsonb_build_object(
        'instance_key', i.key, 'instance_id', i.id))).*
      FROM ${namespace}.task t JOIN ${namespace}.instance i ON i.id LIKE '${id}-%'
      WHERE t.instance_id = '${id}'`,
  )
}

async function asAdmin(url: string, ...statements: readonly string[]): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    for (const statement of statements) await sql.unsafe(statement)
  } finally {
    await sql.end()
  }
}
