import type { ClaimedTask, PersistentBackend } from '@sayiir/persistence-core'
import { RedisBackend } from '@sayiir/persistence-redis'
import { expect, inject, test } from 'vitest'
import { atTask } from './workflows.ts'

const { url } = inject('redis')
const cluster = inject('redis-cluster')
const sizes = [0, 512, 513, 100_000, 3]

function anyBytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 11 + length) % 256)
}

/** Claims what is available, by instance. */
async function claimAll(backend: PersistentBackend): Promise<Map<string, ClaimedTask>> {
  const found = await backend.claimAvailableTasks({ workerId: 'w', limit: 50, ttlMs: 60_000 })
  return new Map(found.map((claimed) => [claimed.task.instanceId, claimed]))
}

const connections = {
  'its own connection': () => RedisBackend.connect({ url, keyPrefix: fresh() }),
  'a prefix of the client': () =>
    RedisBackend.connect({
      options: { ...optionsOf(url), keyPrefix: 'client:' },
      keyPrefix: fresh(),
    }),
  'a cluster': () =>
    RedisBackend.connect({
      cluster: { nodes: cluster.urls.map(optionsOf) },
      keyPrefix: fresh(),
      shards: 1,
    }),
}

let prefixes = 0

function fresh(): string {
  prefixes += 1
  return `large-${process.pid}-${Date.now()}-${prefixes}:`
}

function optionsOf(from: string) {
  const { hostname, port } = new URL(from)
  return { host: hostname, port: Number(port) }
}

for (const [what, connect] of Object.entries(connections)) {
  test(`S1 payloads of any size travel together, on ${what}`, async () => {
    await using backend = await connect()
    const ids = sizes.map((size) => `i${size}`)
    await Promise.all(
      sizes.map((size) =>
        backend.saveSnapshot({ ...atTask(`i${size}`), initialInput: anyBytes(size) }),
      ),
    )
    const first = await claimAll(backend)
    expect(ids.map((id) => first.get(id)?.task.input)).toEqual(sizes.map(anyBytes))
    // Twice as large at each step, and of the next one's sizes, so that each is beside others.
    const outputs = ids.map((_, index) => anyBytes((sizes[(index + 1) % sizes.length] ?? 0) * 2))
    await Promise.all(
      ids.map((id, index) =>
        backend.commitTask({
          claim: claimOf(first, id),
          outcome: {
            kind: 'completed',
            output: outputs[index] ?? new Uint8Array(0),
            next: { position: { kind: 'at-task', taskId: 'b' } },
          },
        }),
      ),
    )
    const second = await claimAll(backend)
    expect(ids.map((id) => second.get(id)?.task.input)).toEqual(outputs)
    expect(ids.map((id) => second.get(id)?.head.initialInput)).toEqual(sizes.map(anyBytes))
    await Promise.all(
      ids.map((id, index) =>
        backend.commitTask({
          claim: claimOf(second, id),
          outcome: {
            kind: 'completed',
            output: anyBytes(sizes[index] ?? 0),
            next: { finalOutput: outputs[index] ?? new Uint8Array(0) },
          },
        }),
      ),
    )
    for (const [index, id] of ids.entries()) {
      const { state, initialInput } = await backend.loadSnapshot(id)
      expect(initialInput).toEqual(anyBytes(sizes[index] ?? 0))
      expect(state).toMatchObject({ status: 'completed', finalOutput: outputs[index] })
      const stored = Array.from(state.completedTasks.values(), ({ output }) => output)
      expect(stored).toEqual([outputs[index], anyBytes(sizes[index] ?? 0)])
    }
  })
}

function claimOf(claimed: ReadonlyMap<string, ClaimedTask>, id: string): ClaimedTask['claim'] {
  const found = claimed.get(id)
  if (found === undefined) throw new Error(`${id} was not claimed`)
  return found.claim
}
