import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What has passed a proxy, on all connections together. */
interface Traffic {
  readonly sent: number
  readonly received: number
  /** How often a client spoke after it had been answered: several requests in one go count once. */
  readonly roundTrips: number
}

/** A TCP proxy on 127.0.0.1 that counts what passes. */
export interface CountingProxy {
  /** The server's URL with the proxy's address instead of the server's. */
  readonly url: string
  traffic(): Traffic
  close(): Promise<void>
}

/** Starts a proxy in front of a server of one address. */
export async function countingProxy(serverUrl: string): Promise<CountingProxy> {
  const target = new URL(serverUrl)
  const sockets = new Set<Socket>()
  let [sent, received, roundTrips] = [0, 0, 0]
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const host = target.hostname.replace(/^\[|\]$/g, '')
    const upstream = connect({ host, port: Number(target.port), allowHalfOpen: true })
    let answered = true
    client.on('data', (bytes) => {
      sent += bytes.length
      if (answered) roundTrips += 1
      answered = false
    })
    upstream.on('data', (bytes) => {
      received += bytes.length
      answered = true
    })
    client.pipe(upstream)
    upstream.pipe(client)
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.setNoDelay()
      sockets.add(one)
      // Either side's failure is the other's.
      one.on('error', () => other.destroy())
      one.on('close', () => {
        sockets.delete(one)
        other.destroySoon()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(serverUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    traffic: () => ({ sent, received, roundTrips }),
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
