import { createHash } from 'node:crypto'
import { BackendError } from '@sayiir/persistence-core'
import type { Client } from './client.ts'
import { MIGRATIONS } from './migrations/index.ts'
import { number, text } from './records.ts'

/** The schema that this version works with. */
const VERSION: number = MIGRATIONS.length

/**
 * Makes sure that the tables are there and of this version. Any number of processes may do it at
 * once on an empty database: one sets it up, the others wait and find it done. What is newer is
 * refused before anything is written.
 *
 * @throws `SCHEMA`, `UNAVAILABLE`.
 */
export async function setUp(client: Client, schema: string, migrate: boolean): Promise<void> {
  const version = await inspect(client)
  if (version === VERSION) return
  if (!migrate) throw missing(version)
  for (let from = version; from < VERSION; from = await inspect(client)) {
    await client.script(stepFrom(schema, from))
  }
}

/** Throws `SCHEMA` unless the tables are of this version. */
export async function checkSchema(client: Client): Promise<void> {
  const version = await inspect(client)
  if (version < VERSION) throw missing(version)
}

/** The version of the tables, 0 without any; throws `SCHEMA` for a schema that must be left alone. */
async function inspect(client: Client): Promise<number> {
  const [found = []] = await client.query(
    `SELECT to_regclass($1::text)::text, current_setting('server_version_num'), current_setting('server_encoding')`,
    [`${client.schema}.migration`],
  )
  if (number(found, 1) < 140_000) {
    throw new BackendError('SCHEMA', 'PostgreSQL 14 or newer is needed')
  }
  if (text(found, 2) !== 'UTF8') {
    throw new BackendError('SCHEMA', `the database must be UTF8, not ${text(found, 2)}`)
  }
  if (found[0] === null) return 0
  const rows = await client.query(
    'SELECT version::text, checksum FROM {s}.migration ORDER BY version',
  )
  if (rows.length > VERSION) throw newer(rows.length)
  for (const [index, row] of rows.entries()) {
    if (number(row, 0) !== index + 1 || text(row, 1) !== checksumOf(index)) {
      throw new BackendError(
        'SCHEMA',
        `migration ${number(row, 0)} of schema ${client.schema} is not the one that this version knows; it was left untouched`,
      )
    }
  }
  return rows.length
}

/**
 * The migrations after `from`, in one transaction. All or nothing is done: under the lock it may turn
 * out that another process was faster.
 */
function stepFrom(schema: string, from: number): string {
  const quoted = `"${schema}"`
  const steps = MIGRATIONS.slice(from).map(({ name, sql }, index) => {
    const version = from + index + 1
    return `EXECUTE ${literal(expand(sql, schema))};
    INSERT INTO ${quoted}.migration (version, name, checksum, applied_at)
    VALUES (${version}, ${literal(name)}, ${literal(checksumOf(version - 1))}, now());`
  })
  return `DO ${literal(`
  DECLARE
    v_version integer := 0;
  BEGIN
    PERFORM pg_advisory_xact_lock(${lockOf(schema)});
    IF NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = ${literal(schema)}) THEN
      CREATE SCHEMA ${quoted};
    END IF;
    IF to_regclass(${literal(`${quoted}.migration`)}) IS NULL THEN
      CREATE TABLE ${quoted}.migration (
        version integer PRIMARY KEY,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL
      );
    END IF;
    EXECUTE ${literal(`SELECT coalesce(max(version), 0) FROM ${quoted}.migration`)} INTO v_version;
    IF v_version <> ${from} THEN
      RETURN;
    END IF;
    ${steps.join('\n')}
  END`)}`
}

/** The name of what is notified when there is work. */
export function channelOf(schema: string): string {
  return `sayiir_${schema}`
}

function expand(sql: string, schema: string): string {
  return sql.replaceAll('{s}', `"${schema}"`).replaceAll('{c}', channelOf(schema))
}

function checksumOf(index: number): string {
  return createHash('sha256')
    .update(MIGRATIONS[index]?.sql ?? '')
    .digest('hex')
}

/** The same for all who migrate this schema. */
function lockOf(schema: string): bigint {
  return createHash('sha256').update(`sayiir ${schema}`).digest().readBigInt64BE()
}

/** Right whatever `standard_conforming_strings` is. */
function literal(value: string): string {
  return ` E'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

function newer(version: number): BackendError {
  return new BackendError(
    'SCHEMA',
    `the tables are of version ${version}, and only ${VERSION} is known: they were migrated by a newer version; upgrade this program`,
  )
}

function missing(version: number): BackendError {
  return new BackendError(
    'SCHEMA',
    version === 0
      ? 'the tables are missing: run migrate(), or connect without migrate: false'
      : `the tables are of version ${version}, and ${VERSION} is needed: run migrate(), or connect without migrate: false`,
  )
}
