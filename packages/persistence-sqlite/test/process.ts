import { mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BackendOptions } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'

/** Where the tests' databases are: the same folder in every process of a run. */
export const FOLDER: string = join(tmpdir(), 'sayiir-persistence-sqlite')

/** The database of a namespace. */
export function pathOf(namespace: string): string {
  mkdirSync(FOLDER, { recursive: true })
  return join(FOLDER, `${namespace}.db`)
}

/** A backend on a namespace, here and in the processes that the suite spawns. */
export function connect(namespace: string, options?: BackendOptions): Promise<SqliteBackend> {
  return SqliteBackend.connect({ path: pathOf(namespace), ...options })
}
