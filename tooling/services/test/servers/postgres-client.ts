import postgres from 'postgres'
import type { Client } from './server-suite.ts'

export async function connectPostgres(url: string): Promise<Client> {
  const sql = postgres(url, { max: 2, prepare: false, onnotice: () => undefined })
  await sql`create table if not exists entries (key text primary key, value text not null)`
  return {
    async write(key, value) {
      await sql`insert into entries values (${key}, ${value})`
    },
    async read(key) {
      const [row] = await sql`select value from entries where key = ${key}`
      return row?.value ?? null
    },
    close: () => sql.end({ timeout: 1 }),
  }
}
