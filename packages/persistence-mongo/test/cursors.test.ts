import { createSnapshot } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { type CommandSucceededEvent, Long, MongoClient } from 'mongodb'
import { expect, test } from 'vitest'
import { TestCollections } from './collections.ts'

/** A backend whose cursors can be killed. */
async function open(t: TestCollections, isKilledAtOnce: boolean) {
  const client = await new MongoClient(t.url, { monitorCommands: true }).connect()
  const backend = await MongoBackend.fromClient(client, t.options)
  const cursors: { collection: string; id: string }[] = []
  const killing: Promise<unknown>[] = []
  const kill = ({ collection, id }: (typeof cursors)[number]) =>
    t.db.command({ killCursors: collection, cursors: [Long.fromString(id)] })
  client.on('commandSucceeded', ({ commandName, reply }: CommandSucceededEvent) => {
    const { id, ns } = (reply as { cursor?: { id: Long | number; ns: string } }).cursor ?? {}
    if (commandName !== 'find' || id === undefined || ns === undefined || `${id}` === '0') return
    const cursor = { collection: ns.slice(ns.indexOf('.') + 1), id: `${id}` }
    cursors.push(cursor)
    if (isKilledAtOnce) killing.push(kill(cursor))
  })
  return {
    backend,
    cursors,
    async killAll() {
      for (const cursor of cursors) await kill(cursor)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(killing)
      await backend.close()
      await client.close()
    },
  }
}

test('a listing goes on when the cursors of its last page are killed', async () => {
  await using t = new TestCollections()
  await using o = await open(t, false)
  const ids = Array.from({ length: 1200 }, (_, index) => `i${index.toString().padStart(4, '0')}`)
  await Promise.all(
    ids.map((instanceId) =>
      o.backend.saveSnapshot(createSnapshot({ instanceId, definitionHash: 'd' })),
    ),
  )
  const listed: string[] = []
  for await (const { instanceId } of o.backend.listSnapshots()) {
    if (listed.length % 250 === 0) await o.killAll()
    listed.push(instanceId)
  }
  expect(listed).toEqual(ids)
})

test('a load whose cursors are killed is read again, or UNAVAILABLE', async () => {
  await using t = new TestCollections()
  const writer = await t.open()
  // More than one reply can hold.
  const payload = new Uint8Array(20 * 1024 * 1024).map((_, index) => index * 7)
  const start = { instanceId: 'i', definitionHash: 'd', initialInput: payload }
  const big = await t.open({ maxPayloadBytes: payload.byteLength })
  await big.saveSnapshot(createSnapshot(start))
  await using o = await open(t, true)
  for (let round = 0; round < 3; round += 1) {
    const loaded = await o.backend.loadSnapshot('i').then(
      ({ initialInput }) => Buffer.compare(initialInput ?? new Uint8Array(0), payload),
      (error: unknown) => error,
    )
    if (loaded !== 0) expect(loaded).toMatchObject({ code: 'UNAVAILABLE' })
  }
  expect(o.cursors.length).toBeGreaterThan(0)
  // By itself, once nobody kills them.
  const { initialInput } = await writer.loadSnapshot('i')
  expect(Buffer.compare(initialInput ?? new Uint8Array(0), payload)).toBe(0)
})
