import { createSnapshot, type PersistentBackend } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { type CommandStartedEvent, Long, MongoClient, type MongoClientOptions } from 'mongodb'
import { expect, inject, test, vi } from 'vitest'
import { TestCollections } from './collections.ts'
import { saysItHasStreams } from './server.ts'

const { url } = inject('mongodb')
const hasStreams = await (async () => {
  await using client = new MongoClient(url)
  return await saysItHasStreams(client)
})()

function atTask(instanceId: string, tags: readonly string[] = []) {
  const position = { kind: 'at-task', taskId: 'a' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position, tags })
}

/** A backend on a client whose commands are counted, by name. */
async function watched(t: TestCollections, options: MongoClientOptions = {}) {
  const client = await new MongoClient(url, { ...options, monitorCommands: true }).connect()
  const backend = await MongoBackend.fromClient(client, t.options)
  const sent: CommandStartedEvent[] = []
  client.on('commandStarted', (event: CommandStartedEvent) => sent.push(event))
  const streams = () =>
    sent.filter(({ command }) => JSON.stringify(command.pipeline ?? '').includes('$changeStream'))
  return {
    client,
    backend,
    sent,
    streams,
    async [Symbol.asyncDispose]() {
      await backend.close()
      await client.close()
    },
  }
}

/** Waits until a stream is open that tells of changes. */
async function listening({ sent }: Awaited<ReturnType<typeof watched>>): Promise<void> {
  await vi.waitFor(
    () => expect(sent.some(({ commandName }) => commandName === 'getMore')).toBe(true),
    {
      timeout: 30_000,
    },
  )
}

const wait = (backend: PersistentBackend, tags?: readonly string[]) =>
  backend.waitForWakeup({ timeoutMs: 60_000, ...(tags === undefined ? undefined : { tags }) })

test('the capability says whether the server tells of work', async () => {
  await using t = new TestCollections()
  const backend = await t.open()
  expect(backend.capabilities.wakeups).toBe(hasStreams ? 'push' : 'poll')
})

test.skipIf(hasStreams)('where there are no change streams a wait looks at intervals', async () => {
  await using t = new TestCollections()
  await using w = await watched(t)
  const writer = await t.open()
  const waiting = wait(w.backend)
  // A second look.
  await vi.waitFor(() =>
    expect(w.sent.filter(({ command }) => command.sort !== undefined).length).toBeGreaterThan(1),
  )
  await writer.saveSnapshot(atTask('i'))
  expect(await waiting).toEqual({ instanceId: 'i', taskId: 'a', definitionHash: 'd' })
  expect(w.streams()).toEqual([])
})

// The rest needs a replica set: other servers have no change streams.
test.skipIf(!hasStreams)('one stream tells all who wait, each of what is for him', async () => {
  await using t = new TestCollections()
  await using w = await watched(t)
  const writer = await t.open()
  const waiting = [wait(w.backend, ['x']), wait(w.backend, ['y']), wait(w.backend, ['x', 'y'])]
  await listening(w)
  await writer.saveSnapshot(atTask('i', ['y']))
  await expect(waiting[1]).resolves.toMatchObject({ instanceId: 'i' })
  await expect(waiting[2]).resolves.toMatchObject({ instanceId: 'i' })
  await writer.saveSnapshot(atTask('j', ['x']))
  await expect(waiting[0]).resolves.toMatchObject({ instanceId: 'j' })
  expect(w.streams()).toHaveLength(1)
})

test.skipIf(!hasStreams)('nobody waits, nothing is streamed', async () => {
  await using t = new TestCollections()
  await using w = await watched(t)
  await w.backend.saveSnapshot(atTask('i'))
  expect(await wait(w.backend)).toMatchObject({ instanceId: 'i' })
  await w.backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 60_000 })
  await w.backend.close()
  expect(w.streams().length).toBeLessThanOrEqual(1)
})

test.skipIf(!hasStreams)('a stream that is killed is opened again', async () => {
  await using t = new TestCollections()
  await using w = await watched(t)
  const writer = await t.open()
  const waiting = wait(w.backend)
  await listening(w)
  for (let round = 0; round < 3; round += 1) {
    const last = w.sent.findLast(({ commandName }) => commandName === 'getMore')
    const cursors = [Long.fromString(String(last?.command.getMore))]
    await t.db.command({ killCursors: t.instances.collectionName, cursors })
  }
  await writer.saveSnapshot(atTask('i'))
  await expect(waiting).resolves.toMatchObject({ instanceId: 'i' })
})

test.skipIf(!hasStreams)('what becomes due by itself is looked for at its time', async () => {
  await using t = new TestCollections()
  await using w = await watched(t)
  await w.backend.saveSnapshot(atTask('i'))
  const [task] = await w.backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 60_000 })
  if (task === undefined) return expect.fail('nothing was claimed')
  await w.backend.commitTask({
    claim: task.claim,
    outcome: { kind: 'retry', error: 'not yet', delayMs: 300 },
  })
  await expect(wait(w.backend)).resolves.toMatchObject({ instanceId: 'i' })
})

test('a pool of one connection has none to spare for a stream', async () => {
  await using t = new TestCollections()
  await using w = await watched(t, { maxPoolSize: 1 })
  expect(w.backend.capabilities.wakeups).toBe('poll')
  const waiting = wait(w.backend)
  await (await t.open()).saveSnapshot(atTask('i'))
  await expect(waiting).resolves.toMatchObject({ instanceId: 'i' })
})
