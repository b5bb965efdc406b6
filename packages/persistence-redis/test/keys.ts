import { Redis } from 'ioredis'

const clients = new Map<string, Redis>()

/** A client for looking at a server from outside; it keeps no process alive. */
export function observer(url: string): Redis {
  let client = clients.get(url)
  if (client === undefined) {
    const made = new Redis(url)
    made.on('connect', () => made.stream.unref())
    clients.set(url, made)
    client = made
  }
  return client
}

/** The keys of a server that begin so. */
export async function keysOf(url: string, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const found of observer(url).scanStream({ match: `${prefix}*`, count: 1000 })) {
    keys.push(...(found as string[]))
  }
  return keys.sort()
}

/** Removes them. */
export async function dropKeys(url: string, prefix: string): Promise<void> {
  const keys = await keysOf(url, prefix)
  await Promise.all(keys.map((key) => observer(url).unlink(key)))
}
