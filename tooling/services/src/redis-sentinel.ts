import { setTimeout as sleep } from 'node:timers/promises'
import { ending } from './ending.ts'
import { ServiceError } from './service.ts'

/** What the Sentinel calls the master and its replica. */
const sentinelMaster = 'mymaster'
const formMs = 30_000

/** The Sentinel's configuration. It writes into it what it finds out. */
export function sentinelConfig(masterPort: number): string {
  return [
    `sentinel monitor ${sentinelMaster} 127.0.0.1 ${masterPort} 1`,
    `sentinel down-after-milliseconds ${sentinelMaster} 1000`,
    `sentinel failover-timeout ${sentinelMaster} 3000`,
    '',
  ].join('\n')
}

/** Waits until the Sentinel could do a failover: it knows a replica, which follows the master. */
export async function awaitReplica(sentinelUrl: string): Promise<void> {
  const { Redis } = await import('ioredis')
  const sentinel = new Redis(sentinelUrl, { maxRetriesPerRequest: 1, enableReadyCheck: false })
  sentinel.on('error', () => undefined)
  try {
    const deadline = Date.now() + formMs
    while (!(await followed(sentinel))) {
      if (Date.now() > deadline) throw new ServiceError(`no replica after ${formMs / 1_000} s`)
      await sleep(50, undefined, { signal: ending.signal })
    }
  } finally {
    sentinel.disconnect()
  }
}

interface Node {
  call(command: string, ...args: string[]): Promise<unknown>
}

async function followed(sentinel: Node): Promise<boolean> {
  const master = fieldsOf(await sentinel.call('SENTINEL', 'MASTER', sentinelMaster))
  if (master.get('flags') !== 'master') return false
  const replicas = (await sentinel.call('SENTINEL', 'REPLICAS', sentinelMaster)) as unknown[]
  return replicas.map(fieldsOf).some((replica) => {
    const follows = replica.get('master-port') === master.get('port')
    return follows && replica.get('flags') === 'slave' && replica.get('master-link-status') === 'ok'
  })
}

/** Names and values by turns, or an object, as the protocol's version has it. */
function fieldsOf(reply: unknown): ReadonlyMap<string, string> {
  const flat = (Array.isArray(reply) ? reply : Object.entries(reply as object).flat()) as string[]
  const pairs = flat.map((name, index): [string, string] => [name, flat[index + 1] ?? ''])
  return new Map(pairs.filter((_pair, index) => index % 2 === 0))
}
