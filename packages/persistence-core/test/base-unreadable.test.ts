import { expect, test } from 'vitest'
import { decodeInstance, encodeInstance, type InstanceStore } from '../src/adapter.ts'
import { BackendError, createSnapshot, type WorkflowSnapshot } from '../src/index.ts'
import { KeyValueBackend, KeyValueStore } from './key-value-backend.ts'

const CLAIM = { workerId: 'w', ttlMs: 60_000 }
const EMPTY = new Uint8Array(0)
const DONE = { kind: 'completed', output: EMPTY, next: { finalOutput: EMPTY } } as const

function atTask(instanceId: string): WorkflowSnapshot {
  const position = { kind: 'at-task', taskId: 't' } as const
  return createSnapshot({ instanceId, definitionHash: 'd', position })
}

/** A record of which the JSON beside the snapshot is changed. */
function withJson(bytes: Uint8Array, change: (json: string) => string): Uint8Array {
  const length = new DataView(bytes.buffer).getUint32(0)
  const json = Buffer.from(change(Buffer.from(bytes.subarray(4, 4 + length)).toString()))
  const header = Buffer.alloc(4)
  header.writeUInt32BE(json.length)
  return new Uint8Array(Buffer.concat([header, json, bytes.subarray(4 + length)]))
}

const damages: readonly [string, string, (bytes: Uint8Array) => Uint8Array][] = [
  ['cut off', 'SERIALIZATION', (bytes) => bytes.subarray(0, 40)],
  ['empty', 'SERIALIZATION', () => EMPTY],
  [
    'of a newer version',
    'SCHEMA',
    (bytes) => withJson(bytes, (json) => json.replace('"v":1', '"v":9')),
  ],
  [
    'without entries',
    'SERIALIZATION',
    (bytes) => withJson(bytes, (json) => json.replace('"entries"', '"entry"')),
  ],
  [
    'with an entry of no worth',
    'SERIALIZATION',
    (bytes) => withJson(bytes, (json) => json.replace('"tags"', '"tag"')),
  ],
  [
    'of another instance',
    'SERIALIZATION',
    (bytes) => {
      const record = decodeInstance(bytes)
      return encodeInstance({ ...record, snapshot: { ...record.snapshot, instanceId: 'other' } })
    },
  ],
]

test.each(damages)('an instance that is %s holds up nobody else', async (_, code, damage) => {
  const store = new KeyValueStore()
  await using backend = new KeyValueBackend(store)
  for (const id of ['a', 'bad', 'c', 'd']) await backend.saveSnapshot(atTask(id))
  store.values.set('bad', damage(store.values.get('bad') ?? expect.fail()))

  const found = await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
  expect(found.map(({ instanceId }) => instanceId)).toEqual(['a', 'c', 'd'])
  expect(await backend.waitForWakeup({ timeoutMs: 0 })).toMatchObject({ instanceId: 'a' })
  const claimed = await backend.claimAvailableTasks({ ...CLAIM, limit: 2 })
  expect(claimed.map(({ task }) => task.instanceId)).toEqual(['a', 'c'])
  const [first, second] = claimed.map(({ claim }) => claim)
  const commit = { claim: first ?? expect.fail(), outcome: DONE, claimNext: { ttlMs: 60_000 } }
  const receipt = await backend.commitTask(commit)
  expect(receipt.next?.task.instanceId).toBe('d')
  expect(await backend.commitTask(commit)).toEqual(receipt)
  expect(await backend.commitTask({ ...commit, claim: second ?? expect.fail() })).toMatchObject({
    status: 'completed',
    next: null,
  })
  // With nothing to do but what can not be read, a worker waits as ever.
  expect(await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })).toEqual([])
  expect(await backend.waitForWakeup({ timeoutMs: 0 })).toBeNull()
  expect((await backend.stats()).byStatus).toMatchObject({ 'in-progress': 1, completed: 2 })
  expect(await backend.prune({ endedBefore: Date.now() + 60_000 })).toMatchObject({ deleted: 2 })

  // It is told to who asks for it, and does not vanish from listings.
  const told = { code, instanceId: 'bad' }
  await expect(backend.loadSnapshot('bad')).rejects.toMatchObject(told)
  await expect(Array.fromAsync(backend.listSnapshots())).rejects.toMatchObject(told)
  const rest = await Array.fromAsync(backend.listSnapshots({ after: 'bad' }))
  expect(rest.map(({ instanceId }) => instanceId)).toEqual(['d'])
  await backend.deleteSnapshot('bad')
  expect(await Array.fromAsync(backend.listSnapshots())).toHaveLength(1)
})

test('a repeated commit that brought one that can not be read lands still', async () => {
  const store = new KeyValueStore()
  await using backend = new KeyValueBackend(store)
  for (const id of ['a', 'b']) await backend.saveSnapshot(atTask(id))
  const [claimed] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  const commit = {
    claim: claimed?.claim ?? expect.fail(),
    outcome: DONE,
    claimNext: { ttlMs: 1000 },
  }
  const receipt = await backend.commitTask(commit)
  expect(receipt.next?.task.instanceId).toBe('b')
  store.values.set('b', EMPTY)
  expect(await backend.commitTask(commit)).toEqual({ ...receipt, next: null })
})

/** A backend on a store that fails from a moment on, in one primitive. */
class FailingBackend extends KeyValueBackend {
  declare protected readonly store: InstanceStore

  constructor(
    primitive: 'listInstances' | 'writeInstance',
    isDown: (instanceId: string) => boolean,
  ) {
    super(new KeyValueStore())
    const right = this.store
    const check = (instanceId: string): void => {
      if (isDown(instanceId)) throw new BackendError('UNAVAILABLE', 'down')
    }
    this.store = {
      ...right,
      ...(primitive === 'listInstances'
        ? {
            listInstances: async (after, limit) => {
              check(after ?? '')
              return right.listInstances(after, limit)
            },
          }
        : {
            writeInstance: async (record, version) => {
              check(record.snapshot.instanceId)
              return right.writeInstance(record, version)
            },
          }),
    } satisfies InstanceStore
  }
}

test('D6: a commit that landed is told as landed, also where the search for the next task fails', async () => {
  let isDown = false
  await using backend = new FailingBackend('listInstances', () => isDown)
  await backend.saveSnapshot(atTask('a'))
  const [claimed] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  isDown = true
  const commit = {
    claim: claimed?.claim ?? expect.fail(),
    outcome: DONE,
    claimNext: { ttlMs: 1000 },
  }
  expect(await backend.commitTask(commit)).toMatchObject({ status: 'completed', next: null })
})

test('D6: the next task is told of, also where a repeat of the commit will not find it', async () => {
  let writes = 0
  let isCounting = false
  await using backend = new FailingBackend('writeInstance', (instanceId) => {
    if (isCounting && instanceId === 'a') writes += 1
    return writes === 2
  })
  for (const id of ['a', 'b']) await backend.saveSnapshot(atTask(id))
  const [claimed] = await backend.claimAvailableTasks({ ...CLAIM, limit: 1 })
  isCounting = true
  const commit = {
    claim: claimed?.claim ?? expect.fail(),
    outcome: DONE,
    claimNext: { ttlMs: 1000 },
  }
  const { next } = await backend.commitTask(commit)
  expect(next?.task.instanceId).toBe('b')
  expect(writes).toBe(2)
})
