import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { bench, type Server } from '@sayiir/bench'
import { pathOf } from './backend.ts'

await bench({
  name: 'sqlite',
  start,
  backend: import.meta.resolve('./backend.ts'),
  floor: import.meta.resolve('./floor.ts'),
  aims: {
    'W1:one:1x1': { atLeast: 0.7 },
    'W1:one:4x5': { atLeast: 0.7 },
    'W1:batch50:1x1': { atLeast: 3 },
    'W1:batch50:4x5': { atLeast: 3 },
    'W4:all alike:1,000,000 / 1,000': { atMost: 2 },
    'W4:other tags:1,000,000 / 1,000': { atMost: 2 },
    'W4:other definitions:1,000,000 / 1,000': { atMost: 2 },
    'W4:not yet due:1,000,000 / 1,000': { atMost: 2 },
    'S6:commitTask: WAL bytes:step 1,000': { atMost: 1.5 },
    'S6:saveSnapshot: WAL bytes:step 1,000': { atMost: 1.5 },
  },
})

/** A folder: the server of an embedded store. */
async function start(): Promise<Server> {
  const url = mkdtempSync(join(tmpdir(), 'sayiir-bench-'))
  const readers = new Map<string, DatabaseSync>()
  const database = new DatabaseSync(':memory:')
  const { version } = database.prepare('SELECT sqlite_version() AS version').get() as {
    version: string
  }
  database.close()
  return {
    url,
    product: 'SQLite',
    version,
    async bytes(place) {
      const path = pathOf(place)
      if (!readers.has(path)) readers.set(path, openReader(path))
      return { 'WAL bytes': statSync(`${path}-wal`).size }
    },
    async stop() {
      for (const reader of readers.values()) reader.close()
      rmSync(url, { recursive: true, force: true })
    },
  }
}

/** While it reads, the write-ahead log only grows, and its size tells what was written. */
function openReader(path: string): DatabaseSync {
  const reader = new DatabaseSync(path)
  reader.exec('BEGIN; SELECT count(*) FROM sayiir_meta')
  return reader
}
