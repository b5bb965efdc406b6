import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createSnapshot } from '@sayiir/persistence-core'
import { migrate, SqliteBackend, type SqliteConnectOptions } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'
import { makeFolder } from './folder.ts'
import { watched } from './watched.ts'

const SNAPSHOT = createSnapshot({
  instanceId: 'i',
  definitionHash: 'd',
  initialInput: new Uint8Array(3000),
  position: { kind: 'at-task', taskId: 'a' },
})

/** Makes a file with `make` and proves that connecting to it fails and leaves it as it is. */
async function expectRefused(
  make: (path: string) => void | Promise<void>,
  code: string,
  options: Partial<SqliteConnectOptions> = {},
): Promise<void> {
  const folder = makeFolder()
  const path = join(folder, 'file.db')
  await make(path)
  const before = readFileSync(path)
  await expect(SqliteBackend.connect({ path, ...options })).rejects.toMatchObject({ code })
  expect(readFileSync(path).equals(before), 'the file should be untouched').toBe(true)
  expect(readdirSync(folder)).toEqual(['file.db'])
}

async function makeDatabase(path: string): Promise<void> {
  await using backend = await SqliteBackend.connect({ path })
  await backend.saveSnapshot(SNAPSHOT)
}

function change(path: string, sql: string): void {
  const database = new DatabaseSync(path)
  database.exec(sql)
  database.close()
}

test('M4: a file that is no database is refused, untouched', () =>
  expectRefused(
    (path) => writeFileSync(path, 'not a database, but long enough to be one'.repeat(9)),
    'SCHEMA',
  ))

test("M4: another program's database is refused, untouched", () =>
  expectRefused((path) => change(path, 'CREATE TABLE note (text)'), 'SCHEMA'))

test("M4: an empty database with another program's mark is refused, untouched", () =>
  expectRefused((path) => change(path, 'PRAGMA application_id = 42'), 'SCHEMA'))

test('M4: tables of a newer version are refused, untouched', () =>
  expectRefused(async (path) => {
    await makeDatabase(path)
    change(path, `UPDATE sayiir_meta SET value = 999 WHERE key = 'schema-version'`)
  }, 'SCHEMA'))

test('M4: tables that only have the name of ours are refused, untouched', () =>
  expectRefused((path) => change(path, 'CREATE TABLE sayiir_meta (key, value)'), 'SCHEMA'))

test('M5: without migrate, an empty database is refused, untouched', () =>
  expectRefused((path) => writeFileSync(path, ''), 'SCHEMA', { migrate: false }))

test('M5: without migrate, no file is made', async () => {
  const path = join(makeFolder(), 'none.db')
  const connecting = SqliteBackend.connect({ path, migrate: false })
  await expect(connecting).rejects.toMatchObject({ code: 'SCHEMA' })
  expect(existsSync(path)).toBe(false)
})

test('M5: after migrate, connecting without it works, and migrating again does nothing', async () => {
  const path = join(makeFolder(), 'file.db')
  await migrate({ path })
  await migrate({ path })
  await using backend = await SqliteBackend.connect({ path, migrate: false })
  expect((await backend.saveSnapshot(SNAPSHOT)).revision).toBe(1)
  await backend.checkHealth()
})

test('M3: two prefixes in one file do not see each other', async () => {
  const path = join(makeFolder(), 'file.db')
  await using one = await SqliteBackend.connect({ path, tablePrefix: 'one_' })
  await using two = await SqliteBackend.connect({ path, tablePrefix: 'two_' })
  await one.saveSnapshot(SNAPSHOT)
  await expect(two.loadSnapshot('i')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  expect(await two.findAvailableTasks({ workerId: 'w', limit: 10 })).toEqual([])
})

test('a missing folder, or a folder in place of the file, can not be opened', async () => {
  const folder = makeFolder()
  for (const path of [join(folder, 'none', 'file.db'), folder]) {
    await expect(SqliteBackend.connect({ path })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('folder'),
    })
  }
})

test('a database that can only be read says so at the first write', async () => {
  const path = join(makeFolder(), 'file.db')
  await makeDatabase(path)
  const database = new DatabaseSync(path, { readOnly: true })
  const backend = await SqliteBackend.fromClient(database)
  expect((await backend.loadSnapshot('i')).revision).toBe(1)
  await expect(backend.saveSnapshot(SNAPSHOT)).rejects.toMatchObject({
    code: 'BACKEND',
    message: expect.stringContaining('writable'),
  })
  database.close()
})

