import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket, connect as tcpConnect } from 'node:net'

/** A TCP proxy on 127.0.0.1 between a client and a server, which can fail as networks do. */
export interface TcpProxy {
  /** The server's URL with the proxy's address instead of the server's. */
  readonly url: string
  /** How many connections are open. */
  readonly connections: number
  /** From now on everything arrives `ms` later, in both directions. */
  delay(ms: number): void
  /** Closes all connections, and new ones at once, until `heal`. */
  cut(): void
  /** Nothing passes, in either direction, until `heal`; then what was sent meanwhile arrives. */
  blackhole(): void
  /** Resets all present connections. New ones work. */
  reset(): void
  /**
   * Requests arrive, replies do not: what was done is not learned. `heal` resets the connections
   * that lost a reply.
   */
  swallowReplies(): void
  /** Ends every fault. */
  heal(): void
  /** Closes the proxy and its connections. */
  close(): Promise<void>
}

interface Faults {
  delayMs: number
  refuse: boolean
  hold: boolean
  swallow: boolean
}

/** Starts a proxy in front of a server of one address, such as `startService('redis')`'s. */
export async function startProxy(serverUrl: string): Promise<TcpProxy> {
  const target = new URL(serverUrl)
  const faults: Faults = { delayMs: 0, refuse: false, hold: false, swallow: false }
  const links = new Set<Link>()
  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (faults.refuse) {
      client.destroy()
      return
    }
    const link = new Link(client, target, faults, () => links.delete(link))
    links.add(link)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(serverUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)

  return {
    url: url.href,
    get connections() {
      return links.size
    },
    delay(ms) {
      faults.delayMs = ms
    },
    cut() {
      faults.refuse = true
      for (const link of links) link.close()
    },
    blackhole() {
      faults.hold = true
    },
    reset() {
      for (const link of links) link.reset()
    },
    swallowReplies() {
      faults.swallow = true
    },
    heal() {
      Object.assign(faults, { delayMs: 0, refuse: false, hold: false, swallow: false })
      for (const link of links) link.heal()
    },
    async close() {
      for (const link of links) link.reset()
      server.close()
      await once(server, 'close')
    },
  }
}

/** One client's connection and the one to the server that belongs to it. */
class Link {
  readonly #client: Socket
  readonly #server: Socket
  readonly #flows: readonly Flow[]
  readonly #faults: Faults
  #lostReply = false

  constructor(client: Socket, target: URL, faults: Faults, closed: () => void) {
    this.#client = client
    this.#faults = faults
    // A server's name may stand in brackets, as [::1].
    const host = target.hostname.replace(/^\[|\]$/g, '')
    this.#server = tcpConnect({ host, port: Number(target.port), allowHalfOpen: true })
    const requests = new Flow(client, this.#server, faults, () => true)
    const replies = new Flow(this.#server, client, faults, () => this.#passReply())
    this.#flows = [requests, replies]
    for (const socket of [client, this.#server]) {
      socket.setNoDelay()
      // A server that refuses or resets looks to the client as it does without a proxy.
      socket.on('error', () => this.reset())
    }
    client.on('close', () => {
      this.#server.destroy()
      closed()
    })
    this.#server.on('close', (hadError) => {
      if (hadError) this.reset()
    })
  }

  close(): void {
    this.#client.end()
    this.#client.destroySoon()
    this.#server.destroy()
  }

  reset(): void {
    this.#client.resetAndDestroy()
    this.#server.destroy()
  }

  heal(): void {
    if (this.#lostReply) this.reset()
    else for (const flow of this.#flows) flow.deliver()
  }

  #passReply(): boolean {
    if (this.#faults.swallow) this.#lostReply = true
    return !this.#lostReply
  }
}

interface Parcel {
  /** Null is the end of the stream. */
  readonly bytes: Buffer | null
  readonly dueAt: number
}

/** One direction of a connection: what came in, in order, each with the time when it is due. */
class Flow {
  readonly #to: Socket
  readonly #from: Socket
  readonly #faults: Faults
  readonly #passes: () => boolean
  readonly #parcels: Parcel[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(from: Socket, to: Socket, faults: Faults, passes: () => boolean) {
    this.#from = from
    this.#to = to
    this.#faults = faults
    this.#passes = passes
    from.on('data', (bytes) => this.#receive(bytes))
    from.on('end', () => this.#receive(null))
    from.on('close', () => clearTimeout(this.#timer))
    to.on('drain', () => from.resume())
  }

  /** Delivers what is due, unless the network holds everything. */
  deliver(): void {
    clearTimeout(this.#timer)
    while (!this.#faults.hold) {
      const [parcel] = this.#parcels
      if (parcel === undefined) return
      const wait = parcel.dueAt - performance.now()
      if (wait > 0 && this.#faults.delayMs > 0) {
        this.#timer = setTimeout(() => this.deliver(), wait)
        return
      }
      this.#parcels.shift()
      this.#pass(parcel)
    }
  }

  #receive(bytes: Buffer | null): void {
    this.#parcels.push({ bytes, dueAt: performance.now() + this.#faults.delayMs })
    this.deliver()
  }

  #pass({ bytes }: Parcel): void {
    if (!this.#passes()) return
    if (bytes === null) this.#to.end()
    else if (!this.#to.destroyed && !this.#to.write(bytes)) this.#from.pause()
  }
}
