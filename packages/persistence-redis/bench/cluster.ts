/**
 * Three masters against one, with three client processes: jobs a second, and processor time of each
 * server and of the clients for each job. Where server and clients share few cores, the rate is no
 * measure of the servers: the time of the busiest server for each job is.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { type ClaimedTask, createSnapshot, type TaskOutcome } from '@sayiir/persistence-core'
import { RedisBackend } from '@sayiir/persistence-redis'
import { startService } from '@sayiir/services'
import { Redis } from 'ioredis'

const JOBS = Number(process.argv[2] ?? 12_000)
const ROUNDS = 3
const PROCESSES = 3
const SLOTS = 10
const TTL_MS = 60_000
const MODES = ['claimNext', 'batch50'] as const
const DONE: Uint8Array = new TextEncoder().encode('null')
const OUTCOME: TaskOutcome = {
  kind: 'completed',
  output: DONE,
  next: { finalOutput: DONE },
}

interface Task {
  readonly urls: readonly string[]
  readonly keyPrefix: string
  readonly shards: number
  readonly mode: (typeof MODES)[number] | 'fill'
  readonly share: number
}

function connect({ urls, keyPrefix, shards }: Task): Promise<RedisBackend> {
  const [url = ''] = urls
  if (urls.length === 1) return RedisBackend.connect({ url, keyPrefix, shards })
  const nodes = urls.map((node) => {
    const { hostname, port } = new URL(node)
    return { host: hostname, port: Number(port) }
  })
  return RedisBackend.connect({ cluster: { nodes }, keyPrefix, shards })
}

async function fill(backend: RedisBackend, count: number): Promise<number> {
  for (let from = 0; from < count; from += 500) {
    await Promise.all(
      Array.from({ length: Math.min(500, count - from) }, (_, index) =>
        backend.saveSnapshot(
          createSnapshot({
            instanceId: `job-${process.pid}-${from + index}`,
            definitionHash: 'definition',
            initialInput: new Uint8Array(200),
            position: { kind: 'at-task', taskId: 'step-1' },
          }),
        ),
      ),
    )
  }
  return count
}

/** Works until so many are done; how many were. */
async function drain(
  backend: RedisBackend,
  mode: 'claimNext' | 'batch50',
  count: number,
): Promise<number> {
  const workerId = `worker-${process.pid}`
  let done = 0
  const claim = (limit: number): Promise<ClaimedTask[]> =>
    backend.claimAvailableTasks({ workerId, limit, ttlMs: TTL_MS })
  const slot = async (): Promise<void> => {
    while (done < count) {
      const claimed = await claim(mode === 'batch50' ? 50 : 1)
      if (claimed.length === 0) return
      if (mode === 'batch50') {
        await Promise.all(
          claimed.map((one) => backend.commitTask({ claim: one.claim, outcome: OUTCOME })),
        )
        done += claimed.length
        continue
      }
      for (let next = claimed[0] ?? null; next !== null; ) {
        const receipt = await backend.commitTask({
          claim: next.claim,
          outcome: OUTCOME,
          claimNext: { ttlMs: TTL_MS },
        })
        done += 1
        next = done < count ? receipt.next : null
      }
    }
  }
  await Promise.all(Array.from({ length: SLOTS }, slot))
  return done
}

if (process.send === undefined) {
  await measure()
} else {
  let opened: { readonly backend: RedisBackend; readonly task: Task } | null = null
  process.on('message', async (message: Task | 'go') => {
    if (message !== 'go') {
      opened = { backend: await connect(message), task: message }
      process.send?.('ready')
    } else if (opened !== null) {
      const { backend, task } = opened
      const before = process.cpuUsage()
      const done =
        task.mode === 'fill'
          ? await fill(backend, task.share)
          : await drain(backend, task.mode, task.share)
      const { user, system } = process.cpuUsage(before)
      await backend.close()
      process.send?.({ done, cpu: user + system } satisfies Result)
    }
  })
  process.on('disconnect', () => process.exit())
}

interface Result {
  readonly done: number
  /** Microseconds of processor time. */
  readonly cpu: number
}

interface Run extends Result {
  readonly seconds: number
}

/** Opens it in every process, then has all begin at once. */
async function together(children: readonly ChildProcess[], task: Task): Promise<Run> {
  const say = (message: Task | 'go'): Promise<unknown[]> =>
    Promise.all(
      children.map(async (child) => {
        child.send(message)
        return ((await once(child, 'message')) as unknown[])[0]
      }),
    )
  await say(task)
  const startedAt = performance.now()
  const results = (await say('go')) as Result[]
  const seconds = (performance.now() - startedAt) / 1000
  const sum = (of: (result: Result) => number): number =>
    results.reduce((total, result) => total + of(result), 0)
  return { seconds, done: sum(({ done }) => done), cpu: sum(({ cpu }) => cpu) }
}

async function measure(): Promise<void> {
  const children = Array.from({ length: PROCESSES }, () =>
    fork(new URL(import.meta.url), { env: { ...process.env, NODE_ENV: 'production' } }),
  )
  const [one, three] = await Promise.all([startService('redis'), startService('redis-cluster')])
  const plans = [
    { what: 'one server, 1 shard', urls: one.urls, shards: 1 },
    { what: 'one server, 16 shards', urls: one.urls, shards: 16 },
    { what: 'three masters, 16 shards', urls: three.urls, shards: 16 },
  ]
  const rows: Record<string, Record<string, number | string>> = {}
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const mode of MODES) {
      for (const { what, urls, shards } of plans) {
        const nodes = urls.map((url) => new Redis(url))
        const cpu = (): Promise<number[]> => Promise.all(nodes.map(cpuOf))
        const task: Task = {
          urls,
          keyPrefix: `${mode}-${shards}-${round}:`,
          shards,
          mode,
          share: JOBS / PROCESSES,
        }
        // The queue does not run dry: how its end is found is no part of this.
        await together(children, { ...task, mode: 'fill', share: Math.ceil(task.share * 1.5) })
        const before = await cpu()
        const run = await together(children, task)
        const after = await cpu()
        if (run.done < JOBS) throw new Error(`${run.done} jobs were done instead of ${JOBS}`)
        const servers = after.map(
          (value, index) => ((value - (before[index] ?? 0)) * 1e6) / run.done,
        )
        for (const node of nodes) {
          await node.flushall()
          node.disconnect()
        }
        // The first round warms up; of the others the best is shown, which the machine disturbed least.
        const key = `${mode}, ${what}`
        const busiest = Math.max(...servers)
        const known = rows[key]
        if (round > 0 && (known === undefined || Number(known['busiest server, us/job']) > busiest))
          rows[key] = {
            'jobs/s': Math.round(run.done / run.seconds),
            'clients, us/job': Math.round(run.cpu / run.done),
            'servers, us/job': servers.map((value) => value.toFixed(1)).join(' + '),
            'busiest server, us/job': Number(busiest.toFixed(1)),
            'so at most, jobs/s': Math.round(1e6 / busiest),
          }
      }
    }
  }
  console.table(rows)
  for (const child of children) child.disconnect()
  await Promise.all([one.stop(), three.stop()])
}

async function cpuOf(node: Redis): Promise<number> {
  const info = await node.info('cpu')
  const read = (name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1])
  return read('used_cpu_sys') + read('used_cpu_user')
}
