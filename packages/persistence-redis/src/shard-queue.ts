import { timedOut } from './errors.ts'
import type { Layout, Shard } from './layout.ts'

/** Calls that travel together at most. */
const MAX_CALLS = 64
/** Groups of a shard on their way at a time: while the server works on one, the next is made here. */
const MAX_IN_FLIGHT = 2
/** Calls that are not worth dividing among the groups on their way. */
const SMALL_GROUP = 6

/** What a queue does with its calls. */
interface Plan<Call, Reply> {
  readonly timeoutMs: number
  /** How large a call is, roughly: bytes, or what else there is much of. */
  sizeOf(call: Call): number
  /** How much of that travels together at most, unless a single call is more. */
  readonly maxSize: number
  /** Sends calls together; the replies are in their order. Rejects for all of them. */
  send(shard: Shard, calls: readonly Call[]): Promise<readonly (Reply | Promise<Reply>)[]>
}

/** Calls on the same shard that are in flight together share a script (rule D10). */
export class ShardQueue<Call, Reply> {
  readonly #lanes: readonly Lane<Call, Reply>[]

  constructor({ shards }: Layout, plan: Plan<Call, Reply>) {
    this.#lanes = shards.map((shard) => new Lane(shard, plan))
  }

  call(shard: Shard, call: Call): Promise<Reply> {
    return (this.#lanes[shard.index] as Lane<Call, Reply>).call(call)
  }
}

interface Waiting<Call, Reply> {
  readonly call: Call
  readonly since: number
  resolve(reply: Reply | Promise<Reply>): void
  reject(error: unknown): void
}

/**
 * The calls on one shard. One is sent at the end of what runs in this moment, with all that was
 * called in one go, and what comes while enough is on its way is the next group: no timer waits for
 * company.
 *
 * Whoever got a reply calls again, as a rule. If all called again together, server and client would
 * only ever work in turns. So the calls that are there are divided evenly among the groups that may
 * be on their way, and groups whose replies came together are answered one after the other, each
 * when the calls that followed from the one before it have been sent.
 *
 * Core's `CallQueue` does neither, since a server that works on several transactions at a time has no use
 * for it; this one runs one script after the other.
 */
class Lane<Call, Reply> {
  readonly #shard: Shard
  readonly #plan: Plan<Call, Reply>
  #waiting: Waiting<Call, Reply>[] = []
  /** Answers that are not to be given in this moment. */
  readonly #answers: (() => void)[] = []
  #inFlight = 0
  /** Calls on their way, or whose answer waits for its turn. */
  #unanswered = 0
  #isScheduled = false
  /** Whether somebody was answered in this moment. */
  #hasAnswered = false

  constructor(shard: Shard, plan: Plan<Call, Reply>) {
    this.#shard = shard
    this.#plan = plan
  }

  call(call: Call): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      this.#waiting.push({ call, since: performance.now(), resolve, reject })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#isScheduled || this.#inFlight >= MAX_IN_FLIGHT) return
    this.#isScheduled = true
    process.nextTick(this.#flush)
  }

  readonly #flush = (): void => {
    this.#isScheduled = false
    while (this.#waiting.length > 0 && this.#inFlight < MAX_IN_FLIGHT) this.#send(this.#take())
  }

  #take(): readonly Waiting<Call, Reply>[] {
    const { timeoutMs, sizeOf, maxSize } = this.#plan
    // Behind calls that were not answered, its own time may be over before it is sent.
    const latest = performance.now() - timeoutMs
    const group: Waiting<Call, Reply>[] = []
    const total = this.#unanswered + this.#waiting.length
    const share = total <= SMALL_GROUP ? total : Math.ceil(total / MAX_IN_FLIGHT)
    const limit = Math.min(share, MAX_CALLS)
    let count = 0
    let size = 0
    for (const one of this.#waiting) {
      if (one.since > latest) {
        size += sizeOf(one.call)
        if (group.length > 0 && (group.length === limit || size > maxSize)) break
        group.push(one)
      } else one.reject(timedOut(timeoutMs))
      count += 1
    }
    this.#waiting = this.#waiting.slice(count)
    return group
  }

  #send(group: readonly Waiting<Call, Reply>[]): void {
    if (group.length === 0) return
    this.#inFlight += 1
    this.#unanswered += group.length
    const calls = group.map(({ call }) => call)
    this.#sending(calls).then(
      (replies) => {
        this.#answer(() => {
          this.#unanswered -= group.length
          for (let index = 0; index < group.length; index += 1) {
            group[index]?.resolve(replies[index] as Reply | Promise<Reply>)
          }
        })
        this.#sent()
      },
      (error: unknown) => {
        this.#unanswered -= group.length
        for (const { reject } of group) reject(error)
        this.#sent()
      },
    )
  }

  /** What is wrong with the calls themselves is a rejection, too. */
  #sending(calls: readonly Call[]): Promise<readonly (Reply | Promise<Reply>)[]> {
    try {
      return this.#plan.send(this.#shard, calls)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #sent(): void {
    this.#inFlight -= 1
    if (this.#waiting.length > 0) this.#schedule()
  }

  /** Answers now, or once what follows from those who were answered before has been sent. */
  #answer(answer: () => void): void {
    if (this.#hasAnswered) {
      this.#answers.push(answer)
      return
    }
    this.#hasAnswered = true
    process.nextTick(this.#nextTurn)
    answer()
  }

  // After all that runs in this moment, whatever was answered in one go.
  readonly #nextTurn = (): void => {
    this.#hasAnswered = false
    const answer = this.#answers.shift()
    if (answer === undefined) return
    this.#flush()
    this.#answer(answer)
  }
}
