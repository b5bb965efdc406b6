import { rm } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { testBackendContract } from '@sayiir/persistence-core/contract'
import { migrate, SqliteBackend } from '@sayiir/persistence-sqlite'
import { connect, pathOf } from './process.ts'

/** `DatabaseSync.isOpen` is of a later Node than the first that is supported. */
function isOpen(database: DatabaseSync): boolean {
  try {
    return database.prepare('SELECT 1').get() !== undefined
  } catch {
    return false
  }
}

testBackendContract({
  name: 'sqlite',
  capabilities: { durable: true, shared: true, wakeups: 'poll', clock: 'store', order: 'global' },
  connect,
  drop: async (namespace) => {
    for (const suffix of ['', '-wal', '-shm']) await rm(pathOf(namespace) + suffix, { force: true })
  },
  processModule: new URL('./process.ts', import.meta.url),
  borrow: async (namespace) => {
    const database = new DatabaseSync(pathOf(namespace))
    return {
      backend: await SqliteBackend.fromClient(database),
      isOpen: async () => isOpen(database),
      close: async () => database.close(),
    }
  },
  leastPrivileges: {
    setUp: (namespace) => migrate({ path: pathOf(namespace) }),
    connect: (namespace, options) =>
      SqliteBackend.connect({ path: pathOf(namespace), migrate: false, ...options }),
  },
})
