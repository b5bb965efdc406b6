import type { ClaimTasksParams, PersistentBackend } from '@sayiir/persistence-core'
import { expect, inject, test, vi } from 'vitest'
import { openMetered } from './costs.ts'
import { startHttpProxy } from './http-proxy.ts'
import { atTask, namespace, open } from './namespace.ts'
import { place } from './process.ts'

const PARAMS: ClaimTasksParams = { workerId: 'w', limit: 1, ttlMs: 30_000 }

async function claimed(
  backend: PersistentBackend,
  workerId = 'w',
): Promise<(string | undefined)[]> {
  const tasks = await backend.claimAvailableTasks({ ...PARAMS, workerId })
  return tasks.map(({ task }) => task.instanceId)
}

test('D10 workers that look at once for what is not there share a look', async () => {
  const { backend, measure } = await openMetered()
  await backend.saveSnapshot(atTask('i'))
  await backend.deleteSnapshot('i')
  const one = await measure(() => claimed(backend))
  const workers = Array.from({ length: 10 }, (_, index) => `w${index}`)
  const ten = await measure(() => Promise.all(workers.map((id) => claimed(backend, id))))
  // One is on its way when the others come, which then have one for all of them.
  expect(ten.requests).toEqual([...one.requests, ...one.requests])
})

test('D1 a look that began before a task was there is not taken for one that did not find it', async () => {
  const keyPrefix = namespace()
  const proxy = await startHttpProxy(inject('dynamodb').url)
  const backend = await open({ ...place(proxy.url), keyPrefix, shards: 1 })
  const other = await open({ keyPrefix, shards: 1 })
  const { promise: saved, resolve: release } = Promise.withResolvers<void>()
  let held = 0
  proxy.change = async ({ operation }, reply) => {
    if (operation !== 'Query') return reply
    held += 1
    await saved
    return reply
  }
  const first = claimed(backend, 'first')
  await vi.waitUntil(() => held > 0)
  // Its replies are on their way, and do not know of this one.
  await other.saveSnapshot(atTask('i'))
  const second = claimed(backend, 'second')
  release()
  expect(await first).toEqual([])
  expect(await second).toEqual(['i'])
})
