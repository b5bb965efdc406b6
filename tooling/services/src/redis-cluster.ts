import { setTimeout as sleep } from 'node:timers/promises'
import { ending } from './ending.ts'
import { ServiceError } from './service.ts'

const slots = 16_384
const formMs = 30_000

/**
 * Makes a cluster of servers unless they are one already: shares out the slots. Waits until all
 * agree on the cluster.
 */
export async function formCluster(
  urls: readonly string[],
  busPorts: readonly number[],
): Promise<void> {
  const { Redis } = await import('ioredis')
  const nodes = urls.map((url) => new Redis(url, { maxRetriesPerRequest: 1 }))
  for (const node of nodes) node.on('error', () => undefined)
  try {
    if (!(await know(nodes))) await introduce(nodes, urls, busPorts)
    const deadline = Date.now() + formMs
    while (!(await agree(nodes))) {
      if (Date.now() > deadline) throw new ServiceError(`no cluster after ${formMs / 1_000} s`)
      await sleep(50, undefined, { signal: ending.signal })
    }
  } finally {
    for (const node of nodes) node.disconnect()
  }
}

interface Node {
  call(command: string, ...args: (string | number)[]): Promise<unknown>
}

async function introduce(
  nodes: readonly Node[],
  urls: readonly string[],
  busPorts: readonly number[],
): Promise<void> {
  const [first] = nodes
  for (const [index, node] of nodes.entries()) {
    const from = Math.ceil((index * slots) / nodes.length)
    const to = Math.ceil(((index + 1) * slots) / nodes.length) - 1
    await node.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
    await node.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
  }
  for (const [index, url] of urls.entries()) {
    const { hostname, port } = new URL(url)
    const busPort = busPorts[index] ?? Number(port) + 10_000
    if (index > 0) await first?.call('CLUSTER', 'MEET', hostname, port, busPort)
  }
}

async function know(nodes: readonly Node[]): Promise<boolean> {
  return (await infos(nodes)).every((info) => info.includes(`cluster_known_nodes:${nodes.length}`))
}

async function agree(nodes: readonly Node[]): Promise<boolean> {
  const every = (await infos(nodes)).every((info) => info.includes('cluster_state:ok'))
  return every && (await know(nodes))
}

async function infos(nodes: readonly Node[]): Promise<string[]> {
  return Promise.all(nodes.map(async (node) => String(await node.call('CLUSTER', 'INFO'))))
}
