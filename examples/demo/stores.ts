import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PersistentBackend } from '@sayiir/persistence-core'
import { InMemoryBackend } from '@sayiir/persistence-memory'
import { SqliteBackend } from '@sayiir/persistence-sqlite'

/** Where the runs are stored, as `--store` names it. */
export const STORE_HELP = 'memory: or sqlite:PATH'

/** Opens a store by its name, such as `sqlite:runs.db`. */
export async function openStore(store: string): Promise<PersistentBackend> {
  const [, kind, rest = ''] = /^([a-z]+):(.*)$/su.exec(store) ?? []
  switch (kind) {
    case 'memory':
      return new InMemoryBackend()
    case 'sqlite':
      if (rest !== '') return SqliteBackend.connect({ path: rest })
  }
  throw new TypeError(`--store must be ${STORE_HELP}, got ${JSON.stringify(store)}`)
}

/** A new SQLite file in a folder of its own, and how to remove it. */
export async function temporaryStore(): Promise<{ store: string; remove: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'sayiir-demo-'))
  return {
    store: `sqlite:${join(folder, 'runs.db')}`,
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}
