import { randomBytes } from 'node:crypto'
import { createSnapshot } from '@sayiir/persistence-core'
import { MongoBackend, migrate } from '@sayiir/persistence-mongo'
import { type Document, MongoClient } from 'mongodb'
import { afterAll, expect, test } from 'vitest'
import { TestCollections } from './collections.ts'
import { DATABASE } from './process.ts'

// Servers of tests let everybody do everything. CI has one that asks for a log-in, and names it.
const adminUrl = process.env.SAYIIR_TEST_MONGODB_ADMIN_URL
const withLogins = test.skipIf(adminUrl === undefined)

const admin = new MongoClient(adminUrl ?? 'mongodb://127.0.0.1:1')
afterAll(() => admin.close())

/** A user with these roles in the tests' database; where to connect as that one. */
async function userWith(roles: readonly (string | Document)[]): Promise<string> {
  const name = `u${randomBytes(6).toString('hex')}`
  const pwd = randomBytes(12).toString('hex')
  await admin.db(DATABASE).command({ createUser: name, pwd, roles: [...roles] })
  const url = new URL(adminUrl ?? '')
  url.username = name
  url.password = pwd
  url.searchParams.set('authSource', DATABASE)
  return url.href
}

/** Whether roles count: some servers have log-ins, and then let everybody do everything. */
async function enforcesRoles(): Promise<boolean> {
  if (adminUrl === undefined) return false
  await using client = new MongoClient(await userWith([{ role: 'read', db: DATABASE }]))
  const writing = client.db(DATABASE).collection('privileges').insertOne({})
  return await writing.then(
    () => false,
    () => true,
  )
}

const withRoles = test.skipIf(!(await enforcesRoles()))

/** A bit of everything that a backend does. */
async function useAll(backend: MongoBackend): Promise<void> {
  const position = { kind: 'at-task', taskId: 't0' } as const
  const initialInput = new Uint8Array(100_000)
  await backend.saveSnapshot(
    createSnapshot({ instanceId: 'i', definitionHash: 'd', position, initialInput }),
  )
  const worker = { workerId: 'w', limit: 1, ttlMs: 60_000, tags: [] }
  expect(await backend.waitForWakeup({ timeoutMs: 10_000 })).toMatchObject({ instanceId: 'i' })
  let [task] = await backend.claimAvailableTasks(worker)
  // Past the point where outputs are moved.
  for (let step = 1; step <= 40; step += 1) {
    if (task === undefined) return expect.fail(`step ${step} was not handed out`)
    const next = { position: { kind: 'at-task', taskId: `t${step}` } } as const
    await backend.renewTaskClaim(task.claim, 60_000)
    const receipt = await backend.commitTask({
      claim: task.claim,
      outcome: { kind: 'completed', output: new Uint8Array(10), next },
      claimNext: { ttlMs: 60_000 },
    })
    task = receipt.next ?? undefined
  }
  await backend.sendEvent('i', 'go', new Uint8Array(2000), { eventId: 'e' })
  expect(await backend.consumeEvent('i', 'go')).toHaveLength(2000)
  await backend.storeSignal('i', 'cancel')
  expect(await backend.checkAndCancel('i')).toBe(true)
  expect((await backend.loadSnapshot('i')).state.completedTasks.size).toBe(40)
  expect(await Array.fromAsync(backend.listSnapshots())).toHaveLength(1)
  expect((await backend.stats()).byStatus.cancelled).toBe(1)
  await backend.checkHealth()
  expect(await backend.prune({ endedBefore: Date.now() + 60_000 })).toMatchObject({ deleted: 1 })
}

withLogins('the role readWrite on the database is enough', async () => {
  await using t = new TestCollections(await userWith([{ role: 'readWrite', db: DATABASE }]))
  await useAll(await t.open())
})

withRoles('with set-up done apart, so are four actions on the three collections', async () => {
  await using t = new TestCollections(adminUrl)
  await migrate(t.options)
  const actions = ['find', 'insert', 'update', 'remove']
  const collections = [t.instances, t.parts, t.meta].map(({ collectionName }) => collectionName)
  const role = `r${randomBytes(6).toString('hex')}`
  await admin.db(DATABASE).command({
    createRole: role,
    privileges: collections.map((collection) => ({
      resource: { db: DATABASE, collection },
      actions,
    })),
    roles: [],
  })
  const url = await userWith([role])
  const backend = await MongoBackend.connect({ ...t.options, url, migrate: false })
  // It may not watch for changes.
  expect(backend.capabilities.wakeups).toBe('poll')
  await useAll(backend)
  await backend.close()
  await expect(
    MongoBackend.connect({ ...t.options, collectionPrefix: 'other_', url }),
  ).rejects.toMatchObject({ code: 'BACKEND' })
})

withRoles('a user who may only read is refused, with what is missing', async () => {
  await using t = new TestCollections(await userWith([{ role: 'read', db: DATABASE }]))
  await expect(t.open()).rejects.toMatchObject({
    code: 'BACKEND',
    message: expect.stringContaining('readWrite'),
  })
})