test.each([
  ['deleted', (path: string) => rmSync(path)],
  ['moved', (path: string) => renameSync(path, `${path}.old`)],
  [
    'replaced',
    (path: string) => {
      renameSync(path, `${path}.old`)
      copyFileSync(`${path}.old`, path)
    },
  ],
])('S5: nothing is acknowledged that goes into a file that was %s', async (_, remove) => {
  const path = join(makeFolder(), 'file.db')
  await using backend = await SqliteBackend.connect({ path })
  await backend.saveSnapshot(SNAPSHOT)
  await backend.checkHealth()
  remove(path)
  const gone = { code: 'BACKEND', message: expect.stringContaining('connect anew') }
  await expect(backend.saveSnapshot(SNAPSHOT)).rejects.toMatchObject(gone)
  await expect(backend.checkHealth()).rejects.toMatchObject(gone)
})

test('S5: nor is what was being committed when the file went', async () => {
  const path = join(makeFolder(), 'file.db')
  const database = new DatabaseSync(path)
  let remove = () => {}
  const backend = await SqliteBackend.fromClient(
    watched(database, (sql) => {
      if (sql === 'COMMIT') remove()
    }),
  )
  remove = () => rmSync(path)
  const saving = backend.saveSnapshot(SNAPSHOT)
  await expect(saving).rejects.toMatchObject({ code: 'BACKEND' })
  database.close()
})

test('a corrupt file is reported as such, not as an empty one', async () => {
  const path = join(makeFolder(), 'file.db')
  await makeDatabase(path)
  const database = new DatabaseSync(path)
  const table = `SELECT rootpage FROM sqlite_schema WHERE name = 'sayiir_instance'`
  const page = Number(database.prepare(table).get()?.rootpage)
  const size = Number(database.prepare('PRAGMA page_size').get()?.page_size)
  database.close()
  const bytes = readFileSync(path)
  bytes.fill(0xa5, (page - 1) * size, page * size)
  writeFileSync(path, bytes)
  await using backend = await SqliteBackend.connect({ path })
  await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'SERIALIZATION' })
})

test('what is stored in an instance’s row but can not be read is SERIALIZATION', async () => {
  const path = join(makeFolder(), 'file.db')
  await makeDatabase(path)
  change(path, `UPDATE sayiir_instance SET head = '{"v":1,"status":"asleep"}'`)
  await using backend = await SqliteBackend.connect({ path })
  await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'SERIALIZATION' })
  await expect(
    backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 1000 }),
  ).rejects.toMatchObject({ code: 'SERIALIZATION' })
})

test('a connection that its owner closed is UNAVAILABLE', async () => {
  const database = new DatabaseSync(':memory:')
  const backend = await SqliteBackend.fromClient(database)
  database.close()
  await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  await expect(backend.saveSnapshot(SNAPSHOT)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
})

test(':memory: is neither durable nor shared, and says so', async () => {
  await using backend = await SqliteBackend.connect({ path: ':memory:' })
  expect(backend.capabilities).toMatchObject({ durable: false, shared: false })
  await using other = await SqliteBackend.connect({ path: ':memory:' })
  await backend.saveSnapshot(SNAPSHOT)
  await expect(other.loadSnapshot('i')).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

test.each([
  [{ path: '' }, TypeError],
  [{ path: 1 }, TypeError],
  [{ path: 'a\0b' }, TypeError],
  [{ path: ':memory:', synchronous: 'OFF' }, TypeError],
  [{ path: ':memory:', tablePrefix: 'a-b' }, TypeError],
  [{ path: ':memory:', tablePrefix: 'sqlite_x' }, TypeError],
  [{ path: ':memory:', tablePrefix: '' }, TypeError],
  [{ path: ':memory:', migrate: 'yes' }, TypeError],
  [{ path: ':memory:', busyTimeoutMs: -1 }, RangeError],
  [{ path: ':memory:', pollIntervalMs: 0 }, RangeError],
  [{ path: ':memory:', agingIntervalMs: 0 }, RangeError],
  [{ path: ':memory:', maxPayloadBytes: 0.5 }, RangeError],
])('%j is refused', async (options, kind) => {
  await expect(SqliteBackend.connect(options as SqliteConnectOptions)).rejects.toBeInstanceOf(kind)
})
