import { CallQueue } from '@sayiir/persistence-core/adapter'
import { timedOut } from './errors.ts'
import type { Layout, Shard } from './layout.ts'

/** Calls that travel together at most. */
const MAX_CALLS = 64
const MAX_BYTES: number = 1024 * 1024
/** Groups of a shard on their way at a time: while the server works on one, the next is read here. */
const MAX_IN_FLIGHT = 2

interface Waiting<Call> {
  readonly call: Call
  readonly since: number
}

type Outcome<Reply> = { readonly reply: Reply } | { readonly error: unknown }

/** Calls on the same shard that are in flight together share a script (rule D10). */
export class ShardQueue<Call, Reply> {
  readonly #queues = new Map<Shard, CallQueue<Waiting<Call>, Outcome<Reply>>>()

  constructor(
    { shards }: Layout,
    timeoutMs: number,
    sizeOf: (call: Call) => number,
    send: (shard: Shard, calls: readonly Call[]) => Promise<readonly Reply[]>,
  ) {
    for (const shard of shards) {
      const queue = new CallQueue<Waiting<Call>, Outcome<Reply>>({
        maxCalls: MAX_CALLS,
        maxBytes: MAX_BYTES,
        maxInFlight: MAX_IN_FLIGHT,
        sizeOf: ({ call }) => sizeOf(call),
        send: async (group) => {
          // Behind calls that were not answered, its own time may be over before it is sent.
          const latest = performance.now() - timeoutMs
          const live = group.filter(({ since }) => since > latest)
          const replies =
            live.length === 0
              ? []
              : await send(
                  shard,
                  live.map(({ call }) => call),
                )
          let index = -1
          return group.map(({ since }): Outcome<Reply> => {
            if (since <= latest) return { error: timedOut(timeoutMs) }
            index += 1
            return { reply: replies[index] as Reply }
          })
        },
      })
      this.#queues.set(shard, queue)
    }
  }

  async call(shard: Shard, call: Call): Promise<Reply> {
    const queue = this.#queues.get(shard) as CallQueue<Waiting<Call>, Outcome<Reply>>
    const outcome = await queue.call({ call, since: performance.now() })
    if ('error' in outcome) throw outcome.error
    return outcome.reply
  }
}
