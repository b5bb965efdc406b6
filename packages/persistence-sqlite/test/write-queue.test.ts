import { DatabaseSync } from 'node:sqlite'
import { BackendError, createSnapshot, type WorkflowSnapshot } from '@sayiir/persistence-core'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { expect, test } from 'vitest'

const full = Object.assign(new Error('database or disk is full'), {
  code: 'ERR_SQLITE_ERROR',
  errcode: 13,
})

/** A backend whose COMMIT fails as on a full disk while `isFull` says so. */
async function open(isFull: (database: DatabaseSync) => boolean): Promise<SqliteBackend> {
  const database = new DatabaseSync(':memory:')
  return SqliteBackend.fromClient({
    exec: (sql) => database.exec(sql),
    close: () => database.close(),
    prepare: (sql) => {
      const statement = database.prepare(sql)
      if (sql !== 'COMMIT') return statement
      return {
        setReadBigInts: () => {},
        get: () => statement.get(),
        all: () => statement.all(),
        run: () => {
          if (isFull(database)) throw full
          return statement.run()
        },
      }
    },
  })
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

test('a borrowed database may have been opened with other defaults', async () => {
  const database = new DatabaseSync(':memory:', { readBigInts: true, returnArrays: true })
  const backend = await SqliteBackend.fromClient(database)
  await backend.saveSnapshot(snapshot('i'))
  expect(await backend.loadSnapshot('i')).toMatchObject({ instanceId: 'i', revision: 1 })
  await backend.close()
  database.close()
})
