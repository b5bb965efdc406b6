import type { TaskWakeup } from '@sayiir/persistence-core'
import type { Cluster, Redis } from 'ioredis'
import { isCluster } from './client.ts'
import type { StoreContext } from './context.ts'
import type { Shard } from './layout.ts'
import { SINCE_LENGTH } from './places.ts'

/** Milliseconds between two tries to connect at most. */
const MAX_RECONNECT_MS = 1000

/** What a message tells. */
export interface News {
  /** The server's clock. */
  readonly now: number
  /** Who else listens, this process included. */
  readonly listeners: number
  readonly tasks: readonly {
    /** When it becomes available: epoch milliseconds. */
    readonly since: number
    readonly wakeup: Required<TaskWakeup>
    readonly tags: readonly string[]
  }[]
}

/** Who is told. */
export interface Ears {
  /** Of work in a shard. */
  heard(shard: Shard, news: News): void
  /** That from now on it will be. */
  listening(shard: Shard): void
}

/**
 * Listens for work on a connection of its own, from the first wait on. What is missed while it is
 * not connected costs those who wait no more than their next look.
 */
export class Subscriber {
  readonly #context: StoreContext
  readonly #ears: Ears
  readonly #shards: ReadonlyMap<string, Shard>
  #client: Redis | Cluster | null = null
  #checkedAt = 0
  #stopped = false

  constructor(context: StoreContext, ears: Ears) {
    this.#context = context
    this.#ears = ears
    this.#shards = new Map(
      context.layout.shards.map((shard) => [withoutPrefix(shard.channel), shard]),
    )
  }

  /** Begins to listen; later, makes sure now and then that the connection is not dead. */
  listen(): void {
    if (this.#stopped) return
    if (this.#client === null) this.#client = this.#connect()
    const { pollIntervalMs } = this.#context.options
    const now = performance.now()
    if (now - this.#checkedAt < pollIntervalMs) return
    this.#checkedAt = now
    // A reply that does not come ends the connection (`socketTimeout`), and another is made.
    if (!isCluster(this.#client)) this.#client.ping().catch(() => undefined)
  }

  stop(): void {
    this.#stopped = true
    this.#client?.disconnect()
    this.#client = null
  }

  #connect(): Redis | Cluster {
    const { connection, layout } = this.#context
    const { client } = connection
    const node = {
      lazyConnect: false,
      enableOfflineQueue: true,
      enableReadyCheck: false,
      autoResubscribe: true,
      maxRetriesPerRequest: null,
      socketTimeout: connection.timeoutMs,
      retryStrategy: (times: number) => Math.min(times * 50, MAX_RECONNECT_MS),
    }
    const own = isCluster(client)
      ? client.duplicate([], {
          shardedSubscribers: true,
          lazyConnect: false,
          clusterRetryStrategy: node.retryStrategy,
        })
      : client.duplicate(node)
    own.on('error', () => undefined)
    own.on('smessage', (channel: string, message: string) => this.#receive(channel, message))
    // Listening is no reason for a process to go on.
    if (!isCluster(own)) own.on('connect', () => own.stream.unref())
    for (const shard of layout.shards) {
      own.ssubscribe(shard.channel).then(
        () => this.#ears.listening(shard),
        () => undefined,
      )
    }
    return own
  }

  #receive(channel: string, message: string): void {
    const shard = this.#shards.get(withoutPrefix(channel))
    const news = readNews(message)
    if (shard !== undefined && news !== null) this.#ears.heard(shard, news)
  }
}

/** A prefix of the client's own comes back with its messages; neither has a brace. */
function withoutPrefix(channel: string): string {
  return channel.slice(channel.indexOf('{'))
}

/**
 * The time and how many listen; then of each task when it becomes available, in base 36, its instance
 * and task, and what its class is (priority, worker that failed it, definition, tags), with nothing
 * after the last tag: all with zero bytes between them. Null for what is not ours.
 */
function readNews(message: string): News | null {
  const [now, listeners, ...fields] = message.split('\0')
  const tasks: News['tasks'][number][] = []
  for (let at = 0; at + 5 < fields.length; at += 1) {
    const [first = '', taskId = '', , , definitionHash = ''] = fields.slice(at, at + 5)
    const tags: string[] = []
    for (at += 5; fields[at]; at += 1) tags.push(fields[at] ?? '')
    const instanceId = first.slice(SINCE_LENGTH)
    const since = Number.parseInt(first.slice(0, SINCE_LENGTH), 36)
    tasks.push({ since, wakeup: { instanceId, taskId, definitionHash }, tags })
  }
  return tasks.length === 0 ? null : { now: Number(now), listeners: Number(listeners), tasks }
}
