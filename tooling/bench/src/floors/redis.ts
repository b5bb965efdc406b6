import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Place } from '../definition.ts'
import type { Floor, FloorJob } from '../floor.ts'

interface Job extends FloorJob {
  readonly id: string
  readonly token: string
}

const LEASE_MS = 30_000
const CHUNK = 1000

// KEYS: ready, claims, done, prefix of jobs.
const CLAIM = `
local jobs = {}
for _ = 1, ARGV[3] do
  local id = redis.call('LPOP', KEYS[1])
  if not id then break end
  local key = KEYS[4] .. id
  redis.call('ZADD', KEYS[2], ARGV[1], id)
  local token = redis.call('HINCRBY', key, 't', 1)
  redis.call('HSET', key, 'w', ARGV[2])
  jobs[#jobs + 1] = { id, tostring(token), redis.call('HGET', key, 'p') }
end
return jobs`
const COMPLETE = `
for index = 1, #ARGV, 2 do
  local key = KEYS[4] .. ARGV[index]
  if redis.call('HGET', key, 't') ~= ARGV[index + 1] then return 0 end
  redis.call('ZREM', KEYS[2], ARGV[index])
  redis.call('HSET', key, 's', 'done')
  redis.call('INCR', KEYS[3])
end
return 1`
const FUSED = `
local key = KEYS[4] .. ARGV[3]
if redis.call('HGET', key, 't') ~= ARGV[4] then return redis.error_reply('the claim was lost') end
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('HSET', key, 's', 'done')
redis.call('INCR', KEYS[3])
local id = redis.call('LPOP', KEYS[1])
if not id then return nil end
key = KEYS[4] .. id
redis.call('ZADD', KEYS[2], ARGV[1], id)
local token = redis.call('HINCRBY', key, 't', 1)
redis.call('HSET', key, 'w', ARGV[2])
return { id, tostring(token), redis.call('HGET', key, 'p') }`
const CHECKPOINT = `
local key = KEYS[4] .. ARGV[1]
if redis.call('HGET', key, 't') ~= ARGV[2] then return 0 end
redis.call('HSET', key, 'snapshot', ARGV[3])
redis.call('HINCRBY', key, 'v', 1)
return 1`

type ScriptName = 'claim' | 'complete' | 'fused' | 'checkpoint'
type Row = [id: string, token: string, payload: string]

/**
 * ioredis with a Lua script that pops and claims and one that completes, on one connection: slots
 * in flight share it, which is faster than one each.
 */
class RedisFloor implements Floor<Job> {
  readonly #redis: Redis
  readonly #shas: Readonly<Record<ScriptName, string>>
  readonly #keys: readonly [ready: string, claims: string, done: string, jobs: string]
  readonly #tag: string
  #subscriber: Redis | null = null
  readonly #prefix = randomUUID().slice(0, 8)
  #enqueued = 0

  constructor(redis: Redis, shas: Readonly<Record<ScriptName, string>>, namespace: string) {
    this.#redis = redis
    this.#shas = shas
    this.#tag = `{${namespace}}`
    this.#keys = [
      `${this.#tag}:ready`,
      `${this.#tag}:claims`,
      `${this.#tag}:done`,
      `${this.#tag}:job:`,
    ]
  }

  async create(): Promise<void> {}

  async drop(): Promise<void> {
    for await (const keys of this.#redis.scanStream({ match: `${this.#tag}:*`, count: CHUNK })) {
      if (keys.length > 0) await this.#redis.unlink(keys)
    }
  }

  async fill(payloads: readonly string[]): Promise<void> {
    const [ready] = this.#keys
    const pipeline = this.#redis.pipeline()
    const ids = payloads.map((payload) => {
      const id = this.#id()
      pipeline.hset(this.#job(id), 'p', payload, 't', 0)
      return id
    })
    pipeline.rpush(ready, ...ids)
    await pipeline.exec()
  }

  async enqueue(payload: string): Promise<void> {
    await this.#insert(payload).exec()
  }

  async enqueueAndWake(payload: string): Promise<void> {
    await this.#insert(payload).publish(this.#tag, '').exec()
  }

  async listen(wake: () => void): Promise<void> {
    this.#subscriber = this.#redis.duplicate()
    await this.#subscriber.subscribe(this.#tag)
    this.#subscriber.on('message', wake)
  }

  async claim(worker: string): Promise<Job | undefined> {
    const [job] = await this.claimMany(worker, 1)
    return job
  }

  async claimMany(worker: string, limit: number): Promise<Job[]> {
    const rows = (await this.#run('claim', Date.now() + LEASE_MS, worker, limit)) as Row[]
    return rows.map(toJob)
  }

  async complete({ id, token }: Job): Promise<void> {
    this.#held(await this.#run('complete', id, token))
  }

  async completeMany(jobs: readonly Job[]): Promise<void> {
    this.#held(await this.#run('complete', ...jobs.flatMap(({ id, token }) => [id, token])))
  }

  async completeAndClaim({ id, token }: Job, worker: string): Promise<Job | undefined> {
    const row = await this.#run('fused', Date.now() + LEASE_MS, worker, id, token)
    return row === null ? undefined : toJob(row as Row)
  }

  async checkpoint({ id, token }: Job, outputs: readonly string[]): Promise<void> {
    this.#held(await this.#run('checkpoint', id, token, JSON.stringify(outputs)))
  }

  async remaining(): Promise<number> {
    const [ready, claims] = this.#keys
    return (await this.#redis.llen(ready)) + (await this.#redis.zcard(claims))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscriber?.disconnect()
    await this.#redis.quit()
  }

  #insert(payload: string) {
    const [ready] = this.#keys
    const id = this.#id()
    return this.#redis.multi().hset(this.#job(id), 'p', payload, 't', 0).rpush(ready, id)
  }

  #id(): string {
    this.#enqueued += 1
    return `${this.#prefix}-${this.#enqueued}`
  }

  #job(id: string): string {
    return `${this.#keys[3]}${id}`
  }

  #run(script: ScriptName, ...args: (string | number)[]): Promise<unknown> {
    return this.#redis.evalsha(this.#shas[script], this.#keys.length, ...this.#keys, ...args)
  }

  #held(reply: unknown): void {
    if (reply !== 1) throw new Error('a claim was lost')
  }
}

function toJob([id, token, payload]: Row): Job {
  return { id, token, payload }
}

export async function connect({ url, namespace }: Place): Promise<Floor> {
  const redis = new Redis(url)
  const load = async (lua: string): Promise<string> => String(await redis.script('LOAD', lua))
  const shas = {
    claim: await load(CLAIM),
    complete: await load(COMPLETE),
    fused: await load(FUSED),
    checkpoint: await load(CHECKPOINT),
  }
  return new RedisFloor(redis, shas, namespace)
}
