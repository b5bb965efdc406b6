/**
 * How long the server is busy with a script where very many are pending: `node … bench/longest-script.ts
 * 1000000`. While it runs a script a server does nothing else.
 */
import { type ClaimedTask, createSnapshot, type TaskOutcome } from '@sayiir/persistence-core'
import { startService } from '@sayiir/services'
import { Redis } from 'ioredis'
import { scripts } from '../src/scripts.ts'
import { clone, connect } from './backend.ts'

const DEPTHS = [1000, Number(process.argv[2] ?? 1_000_000)]
const ROUNDS = 300
const NAMES: ReadonlyMap<string, string> = new Map(
  Object.values(scripts).map(({ sha, name }) => [sha, name]),
)
const TTL_MS = 600_000

const service = await startService('redis')
const redis = new Redis(service.url)

function atTask(instanceId: string) {
  return createSnapshot({
    instanceId,
    definitionHash: 'definition',
    initialInput: new Uint8Array(200),
    position: { kind: 'at-task', taskId: 'step-1' },
  })
}

const step: TaskOutcome = {
  kind: 'completed',
  output: new Uint8Array(200),
  next: { position: { kind: 'at-task', taskId: 'step-2' } },
}
const end: TaskOutcome = {
  kind: 'completed',
  output: new Uint8Array(200),
  next: { finalOutput: new Uint8Array(200) },
}

/** Microseconds of each call by script, of what has been logged since the last time. */
async function times(): Promise<Map<string, number[]>> {
  const entries = (await redis.call('SLOWLOG', 'GET', -1)) as [number, number, number, string[]][]
  await redis.call('SLOWLOG', 'RESET')
  const all = new Map<string, number[]>()
  for (const [, , micros, [command = '', sha = '']] of entries) {
    const name = command.toLowerCase() === 'evalsha' ? NAMES.get(sha) : undefined
    if (name !== undefined) all.set(name, [...(all.get(name) ?? []), micros])
  }
  return all
}

const rows: Record<string, Record<string, number>> = {}
for (const depth of DEPTHS) {
  const place = {
    url: service.url,
    namespace: `deep_${depth}`,
    concurrency: 1,
    workload: 'W4',
  } as const
  const backend = await connect(place)
  await backend.saveSnapshot(atTask('most'))
  await clone(place, 'most', depth - 1)
  // Not the commands within scripts: to note them costs more than they do.
  await redis.config('SET', 'slowlog-log-slower-than', '20')
  await redis.config('SET', 'slowlog-max-len', '1000000')
  await redis.call('SLOWLOG', 'RESET')
  const claim = (limit: number, ttlMs = TTL_MS): Promise<ClaimedTask[]> =>
    backend.claimAvailableTasks({ workerId: 'worker', limit, ttlMs })
  const note = async (what: string): Promise<void> => {
    for (const [name, micros] of await times()) {
      micros.sort((a, b) => a - b)
      const median = micros[Math.floor(micros.length / 2)] ?? 0
      rows[`${what} (${name})`] = {
        ...rows[`${what} (${name})`],
        [`${depth} pending, median us`]: median,
        [`${depth}, longest us`]: micros.at(-1) ?? 0,
      }
    }
  }

  for (let index = 0; index < ROUNDS; index += 1) await backend.saveSnapshot(atTask(`new-${index}`))
  await note('save a new one')
  const held: ClaimedTask[] = []
  for (let index = 0; index < ROUNDS; index += 1) held.push(...(await claim(1)))
  await note('claim 1')
  for (let index = 0; index < 10; index += 1) held.push(...(await claim(50)))
  await note('claim 50')
  for (const { claim } of held.splice(0, ROUNDS)) {
    await backend.commitTask({ claim, outcome: step, claimNext: { ttlMs: TTL_MS } })
  }
  await note('commit a step, claim the next')
  for (const { claim } of held.splice(0, 100)) await backend.commitTask({ claim, outcome: end })
  await note('commit the end')
  await Promise.all(held.map(({ claim }) => backend.commitTask({ claim, outcome: end })))
  await note('commit the ends of 64 at once')
  for (let index = 0; index < ROUNDS; index += 1) await backend.waitForWakeup({ timeoutMs: 0 })
  await note('look')
  for (let index = 0; index < 20; index += 1) await backend.stats()
  await note('stats')
  let listed = 0
  for await (const _summary of backend.listSnapshots()) {
    listed += 1
    if (listed === 5000) break
  }
  await note('list')
  await backend.prune({ endedBefore: Date.now() + TTL_MS })
  await note('prune')
  // Of a worker that died with very many.
  for (let index = 0; index < 5; index += 1) await claim(Math.min(1000, depth / 5), 50)
  await new Promise((resolve) => setTimeout(resolve, 100))
  await times()
  await claim(1)
  await note('claim 1 when up to 5,000 claims have just expired')
  await backend.close()
}
console.table(rows)
redis.disconnect()
await service.stop()
