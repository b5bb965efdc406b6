import type { PostgresClient } from './client.ts'

/** One connection. */
export interface Lane {
  readonly client: PostgresClient
  /** How many calls are under way on it. */
  calls: number
  /** Statements that were run on it, so that the server has what they need. */
  readonly known: Set<string>
}

/** Connections that calls are made on. */
export interface Lanes {
  /** Whether the backend made them. */
  readonly isOwn: boolean
  /** The options that they are made with. */
  readonly options: object
  /** A connection for a call of a statement. */
  take(statement: string): Lane
  /** A call has ended; `isLost`: in a way that makes another connection the better choice for the next one. */
  free(lane: Lane, isLost: boolean): void
  /** A call had no answer. */
  giveUp(lane: Lane): void
  end(): Promise<void>
}

/** A client of the caller's, who chooses its connections and ends it. */
export class Borrowed implements Lanes {
  readonly isOwn: boolean = false
  readonly #lane: Lane

  constructor(client: PostgresClient) {
    this.#lane = { client, calls: 0, known: new Set() }
  }

  get options(): object {
    return this.#lane.client.options
  }

  take(): Lane {
    return this.#lane
  }

  free(): void {}

  giveUp(): void {}

  async end(): Promise<void> {}
}

/**
 * Connections that the backend makes itself, each a client of its own: so it can choose. A server
 * process takes 4 to 10 ms for a function that it calls for the first time, since it compiles and
 * plans it, and then less than one: where connections take turns, as those of one client do, calls
 * that come one by one pay for that on all of them, and each is cold when its turn comes. So a call
 * goes where its statement has been run, and of those to the one that was used last.
 */
export class Pool implements Lanes {
  readonly isOwn: boolean = true
  readonly #make: () => PostgresClient
  readonly #max: number
  #lanes: Lane[] = []
  /** Those without a call, that which was used last at the end. */
  #free: Lane[] = []
  /** Of the lanes, the next that takes a call although it has one. */
  #turn = 0

  /** @param make Makes a client of one connection, which connects when it is first used. */
  constructor(make: () => PostgresClient, max: number) {
    this.#make = make
    this.#max = max
    this.#add()
  }

  get options(): object {
    return (this.#lanes[0] as Lane).client.options
  }

  take(statement: string): Lane {
    const free = this.#free
    if (free.length === 0 && this.#lanes.length < this.#max) this.#add()
    let known = free.length - 1
    while (known >= 0 && free[known]?.known.has(statement) === false) known -= 1
    const lane =
      (known < 0 || known === free.length - 1 ? free.pop() : free.splice(known, 1)[0]) ??
      this.#next()
    lane.known.add(statement)
    lane.calls += 1
    return lane
  }

  free(lane: Lane, isLost: boolean): void {
    lane.calls -= 1
    if (isLost) lane.known.clear()
    // One that was given up meanwhile is not used again.
    if (lane.calls > 0 || !this.#lanes.includes(lane)) return
    if (isLost) this.#free.unshift(lane)
    else this.#free.push(lane)
  }

  /** A connection that gives no answer may be dead and never tell: all of them are made anew. */
  giveUp(lane: Lane): void {
    if (!this.#lanes.includes(lane)) return
    const lanes = this.#lanes
    this.#lanes = []
    this.#free = []
    this.#add()
    for (const { client } of lanes) client.end({ timeout: 0 }).catch(() => undefined)
  }

  async end(): Promise<void> {
    await Promise.all(this.#lanes.map(({ client }) => client.end({ timeout: 5 })))
  }

  #add(): void {
    const lane = { client: this.#make(), calls: 0, known: new Set<string>() }
    this.#lanes.push(lane)
    this.#free.push(lane)
  }

  /** Calls more than there are connections go round. */
  #next(): Lane {
    this.#turn = (this.#turn + 1) % this.#lanes.length
    return this.#lanes[this.#turn] as Lane
  }
}
