import { BackendError } from '@sayiir/persistence-core'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { Connection, RedisClient } from './connection.ts'
import { toBackendError } from './errors.ts'
import type { CheckedOptions, Target } from './options.ts'

const OLDEST_MAJOR = 7
/** Milliseconds between two tries to connect at most. */
const MAX_RECONNECT_MS = 1000

/** A client of our own. It connects again by itself for as long as it is not closed. */
export function makeClient(target: Target, commandTimeoutMs: number): RedisClient {
  // Every command of a lost connection fails at once: `Connection` sends it again, or says so in time.
  const ours = {
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: commandTimeoutMs,
    retryStrategy: (times: number) => Math.min(times * 50, MAX_RECONNECT_MS),
    // After a failover the old master is a replica: connect to the new one, and send it there.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? 2 : false),
    lazyConnect: true,
  } as const
  const client = ((): RedisClient => {
    if (target.kind === 'cluster') {
      const { retryStrategy, ...node } = ours
      const options = {
        slotsRefreshTimeout: commandTimeoutMs,
        clusterRetryStrategy: retryStrategy,
        lazyConnect: true,
        ...target.options,
        // A connection that is dead and does not know it: of a node's, `Connection` does not either.
        redisOptions: { ...node, socketTimeout: commandTimeoutMs, ...target.options.redisOptions },
      } as ConstructorParameters<typeof Cluster>[1]
      return new Cluster([...target.nodes], options)
    }
    // Its own type of `replyMapping` is narrower than that of the options that it takes.
    const options = { ...ours, ...target.options } as RedisOptions & { replyMapping: 'legacy' }
    return target.url === null ? new Redis(options) : new Redis(target.url, options)
  })()
  // Calls fail by themselves; without a listener ioredis would print each.
  client.on('error', () => undefined)
  return client
}

/** Ends the connection of a client of our own that is dead and does not know it; another is made. */
export function dropConnection(client: RedisClient): void {
  if (isCluster(client) || client.status !== 'ready') return
  client.stream.destroy(new Error('Socket timeout: nothing was heard'))
}

/** Whether it is a client of a cluster. */
export function isCluster(client: RedisClient): client is Cluster {
  return client.isCluster
}

/**
 * Throws unless every server can be worked with.
 *
 * @throws `UNAVAILABLE`; `BACKEND` for one that is too old, may drop keys, or is a cluster's node
 * without the client being one of a cluster.
 */
export async function checkServers(
  connection: Connection,
  { allowEviction }: CheckedOptions,
): Promise<void> {
  const { client } = connection
  const nodes = isCluster(client) ? client.nodes('master') : [client]
  for (const node of nodes) {
    const server = await readInfo(connection, node, 'server')
    const version = server.get('valkey_version') ?? server.get('redis_version')
    if (version !== undefined && Number.parseInt(version, 10) < OLDEST_MAJOR) {
      throw new BackendError('BACKEND', `the server has version ${version}; 7 or newer is needed`)
    }
    if (server.get('redis_mode') === 'cluster' && !isCluster(client)) {
      throw new BackendError('BACKEND', 'the server is a node of a cluster: connect with `cluster`')
    }
    const policy = (await readInfo(connection, node, 'memory')).get('maxmemory_policy')
    if (policy?.startsWith('allkeys') === true && !allowEviction) {
      throw new BackendError(
        'BACKEND',
        `the server drops keys when its memory is full (maxmemory-policy ${policy}), and workflows with them: set it to noeviction, or connect with allowEviction`,
      )
    }
  }
}

/** A section of INFO, or nothing where the user may not ask. */
async function readInfo(
  connection: Connection,
  node: Redis,
  section: string,
): Promise<ReadonlyMap<string, string>> {
  try {
    const info = await connection.within(node.info(section))
    return new Map(
      info
        .split('\r\n')
        .map((line) => line.split(':', 2))
        .filter((pair): pair is [string, string] => pair.length === 2),
    )
  } catch (error) {
    if (BackendError.is(error) && /NOPERM|unknown command/.test(error.message)) return new Map()
    throw toBackendError(error)
  }
}
