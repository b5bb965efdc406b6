import { completeTask } from '@sayiir/persistence-core'
import { expect, test } from 'vitest'
import { InstanceItem, type State } from '../src/instance-item.ts'
import { ItemCache } from '../src/item-cache.ts'
import { atTask, namespace, open } from './namespace.ts'

const MB = 1024 * 1024

function item(instanceId: string): InstanceItem {
  return new InstanceItem(instanceId, { st: { S: 'i' } })
}

/** What an item says, with an initial input that is not in the item itself. */
function stateOf(instanceId: string, bytes: number): State {
  const { state, ...head } = atTask(instanceId, 'a', new Uint8Array(bytes))
  return { head, entries: [] } as unknown as State
}

test('instances are remembered by what they take, large inputs beside them included', () => {
  const cache = new ItemCache()
  const items = Array.from({ length: 100 }, (_, index) => item(`i${index}`))
  for (const one of items) {
    cache.set(one)
    cache.decoded(one, stateOf(one.instanceId, MB))
    // Whoever decodes it again has the same.
    cache.decoded(one, stateOf(one.instanceId, MB))
  }
  const kept = items.filter((one) => cache.get(one.instanceId) === one)
  expect(kept.length).toBeGreaterThan(20)
  expect(kept.length).toBeLessThanOrEqual(32)
  expect(kept).toEqual(items.slice(-kept.length))
  for (const { instanceId } of items) cache.delete(instanceId)
  const small = Array.from({ length: 1000 }, (_, index) => item(`s${index}`))
  for (const one of small) {
    cache.set(one)
    cache.decoded(one, stateOf(one.instanceId, 100))
  }
  expect(small.every((one) => cache.get(one.instanceId) === one)).toBe(true)
})

test('a body that several read at once is remembered, and counted, once', async () => {
  const keyPrefix = namespace()
  const writer = await open({ keyPrefix })
  for (const id of ['x', 'y'])
    await writer.saveSnapshot(completeTask(atTask(id, 'b'), 'a', new Uint8Array(3 * MB)))
  let queries = 0
  const reader = await open({
    keyPrefix,
    onConsumedCapacity: ({ operation }) => {
      if (operation === 'Query') queries += 1
    },
  })
  const load = (id: string): Promise<Uint8Array | null> => reader.loadTaskResult(id, 'a')
  await Promise.all(Array.from({ length: 8 }, () => load('x')))
  await load('y')
  queries = 0
  expect((await load('x'))?.byteLength).toBe(3 * MB)
  expect(queries).toBe(0)
})
