import { Redis } from 'ioredis'
import { Layout } from '../src/layout.ts'

/** Moves slots of a cluster between its masters, as `redis-cli --cluster reshard` does. */
export class SlotMover {
  readonly #nodes: readonly Redis[]
  #owners: number[] = []
  #slots: number[] = []
  #ids: string[] = []
  #stopped = false
  /** How many were moved. */
  moved = 0

  readonly #pauseMs: number

  /** @param pauseMs Between two slots: one that is on its way all the time can not be worked on. */
  constructor(urls: readonly string[], pauseMs = 300) {
    this.#pauseMs = pauseMs
    this.#nodes = urls.map((url) => new Redis(url))
  }

  /** Moves the slots of 16 shards, one after the other, until it is stopped. */
  async run(): Promise<void> {
    await this.#find()
    for (let index = 0; !this.#stopped; index = (index + 1) % this.#slots.length) {
      const slot = this.#slots[index] ?? 0
      const from = this.#owners[index] ?? 0
      const to = (from + 1) % this.#nodes.length
      await this.#move(slot, this.#nodes[from]!, this.#nodes[to]!)
      this.#owners[index] = to
      this.moved += 1
      await new Promise((resolve) => setTimeout(resolve, this.#pauseMs))
    }
  }

  stop(): void {
    this.#stopped = true
  }

  disconnect(): void {
    for (const node of this.#nodes) node.disconnect()
  }

  async #find(): Promise<void> {
    // The tags of shards are the same under every prefix.
    const keys = new Layout('any:', 16).shards.map((shard) => shard.channel)
    const first = this.#nodes[0]!
    this.#ids = await Promise.all(
      this.#nodes.map(async (node) => String(await node.cluster('MYID'))),
    )
    this.#slots = await Promise.all(keys.map((key) => first.cluster('KEYSLOT', key)))
    const view = await viewOf(first)
    this.#owners = this.#slots.map((slot) =>
      this.#ids.findIndex((id) => view.get(id)?.has(slot) === true),
    )
  }

  /** All know who has it, and by its newest epoch, or an older message could take it away again. */
  async #agree(slot: number, owner: string): Promise<void> {
    for (;;) {
      const views = await Promise.all(this.#nodes.map(viewOf))
      const epochs = new Set(views.map((view) => view.get(owner)?.epoch))
      if (epochs.size === 1 && views.every((view) => view.get(owner)?.has(slot) === true)) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Some keys at a time: in between, a script finds a part of its keys here and a part there. */
  async #move(slot: number, from: Redis, to: Redis): Promise<void> {
    const [source, target] = await Promise.all([from, to].map((node) => node.cluster('MYID')))
    const { host = '', port = 0 } = to.options
    await to.cluster('SETSLOT', slot, 'IMPORTING', source as string)
    await from.cluster('SETSLOT', slot, 'MIGRATING', target as string)
    for (;;) {
      const keys = (await from.call('CLUSTER', 'GETKEYSINSLOT', slot, 10)) as string[]
      if (keys.length === 0) break
      await from.call('MIGRATE', host, port, '', 0, 60_000, 'KEYS', ...keys)
    }
    await to.cluster('SETSLOT', slot, 'NODE', target as string)
    for (const node of this.#nodes) await node.cluster('SETSLOT', slot, 'NODE', target as string)
    await this.#agree(slot, target as string)
  }
}

interface Owned {
  readonly epoch: string
  has(slot: number): boolean
}

/** What a node knows of the masters, by their ids. */
async function viewOf(node: Redis): Promise<Map<string, Owned>> {
  const lines = String(await node.cluster('NODES'))
    .trim()
    .split('\n')
  return new Map(
    lines.map((line): [string, Owned] => {
      const [id = '', , , , , , epoch = '', , ...ranges] = line.split(' ')
      const has = (slot: number): boolean =>
        ranges.some((range) => {
          const [low = 0, high = low] = range.split('-').map(Number)
          return slot >= low && slot <= high
        })
      return [id, { epoch, has }]
    }),
  )
}
