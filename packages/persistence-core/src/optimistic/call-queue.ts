/** What a single call of those that were sent together is rejected with. */
export class CallFailure {
  readonly error: unknown

  constructor(error: unknown) {
    this.error = error
  }
}

/** How calls are sent together. */
export interface CallQueueOptions<Call, Reply> {
  /** Sends calls together; the replies are in their order. Rejects for all of them. */
  send(calls: readonly Call[]): Promise<readonly (Reply | CallFailure)[]>
  /** Calls sent together at most. */
  readonly maxCalls: number
  /** Bytes sent together at most, unless a single call has more. */
  readonly maxBytes: number
  /** Groups on their way at a time. */
  readonly maxInFlight: number
  /** The same where the next group is full, so that nothing is gained by waiting; `maxInFlight` by default. */
  readonly maxFullInFlight?: number
  /** Bytes of a call, roughly. */
  sizeOf(call: Call): number
  /**
   * Sends when what runs now is over, rather than at the end of the event loop's turn: a lone call
   * leaves sooner, and fewer travel together where several replies come in the same turn. By default
   * false.
   */
  readonly eager?: boolean
  /**
   * Sends a call at once when there is no other one, and was none when the last was made: who calls
   * one after the other waits for nothing. What then comes in the same go travels after it. By default
   * false.
   */
  readonly aloneAtOnce?: boolean
}

/**
 * Calls that are in flight together travel together (rule D10). A call is sent in the same turn of
 * the event loop while fewer than `maxInFlight` groups are on their way; what comes meanwhile is the
 * next group, without a timer.
 */
export class CallQueue<Call, Reply> {
  readonly #options: CallQueueOptions<Call, Reply>
  /** Calls that wait, and in the same order who waits for them. */
  readonly #calls: Call[] = []
  readonly #callers: Caller<Reply>[] = []
  /** Groups on their way. */
  #inFlight = 0
  /** Calls without a reply. */
  #open = 0
  /** Whether the last call had no other beside it when it was made. */
  #wasAlone = false
  #scheduled = false

  constructor(options: CallQueueOptions<Call, Reply>) {
    this.#options = options
  }

  /** Sends a call, with what else waits. */
  call(call: Call): Promise<Reply> {
    const caller = Promise.withResolvers<Reply>()
    this.#calls.push(call)
    this.#callers.push(caller)
    const isAlone = this.#open === 0
    const isAtOnce = isAlone && this.#wasAlone && this.#options.aloneAtOnce === true
    this.#wasAlone = isAlone
    this.#open += 1
    if (isAtOnce) void this.#sendNext()
    else this.#schedule()
    return caller.promise
  }

  /**
   * At the end of this turn, so that what is called in one go leaves in one go; each group in a turn of
   * its own, since a driver writes after a promise or two: the store works on it while the next is encoded.
   */
  #schedule(): void {
    if (this.#scheduled || this.#calls.length === 0 || !this.#maySend()) return
    this.#scheduled = true
    const send = (): void => {
      this.#scheduled = false
      if (this.#calls.length === 0 || !this.#maySend()) return
      void this.#sendNext()
      this.#schedule()
    }
    // After all promises that are resolved by now.
    if (this.#options.eager === true) process.nextTick(send)
    else setImmediate(send)
  }

  #maySend(): boolean {
    const { maxCalls, maxInFlight, maxFullInFlight = maxInFlight } = this.#options
    return this.#inFlight < (this.#calls.length < maxCalls ? maxInFlight : maxFullInFlight)
  }

  /** Of those that wait how many travel together next. */
  #nextCount(): number {
    const { maxCalls, maxBytes, sizeOf } = this.#options
    const most = Math.min(maxCalls, this.#calls.length)
    let count = 0
    let bytes = 0
    while (count < most) {
      bytes += sizeOf(this.#calls[count] as Call)
      if (count > 0 && bytes > maxBytes) break
      count += 1
    }
    return count
  }

  async #sendNext(): Promise<void> {
    const count = this.#nextCount()
    const calls = this.#calls.splice(0, count)
    const callers = this.#callers.splice(0, count)
    this.#inFlight += 1
    try {
      const replies = await this.#options.send(calls)
      for (let index = 0; index < count; index += 1) {
        const caller = callers[index] as Caller<Reply>
        const reply = replies[index] as Reply | CallFailure
        if (reply instanceof CallFailure) caller.reject(reply.error)
        else caller.resolve(reply)
      }
    } catch (error) {
      for (const caller of callers) caller.reject(error)
    } finally {
      this.#inFlight -= 1
      this.#open -= count
      this.#schedule()
    }
  }
}

type Caller<Reply> = PromiseWithResolvers<Reply>
