import type { TaskWakeup } from '@sayiir/persistence-core'
import type { Cluster, Redis } from 'ioredis'
import { isCluster } from './client.ts'
import type { StoreContext } from './context.ts'

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

/**
 * Listens for work on a connection of its own, from the first wait on. What is missed while it is
 * not connected costs those who wait no more than their next look.
 */
export class Subscriber {
  readonly #context: StoreContext
  readonly #hear: (news: News) => void
  #client: Redis | Cluster | null = null
  #checkedAt = 0
  #stopped = false

  constructor(context: StoreContext, hear: (news: News) => void) {
    this.#context = context
    this.#hear = hear
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
    own.on('smessage', (_channel: string, message: string) => this.#receive(message))
    // Listening is no reason for a process to go on.
    if (!isCluster(own)) own.on('connect', () => own.stream.unref())
    for (const { channel } of layout.shards) own.ssubscribe(channel).catch(() => undefined)
    return own
  }

  #receive(message: string): void {
    const news = readNews(message)
    if (news !== null) this.#hear(news)
  }
}

/** Null for what is not ours. */
function readNews(message: string): News | null {
  try {
    const [now, listeners, lines] = JSON.parse(message) as [string, number, string[][]]
    const tasks = lines.map(([since = '', key = '', text = '']) => {
      const [instanceId = '', taskId = ''] = key.split('\0')
      const [, , definitionHash = '', ...tags] = text.split('\0')
      const wakeup = { instanceId, taskId, definitionHash }
      return { since: Number.parseInt(since, 36), wakeup, tags }
    })
    return { now: Number(now), listeners, tasks }
  } catch {
    return null
  }
}
