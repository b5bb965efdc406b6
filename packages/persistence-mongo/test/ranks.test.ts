import { createSnapshot } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import { type CommandStartedEvent, type Document, MongoClient } from 'mongodb'
import { expect, test } from 'vitest'
import { MAX_TIE_BREAK, toEntryDoc } from '../src/records.ts'
import { TestCollections } from './collections.ts'

const AGING_MS = 1000
const MANY = 500

const atTask = (instanceId: string) =>
  createSnapshot({
    instanceId,
    definitionHash: 'd',
    position: { kind: 'at-task', taskId: 'a' },
  })

function rankOf(instanceId: string, priority: number, availableSince: number): number {
  const entry = {
    ...{ taskId: 'a', priority, availableSince, tags: [], attempt: 1, deliveries: 0 },
    ...{ timer: false, inputTaskId: null, lastFailedWorker: null, claim: null },
  }
  return toEntryDoc(instanceId, entry, 'd', AGING_MS).o
}

test('D2 of equal ranks that of what has waited longer comes first, and none reaches the next millisecond', () => {
  const since = 1_795_702_999_754
  const ids = Array.from({ length: MANY }, (_, index) => `i${index}`)
  for (const priority of [2, 3, 4, 5]) {
    const longer = ids.map((id) => rankOf(id, priority, since))
    const shorter = ids.map((id) => rankOf(id, priority - 1, since + AGING_MS))
    expect(Math.max(...longer)).toBeLessThan(Math.min(...shorter))
    const whole = since + priority * AGING_MS
    for (const rank of [...longer, ...shorter]) {
      expect(rank).toBeGreaterThanOrEqual(whole)
      expect(rank).toBeLessThanOrEqual(whole + MAX_TIE_BREAK)
    }
  }
})

test('D8 a claim among many that were stored at once sorts a few of them, where the server sorts', async () => {
  await using t = new TestCollections()
  const client = await new MongoClient(t.url, { monitorCommands: true }).connect()
  const backend = await MongoBackend.fromClient(client, t.options)
  await Promise.all(Array.from({ length: MANY }, (_, n) => backend.saveSnapshot(atTask(`i${n}`))))
  const searches: Document[] = []
  client.on('commandStarted', ({ command, commandName }: CommandStartedEvent) => {
    if (commandName === 'findAndModify') searches.push(command.query)
    if (commandName === 'update') searches.push(command.updates[0].q)
  })
  const claim = () => backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 60_000 })
  for (let round = 0; round < 5; round += 1) {
    searches.length = 0
    expect(await claim()).toHaveLength(1)
    const query = searches.at(-1) as Document
    // A server that reads a sort off the index gets no bound but the time: a range for each priority.
    const isBounded = query.$or === undefined || (query.$or as Document[]).length < 5
    // The one that was claimed is not among them any more.
    const left = await t.instances.countDocuments(query)
    expect(left).toBeLessThan(isBounded ? MANY / 5 : MANY)
  }
  await backend.close()
  await client.close()
})
