import { type CountingProxy, countingProxy } from '../counting-proxy.ts'
import type { Place, Server } from '../definition.ts'

export type Counts = Readonly<Record<string, number>>

/** Reads what the server has written and what has passed between it and the client. */
export interface Meter extends AsyncDisposable {
  /** Where clients connect so that their bytes are counted. */
  readonly url: string
  /** Exact at any moment. */
  read(place: Place): Promise<Counts>
}

/** A meter of a server; an embedded one, whose URL names no address, sends nothing. */
export async function startMeter(server: Server): Promise<Meter> {
  const proxy = hasAddress(server.url) ? await countingProxy(server.url) : null
  return {
    url: proxy?.url ?? server.url,
    // The server's own first: asking it may pass the proxy.
    read: async (place) => ({ ...(await server.bytes?.(place)), ...trafficOf(proxy) }),
    [Symbol.asyncDispose]: async () => proxy?.close(),
  }
}

/** What was counted between two readings. */
export function between(before: Counts, after: Counts): Counts {
  return Object.fromEntries(
    Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]),
  )
}

function trafficOf(proxy: CountingProxy | null): Counts {
  if (proxy === null) return {}
  const { sent, received, roundTrips } = proxy.traffic()
  return { 'bytes sent': sent, 'bytes received': received, 'round trips': roundTrips }
}

function hasAddress(url: string): boolean {
  return URL.canParse(url) && new URL(url).port !== ''
}
