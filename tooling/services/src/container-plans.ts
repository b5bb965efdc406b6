import { randomBytes } from 'node:crypto'
import { freePort, freePorts } from './free-port.ts'
import { formReplicaSet } from './mongo-replica-set.ts'
import { configFile, usersFile } from './packages/pgbouncer.ts'
import { clusterArgs, durableArgs, replicaArgs } from './packages/redis.ts'
import { formCluster } from './redis-cluster.ts'
import { awaitReplica, sentinelConfig } from './redis-sentinel.ts'
import type { ServiceName } from './service.ts'
import { variable } from './variables.ts'

/** One container: what is not said is as the image has it. */
export interface ContainerSpec {
  readonly image: string
  readonly entrypoint?: readonly string[]
  readonly command?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly files?: Readonly<Record<string, string>>
  /** Published: from a port of the container to one of the host. */
  readonly ports?: readonly { readonly container: number; readonly host: number }[]
  /** The service and the URL that tell when it answers. */
  readonly ready: { readonly name: ServiceName; readonly url: string }
}

/** The containers of a service. All but the first share the network of the first. */
export interface ContainerPlan {
  readonly url: string
  readonly urls?: readonly string[]
  readonly directUrl?: string
  readonly containers: readonly ContainerSpec[]
  /** Finds the version in the first container's log, where the server does not tell clients. */
  readonly versionInLog?: RegExp
  settle?(): Promise<void>
}

export const officialImages: Readonly<Record<ServiceName, string>> = {
  postgres: 'postgres:18',
  'postgres-oldest': 'postgres:14',
  pgbouncer: 'edoburu/pgbouncer:latest',
  redis: 'redis:8',
  'redis-cluster': 'redis:8',
  'redis-sentinel': 'redis:8',
  mongodb: 'mongo:8',
  dynamodb: 'amazon/dynamodb-local:2',
}

export async function containerPlan(name: ServiceName, host: string): Promise<ContainerPlan> {
  switch (name) {
    case 'postgres':
    case 'postgres-oldest':
      return postgresPlan(name, host)
    case 'pgbouncer':
      return pgbouncerPlan(host)
    case 'redis':
      return redisPlan(host)
    case 'redis-cluster':
      return redisClusterPlan(host)
    case 'redis-sentinel':
      return redisSentinelPlan(host)
    case 'mongodb':
      return mongoPlan(host)
    case 'dynamodb':
      return dynamoPlan(host)
  }
}

function image(name: ServiceName): string {
  return process.env[variable(name, 'IMAGE')] || officialImages[name]
}

async function postgresPlan(
  name: 'postgres' | 'postgres-oldest',
  host: string,
): Promise<ContainerPlan> {
  const password = randomBytes(12).toString('hex')
  const port = await freePort()
  const url = `postgres://postgres:${password}@${host}:${port}/postgres`
  const container = {
    image: image(name),
    env: { POSTGRES_PASSWORD: password },
    ports: [{ container: 5432, host: port }],
    ready: { name, url },
  }
  return { url, containers: [container] }
}

async function pgbouncerPlan(host: string): Promise<ContainerPlan> {
  const postgres = await postgresPlan('postgres', host)
  const { username, password } = new URL(postgres.url)
  const port = await freePort()
  const url = `postgres://${username}:${password}@${host}:${port}/postgres`
  const [first, ...others] = postgres.containers
  if (first === undefined) throw new Error('a plan without a container')
  const users = '/tmp/users.txt'
  const config = { server: 'host=127.0.0.1 port=5432', listen: '*', port: 6432, users }
  return {
    url,
    directUrl: postgres.url,
    containers: [
      { ...first, ports: [...(first.ports ?? []), { container: 6432, host: port }] },
      ...others,
      {
        image: image('pgbouncer'),
        entrypoint: ['pgbouncer', '/tmp/pgbouncer.ini'],
        files: { '/tmp/pgbouncer.ini': configFile(config), [users]: usersFile(username, password) },
        ready: { name: 'pgbouncer', url },
      },
    ],
  }
}

async function redisPlan(host: string): Promise<ContainerPlan> {
  const port = await freePort()
  const url = `redis://${host}:${port}`
  const container = {
    image: image('redis'),
    command: ['redis-server', '--bind', '0.0.0.0', '--protected-mode', 'no', ...durableArgs],
    ports: [{ container: 6379, host: port }],
    ready: { name: 'redis', url },
  } as const
  return { url, containers: [container] }
}

