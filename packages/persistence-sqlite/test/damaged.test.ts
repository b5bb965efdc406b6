import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'
import { makeFolder } from './folder.ts'

/** The bytes of a database with 50 instances in it. */
async function makeBytes(path: string): Promise<Uint8Array> {
  await using backend = await SqliteBackend.connect({ path })
  const saves = Array.from({ length: 50 }, (_, index) =>
    backend.saveSnapshot(
      createSnapshot({
        instanceId: `i${index}`,
        definitionHash: 'd',
        initialInput: new Uint8Array(3000),
        position: { kind: 'at-task', taskId: 'a' },
      }),
    ),
  )
  await Promise.all(saves)
  await backend.close()
  return readFileSync(path)
}

const CORRUPT = ['SERIALIZATION', 'restore it from a backup'] as const
const NO_DATABASE = ['SCHEMA', 'not an SQLite database; it was left untouched'] as const

test.each<[string, readonly [string, string], (bytes: Uint8Array) => Uint8Array]>([
  ['cut off in the header', CORRUPT, (bytes) => bytes.subarray(0, 50)],
  ['cut off after the header', CORRUPT, (bytes) => bytes.subarray(0, 100)],
  ['cut off after the first page', CORRUPT, (bytes) => bytes.subarray(0, 4096)],
  ['cut off within a page', CORRUPT, (bytes) => bytes.subarray(0, bytes.length - 5000)],
  ['half of it', CORRUPT, (bytes) => bytes.subarray(0, bytes.length / 2)],
  ['of garbage where its schema was', CORRUPT, (bytes) => bytes.fill(0xa5, 100, 4096)],
  ['without its first bytes', NO_DATABASE, (bytes) => bytes.fill(0, 0, 16)],
  ['of a later file format', NO_DATABASE, (bytes) => bytes.fill(9, 18, 20)],
])(
  'M4: a file %s is refused, untouched, and the error says what to do',
  async (_, error, damage) => {
    const folder = makeFolder()
    const path = join(folder, 'file.db')
    const bytes = damage(await makeBytes(path))
    writeFileSync(path, bytes)
    const [code, message] = error
    await expect(SqliteBackend.connect({ path })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
      cause: { code: 'ERR_SQLITE_ERROR' },
    })
    expect(readFileSync(path).equals(bytes), 'the file should be untouched').toBe(true)
    expect(readdirSync(folder)).toEqual(['file.db'])
  },
)

test.each([
  ["another program's", 'CREATE TABLE note (text)', 'give another path'],
  ["another program's, by its mark", 'PRAGMA application_id = 42', 'give another path'],
  ['a table with the name of ours', 'CREATE TABLE sayiir_meta (key, value)', 'another tablePrefix'],
  [
    'a newer version',
    "CREATE TABLE sayiir_meta (key, value); INSERT INTO sayiir_meta VALUES ('schema-version', 999)",
    'upgrade this program',
  ],
])('M4: %s is refused with what to do, and keeps its journal mode', async (_, sql, message) => {
  const path = join(makeFolder(), 'file.db')
  const other = new DatabaseSync(path)
  other.exec(sql)
  await expect(SqliteBackend.connect({ path })).rejects.toMatchObject({
    code: 'SCHEMA',
    message: expect.stringContaining(message),
  })
  expect(other.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'delete' })
  other.close()
})

test('a path that can not be opened leaves nothing behind', async () => {
  const folder = makeFolder()
  for (const path of [folder, join(folder, 'none', 'file.db')]) {
    await expect(SqliteBackend.connect({ path })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('check that its folder exists'),
    })
  }
  expect(readdirSync(folder)).toEqual([])
})
