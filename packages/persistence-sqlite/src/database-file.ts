import { statSync } from 'node:fs'
import type { Connection } from './database.ts'
import { fileIsGone } from './errors.ts'

/**
 * The file that a connection has open. On Unix a file can be deleted, moved or replaced under
 * whoever has it open: SQLite goes on writing into what no longer has a name, and in WAL mode does
 * not notice. What was acknowledged would be lost without a word, so this is asked once a batch.
 */
export class DatabaseFile {
  readonly #path: string | null
  readonly #identity: string | null

  constructor(db: Connection) {
    this.#path = pathOf(db)
    this.#identity = this.#path === null ? null : identify(this.#path)
  }

  /** Whether there is one: a database in memory, or in a temporary file of its own, has none. */
  get exists(): boolean {
    return this.#path !== null
  }

  /** Throws `BACKEND` unless it is still what stands at its path. */
  check(): void {
    if (this.#path === null || this.#identity === null) return
    const identity = identify(this.#path)
    // It can not be told, the folder being closed to us by now, say.
    if (identity === null) return
    if (identity === NONE || identity !== this.#identity) throw fileIsGone()
  }
}

/** What identifies a file that is not there. */
const NONE = 'none'

function pathOf(db: Connection): string | null {
  const databases = db.all<{ name: string; file: string | null }>('PRAGMA database_list')
  return databases.find(({ name }) => name === 'main')?.file || null
}

function identify(path: string): string | null {
  try {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false })
    return found === undefined ? NONE : `${found.dev} ${found.ino}`
  } catch {
    return null
  }
}
