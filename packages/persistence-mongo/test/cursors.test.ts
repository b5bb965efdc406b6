import { createSnapshot } from '@sayiir/persistence-core'
import { FindCursor, Long } from 'mongodb'
import { expect, test, vi } from 'vitest'
import { TestCollections } from './collections.ts'

interface Reading {
  readonly id: Long | undefined
  readonly namespace: { readonly collection?: string }
  getMore(): Promise<unknown>
}

/**
 * Kills each cursor before it is read on. Not while it is: FerretDB's process ends when a cursor
 * that has a connection of its own is killed in the middle of a `getMore`.
 */
function killCursors(t: TestCollections) {
  const cursors = FindCursor.prototype as unknown as Reading
  const { getMore } = cursors
  return vi.spyOn(cursors, 'getMore').mockImplementation(async function (this: Reading) {
    const { id, namespace } = this
    const killCursors = namespace.collection
    const reply = await t.db.command({ killCursors, cursors: [id ?? Long.ZERO] })
    expect(reply).toMatchObject({ cursorsKilled: [expect.anything()] })
    return getMore.call(this)
  })
}

test('a listing has no cursor that could be killed', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  const ids = Array.from({ length: 1200 }, (_, index) => `i${index.toString().padStart(4, '0')}`)
  await Promise.all(
    ids.map((instanceId) =>
      backend.saveSnapshot(createSnapshot({ instanceId, definitionHash: 'd' })),
    ),
  )
  using killed = killCursors(t)
  const listed: string[] = []
  for await (const { instanceId } of backend.listSnapshots()) listed.push(instanceId)
  expect(listed).toEqual(ids)
  expect(killed).not.toHaveBeenCalled()
})

test('a load whose cursors are killed is UNAVAILABLE, and reads all once they are not', async () => {
  await using t = new TestCollections()
  // More than one reply can hold.
  const payload = new Uint8Array(20 * 1024 * 1024).map((_, index) => index * 7)
  const start = { instanceId: 'i', definitionHash: 'd', initialInput: payload }
  const backend = await t.open({ maxPayloadBytes: payload.byteLength })
  await backend.saveSnapshot(createSnapshot(start))
  {
    using killed = killCursors(t)
    await expect(backend.loadSnapshot('i')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(killed.mock.calls.length).toBeGreaterThan(1)
  }
  const { initialInput } = await backend.loadSnapshot('i')
  expect(Buffer.compare(initialInput ?? new Uint8Array(0), payload)).toBe(0)
})
