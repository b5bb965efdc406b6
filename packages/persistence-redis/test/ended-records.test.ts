import { RedisBackend } from '@sayiir/persistence-redis'
import { expect, inject, test } from 'vitest'
import { Layout } from '../src/layout.ts'
import { keysOf, observer } from './keys.ts'
import { atTask, bytes, claimOne, completed, failureOf } from './workflows.ts'

const { url } = inject('redis')
let prefixes = 0

function freshPrefix(): string {
  prefixes += 1
  return `ended-${process.pid}-${Date.now()}-${prefixes}:`
}

/** Bytes of every value, zero bytes among them. */
function anyBytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7) % 256)
}

test('S10 outputs of an instance that completed are as they were, short or long, whatever their bytes', async () => {
  const keyPrefix = freshPrefix()
  await using backend = await RedisBackend.connect({ url, keyPrefix })
  for (const length of [0, 1, 256, 257, 5000]) {
    for (const id of [`i${length}`, `ü${length}`]) {
      await backend.saveSnapshot(atTask(id))
      const { claim } = await claimOne(backend)
      const output = anyBytes(length)
      const finalOutput = anyBytes(length).reverse()
      const outcome = { kind: 'completed', output, next: { finalOutput } } as const
      const receipt = await backend.commitTask({ claim, outcome })
      await expect(backend.commitTask({ claim, outcome })).resolves.toEqual(receipt)
      const { state } = await backend.loadSnapshot(id)
      expect(state).toEqual({
        status: 'completed',
        finalOutput,
        completedTasks: new Map([['a', { taskId: 'a', output }]]),
      })
      await expect(backend.loadTaskResult(id, 'a')).resolves.toEqual(output)
      await expect(backend.loadTaskResult(id, 'b')).resolves.toBeNull()
    }
  }
  expect(await backend.stats()).toMatchObject({ byStatus: { completed: 10 } })
  const listed = await Array.fromAsync(backend.listSnapshots({ status: 'completed' }))
  expect(listed.length).toBe(10)
  expect(await failureOf(backend.saveSnapshot(atTask('i1')))).toMatchObject({ code: 'TERMINAL' })
})

test('S8 an instance that completed has its outputs in its record, and nothing beside it', async () => {
  const keyPrefix = freshPrefix()
  const shard = `${keyPrefix}{0}:`
  await using backend = await RedisBackend.connect({ url, keyPrefix })
  // Once with an output of the task that ends it, and once with one of another.
  for (const [id, before] of [
    ['same', 'a'],
    ['other', 'z'],
  ] as const) {
    await backend.saveSnapshot({ ...atTask(id), initialInput: null })
    await backend.saveTaskResult({ instanceId: id, taskId: before, output: bytes('before') })
    const { claim } = await claimOne(backend)
    await backend.commitTask({ claim, outcome: completed('end', null) })
    const { state } = await backend.loadSnapshot(id)
    const expected = before === 'a' ? ['end'] : ['before', 'end']
    expect(
      Array.from(state.completedTasks.values(), ({ output }) => `${Buffer.from(output)}`),
    ).toEqual(expected)
  }
  expect(await keysOf(url, shard)).toEqual(
    ['ended', 'ids', 'instances', 'meta', 'r:other'].map((name) => shard + name),
  )
  await backend.deleteSnapshot('same')
  await backend.prune({ endedBefore: Date.now() + 60_000 })
  expect(await keysOf(url, shard)).toEqual([`${shard}meta`])
  expect(await observer(url).hkeys(`${shard}meta`)).toContain('token')
})

test('D6 a repeated commit that ended its instance gives the task again that came of another shard', async () => {
  const keyPrefix = freshPrefix()
  await using backend = await RedisBackend.connect({ url, keyPrefix, shards: 2 })
  const layout = new Layout(keyPrefix, 2)
  const ids = Array.from({ length: 100 }, (_, index) => `i${index}`)
  const [near = '', far = ''] = layout.shards.map(
    (shard) => ids.find((id) => layout.shardOf(id) === shard) ?? '',
  )
  await backend.saveSnapshot(atTask(near))
  const { claim } = await claimOne(backend)
  await backend.saveSnapshot(atTask(far))
  const commit = { claim, outcome: completed('end', null), claimNext: { ttlMs: 60_000 } }
  const receipt = await backend.commitTask(commit)
  expect(receipt.next?.task.instanceId).toBe(far)
  await expect(backend.commitTask(commit)).resolves.toEqual(receipt)
  await expect(backend.loadTaskResult(near, 'a')).resolves.toEqual(bytes('end'))
})
