import { expect, test } from 'vitest'
import type { StoredInstance } from '../src/adapter.ts'
import { createSnapshot, type Position, type TaskRetry } from '../src/index.ts'
import { InstanceCache } from '../src/optimistic/instance-cache.ts'
import { toHead } from '../src/snapshot.ts'

const KB = 1024

function stored(
  instanceId: string,
  position: Position,
  retries: ReadonlyMap<string, TaskRetry> = new Map(),
): StoredInstance {
  const head = toHead(createSnapshot({ instanceId, definitionHash: 'd', position }))
  return {
    ...{ generation: 'g', version: 1, head: { ...head, retries } },
    ...{ entries: [], cancel: null, pause: null, queuedEvents: 0 },
  }
}

const retry = (index: number): [string, TaskRetry] => [
  `t${index}`,
  { attempts: 1, lastError: 'e'.repeat(64 * KB), lastFailedWorker: null, nextRetryAt: 0 },
]

const large: readonly [string, (instanceId: string) => StoredInstance][] = [
  [
    'errors of its retries',
    (id) => {
      const retries = new Map(Array.from({ length: 16 }, (_, index) => retry(index)))
      return stored(id, { kind: 'at-task', taskId: 'a' }, retries)
    },
  ],
  [
    'outputs of finished branches',
    (id) => {
      const output = new Uint8Array(1024 * KB)
      const completedBranches = new Map([['b', { taskId: 'b', output }]])
      return stored(id, { kind: 'at-join', joinId: 'j', completedBranches })
    },
  ],
]

test.each(large)('an instance counts with the %s', (_, make) => {
  const cache = new InstanceCache()
  const all = Array.from({ length: 100 }, (_, index) => make(`i${index}`))
  for (const one of all) cache.set(one)
  const kept = all.filter((one) => cache.get(one.head.instanceId) !== null)
  expect(kept.length).toBeGreaterThan(20)
  expect(kept.length).toBeLessThanOrEqual(32)
  expect(kept).toEqual(all.slice(-kept.length))
})
