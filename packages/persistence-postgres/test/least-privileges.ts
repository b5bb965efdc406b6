import { readFile } from 'node:fs/promises'
import { migrate } from '@sayiir/persistence-postgres'
import postgres from 'postgres'

/** A user with no more privileges than the README asks for. */
export interface Worker {
  /** How the owner of the tables connects. */
  readonly ownerUrl: string
  /** How it connects itself. */
  readonly url: string
  readonly role: string
}

/** Makes such a user, who has no tables yet. */
export async function makeWorker(ownerUrl: string, role: string): Promise<Worker> {
  await asOwner(ownerUrl, (sql) => sql.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'pw'`))
  const url = new URL(ownerUrl)
  url.username = role
  url.password = 'pw'
  return { ownerUrl, url: url.href, role }
}

const admitted = new Set<string>()

/** Sets a schema up as its owner, and lets the user work in it; does nothing where it has done so before. */
export async function admit({ ownerUrl, role }: Worker, schema: string): Promise<void> {
  if (admitted.has(schema)) return
  await migrate({ url: ownerUrl, schema })
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const shown = /```sql\n(GRANT USAGE ON SCHEMA[^`]*)```/.exec(readme)?.[1]
  if (shown === undefined) throw new Error('the README does not show them')
  const grants = shown.replaceAll('sayiir', schema).replaceAll('worker', role)
  // Grants of the same to the same at once refuse each other.
  const lock = `SELECT pg_advisory_xact_lock(hashtext('${schema} grants'));`
  await asOwner(ownerUrl, (sql) => sql.unsafe(`BEGIN; ${lock} ${grants} COMMIT;`))
  admitted.add(schema)
}

/** Drops such a user, and what it may. */
export async function dropWorker({ ownerUrl, role }: Worker): Promise<void> {
  await asOwner(ownerUrl, (sql) => sql.unsafe(`DROP OWNED BY ${role}; DROP ROLE ${role};`))
}

async function asOwner(url: string, work: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  await work(sql).finally(() => sql.end())
}