/** All nodes in one container, on the ports that they have outside: the nodes tell them to clients. */
async function redisClusterPlan(host: string): Promise<ContainerPlan> {
  const [a = 0, b = 0, c = 0, ...busPorts] = await freePorts(6)
  const ports = [a, b, c]
  const nodes = ports.map((port, index) => {
    const listen = `--port ${port} --bind 0.0.0.0 --protected-mode no --dir /data/${port}`
    const args = [...durableArgs.map((arg) => arg || "''"), ...clusterArgs(busPorts[index] ?? 0)]
    return `mkdir -p /data/${port} && redis-server ${listen} ${args.join(' ')} &\npids="$pids $!"`
  })
  const urls = ports.map((port) => `redis://${host}:${port}`)
  const [url = ''] = urls
  const script = `trap 'kill $pids; wait' TERM\n${nodes.join('\n')}\nwait`
  const container = {
    image: process.env[variable('redis-cluster', 'IMAGE')] || image('redis'),
    entrypoint: ['sh', '-c', script],
    ports: ports.map((port) => ({ container: port, host: port })),
    ready: { name: 'redis-cluster', url },
  } as const
  return { url, urls, containers: [container], settle: () => formCluster(urls, busPorts) }
}

/** All in one container, on the ports that they have outside: the Sentinel tells them to clients. */
async function redisSentinelPlan(host: string): Promise<ContainerPlan> {
  const [sentinel = 0, master = 0, replica = 0] = await freePorts(3)
  const open = `--bind 0.0.0.0 --protected-mode no`
  const follows = `replicaof 127.0.0.1 ${master}`
  const args = [...durableArgs.map((arg) => arg || "''"), ...replicaArgs].join(' ')
  const server = (port: number, config: string): string =>
    [
      `mkdir -p /data/${port} && cd /data/${port} && [ -f redis.conf ] || echo '${config}' > redis.conf`,
      `redis-server redis.conf --port ${port} ${open} --dir /data/${port} ${args} &`,
      'pids="$pids $!"',
    ].join('\n')
  const watch = [
    `[ -f /data/sentinel.conf ] || echo '${sentinelConfig(master)}' > /data/sentinel.conf`,
    `redis-server /data/sentinel.conf --sentinel --port ${sentinel} ${open} &`,
    'pids="$pids $!"',
  ]
  const script = [
    "trap 'kill $pids; wait' TERM",
    server(master, ''),
    server(replica, follows),
    ...watch,
    'wait',
  ].join('\n')
  const urls = [sentinel, master, replica].map((port) => `redis://${host}:${port}`)
  const [url = ''] = urls
  const container = {
    image: process.env[variable('redis-sentinel', 'IMAGE')] || image('redis'),
    entrypoint: ['sh', '-c', script],
    ports: [sentinel, master, replica].map((port) => ({ container: port, host: port })),
    ready: { name: 'redis-sentinel', url },
  } as const
  return { url, urls, containers: [container], settle: () => awaitReplica(url) }
}

async function mongoPlan(host: string): Promise<ContainerPlan> {
  const port = await freePort()
  const url = `mongodb://${host}:${port}/?directConnection=true`
  const name = image('mongodb')
  // Transactions need a replica set. An image of something else is taken as it is.
  const official = /(^|\/)mongo(:|@|$)/.test(name)
  const container = {
    image: name,
    ...(official ? { command: ['--replSet', 'rs0', '--bind_ip_all'] } : {}),
    ports: [{ container: 27017, host: port }],
    ready: { name: 'mongodb', url },
  } as const
  return {
    url,
    containers: [container],
    ...(official ? { settle: () => formReplicaSet(url) } : {}),
  }
}

async function dynamoPlan(host: string): Promise<ContainerPlan> {
  const port = await freePort()
  const url = `http://${host}:${port}`
  const name = image('dynamodb')
  // Its image keeps tables in memory, where a restart would lose them.
  const official = /(^|\/)amazon\/dynamodb-local(:|@|$)/.test(name)
  const container = {
    image: name,
    ...(official ? { command: ['-jar', 'DynamoDBLocal.jar', '-dbPath', '/tmp'] } : {}),
    ports: [{ container: 8000, host: port }],
    ready: { name: 'dynamodb', url },
  } as const
  return { url, containers: [container], versionInLog: /^Version:\s+(\S+)/m }
}
