import { DatabaseSync } from 'node:sqlite'
import { BackendError, createSnapshot, type WorkflowSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'
import { watched } from './watched.ts'

const full = Object.assign(new Error('database or disk is full'), {
  code: 'ERR_SQLITE_ERROR',
  errcode: 13,
})

/** A backend whose COMMIT fails as on a full disk while `isFull` says so. */
async function open(isFull: (database: DatabaseSync) => boolean): Promise<SqliteBackend> {
  const database = new DatabaseSync(':memory:')
  return SqliteBackend.fromClient(
    watched(database, (sql) => {
      if (sql === 'COMMIT' && isFull(database)) throw full
    }),
  )
}

function snapshot(instanceId: string, initialInput = new Uint8Array(1)): WorkflowSnapshot {
  return createSnapshot({ instanceId, definitionHash: 'd', initialInput })
}

function codeOf(result: PromiseSettledResult<unknown>): string | null {
  if (result.status === 'fulfilled') return null
  return BackendError.is(result.reason) ? result.reason.code : String(result.reason)
}

test('D10: of those whose transaction does not fit on the disk, the others land', async () => {
  await using backend = await open(
    (database) =>
      database.prepare('SELECT 1 FROM sayiir_payload WHERE length(bytes) > 9').get() !== undefined,
  )
  const saves = [snapshot('a'), snapshot('large', new Uint8Array(10)), snapshot('b')]
  const results = await Promise.allSettled(saves.map((one) => backend.saveSnapshot(one)))
  expect(results.map(codeOf)).toEqual([null, 'UNAVAILABLE', null])
  expect((await backend.loadSnapshot('a')).revision).toBe(1)
  expect((await backend.loadSnapshot('b')).revision).toBe(1)
  await expect(backend.loadSnapshot('large')).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

test('D10: the same where SQLite itself finds no room, in the middle of one', async () => {
  const database = new DatabaseSync(':memory:')
  await using backend = await SqliteBackend.fromClient(database)
  const pages = Number(database.prepare('PRAGMA page_count').get()?.page_count)
  database.exec(`PRAGMA max_page_count = ${pages + 100}`)
  // Two fit, and none beside the second.
  const sizes = [100_000, 250_000, 300_000, 100_000]
  const results = await Promise.allSettled(
    sizes.map((size, index) => backend.saveSnapshot(snapshot(`i${index}`, new Uint8Array(size)))),
  )
  expect(results.map(codeOf)).toEqual([null, null, 'UNAVAILABLE', 'UNAVAILABLE'])
  const all = await Array.fromAsync(backend.listSnapshots())
  expect(all.map(({ instanceId }) => instanceId)).toEqual(['i0', 'i1'])
  // What is deleted makes room.
  await backend.deleteSnapshot('i1')
  expect((await backend.saveSnapshot(snapshot('i3', new Uint8Array(100_000)))).revision).toBe(1)
})

test('S7: no conflict with a save of the same transaction that did not land', async () => {
  let isFull = false
  await using backend = await open(() => isFull)
  isFull = true
  const save = () => backend.saveSnapshot(snapshot('i'), { expectedRevision: 0 })
  const results = await Promise.allSettled([save(), save()])
  expect(results.map(codeOf)).toEqual(['UNAVAILABLE', 'UNAVAILABLE'])
  isFull = false
  expect((await save()).revision).toBe(1)
  expect(
    (await Promise.allSettled([save(), backend.deleteSnapshot('i'), save()])).map(codeOf),
  ).toEqual(['CONFLICT', null, null])
})

/** A backend on which looking for one instance fails once, as a disk does, and takes the transaction with it. */
async function openFailing(errcode: number): Promise<SqliteBackend> {
  const database = new DatabaseSync(':memory:')
  let isBroken = true
  return SqliteBackend.fromClient(
    watched(database, (sql, values) => {
      if (!isBroken || values[0] !== 'bad' || !sql.startsWith('SELECT')) return
      isBroken = false
      // What SQLite does: https://www.sqlite.org/lang_transaction.html, "Response To Errors".
      database.exec('ROLLBACK')
      throw Object.assign(new Error('disk'), { code: 'ERR_SQLITE_ERROR', errcode })
    }),
  )
}

test.each([
  [10, 'UNAVAILABLE'],
  [7, 'UNAVAILABLE'],
  // Those before it may have filled the disk: it is tried again on its own.
  [13, null],
])(
  'S5: no operation is kept without its transaction when a read ends that with code %i',
  async (code, expected) => {
    await using backend = await openFailing(code)
    const saves = ['a', 'bad', 'b', 'c'].map((id) => backend.saveSnapshot(snapshot(id)))
    expect((await Promise.allSettled(saves)).map(codeOf)).toEqual([null, expected, null, null])
    for (const id of ['a', 'b', 'c']) expect((await backend.loadSnapshot(id)).revision).toBe(1)
  },
)

test('a borrowed database may have been opened with other defaults', async () => {
  const database = new DatabaseSync(':memory:', { readBigInts: true, returnArrays: true })
  const backend = await SqliteBackend.fromClient(database)
  await backend.saveSnapshot(snapshot('i'))
  expect(await backend.loadSnapshot('i')).toMatchObject({ instanceId: 'i', revision: 1 })
  await backend.close()
  database.close()
})
