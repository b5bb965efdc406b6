/** Bytes of Redis memory for each idle instance and each stored step: `node … bench/memory.ts`. */
import { createSnapshot, type TaskOutcome } from '@sayiir/persistence-core'
import { RedisBackend } from '@sayiir/persistence-redis'
import { startService } from '@sayiir/services'
import { Redis } from 'ioredis'

const INSTANCES = 20_000
const STEPS = 20

const service = await startService('redis')
const redis = new Redis(service.url)

async function used(): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
}

async function inGroups(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < count; from += 500) {
    await Promise.all(Array.from({ length: 500 }, (_, index) => work(from + index)))
  }
}

async function measure(
  what: string,
  count: number,
  work: (backend: RedisBackend) => Promise<unknown>,
): Promise<void> {
  const backend = await RedisBackend.connect({ url: service.url })
  const before = await used()
  await work(backend)
  console.log(`${what}: ${Math.round(((await used()) - before) / count)} bytes`)
  await backend.close()
  await redis.flushall()
}

const input = new Uint8Array(200)
function instance(index: number) {
  return {
    instanceId: `order-${String(index).padStart(8, '0')}`,
    definitionHash: 'd'.repeat(64),
  }
}

await measure('an instance at a signal', INSTANCES, (backend) =>
  inGroups(INSTANCES, (index) =>
    backend.saveSnapshot(
      createSnapshot({
        ...instance(index),
        position: {
          kind: 'at-signal',
          signalId: 'wait',
          signalName: 'paid',
          wakeAt: null,
          nextTaskId: 'ship',
        },
      }),
    ),
  ),
)
await measure('an instance in the queue, with an input of 200 bytes', INSTANCES, (backend) =>
  inGroups(INSTANCES, (index) =>
    backend.saveSnapshot(
      createSnapshot({
        ...instance(index),
        initialInput: input,
        position: { kind: 'at-task', taskId: 'charge' },
      }),
    ),
  ),
)
await measure('one that completed, with an input of 200 bytes', INSTANCES, async (backend) => {
  await inGroups(INSTANCES, (index) =>
    backend.saveSnapshot(
      createSnapshot({
        ...instance(index),
        initialInput: input,
        position: { kind: 'at-task', taskId: 'charge' },
      }),
    ),
  )
  const done = new Uint8Array(20)
  const outcome: TaskOutcome = { kind: 'completed', output: done, next: { finalOutput: done } }
  for (let left = INSTANCES; left > 0; ) {
    const claimed = await backend.claimAvailableTasks({
      workerId: 'worker-1',
      limit: 500,
      ttlMs: null,
    })
    await Promise.all(claimed.map(({ claim }) => backend.commitTask({ claim, outcome })))
    left -= claimed.length
  }
})
for (const size of [20, 200]) {
  const output = new Uint8Array(size)
  await measure(`a step with an output of ${size} bytes`, 1000 * STEPS, async (backend) => {
    await inGroups(1000, async (index) => {
      await backend.saveSnapshot(
        createSnapshot({ ...instance(index), position: { kind: 'at-task', taskId: 'step-0' } }),
      )
    })
    const [first] = await Promise.all([used()])
    let claimed = await backend.claimAvailableTasks({
      workerId: 'worker-1',
      limit: 1000,
      ttlMs: null,
    })
    for (let step = 1; step <= STEPS; step += 1) {
      const outcome: TaskOutcome = {
        kind: 'completed',
        output,
        next: { position: { kind: 'at-task', taskId: `step-${step}` } },
      }
      const receipts = await Promise.all(
        claimed.map(({ claim }) =>
          backend.commitTask({ claim, outcome, claimNext: { ttlMs: null } }),
        ),
      )
      claimed = receipts.flatMap(({ next }) => (next === null ? [] : [next]))
    }
    console.log(
      `  without the instance: ${Math.round(((await used()) - first) / (1000 * STEPS))} bytes`,
    )
  })
}
redis.disconnect()
await service.stop()
