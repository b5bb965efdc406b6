import { compareIds, StoreClock } from '@sayiir/persistence-core/adapter'
import {
  type Collection,
  type Db,
  type DbOptions,
  type Document,
  type Filter,
  ReadConcern,
} from 'mongodb'
import { isPassing, timedOut, toBackendError } from './errors.ts'
import type { CheckedOptions } from './options.ts'
import type { InstanceDoc, PayloadDoc } from './records.ts'

/** The part of a `MongoClient` that is used. */
export interface MongoClientLike {
  db(name: string, options?: DbOptions): Db
}

/** What of an instance is apart from its document: a result, a commit, or a chunk of a payload. */
export interface PartDoc {
  readonly _id: string
  /** The order of a result. */
  readonly o?: number
  /** The payload of a result. */
  readonly p?: PayloadDoc
  /** The version of a commit. */
  readonly v?: number
  /** A commit. */
  readonly c?: Document
  /** A chunk. */
  readonly k?: PayloadDoc
  /** The instance of a chunk. */
  readonly i?: string
  /** When a chunk was written that nothing may refer to yet. */
  readonly at?: number
}

/** A document of the collection of settings: the schema's version, a route. */
export interface MetaDoc extends Document {
  readonly _id: string
}

/** An update of one instance. */
export interface InstanceUpdate {
  readonly updateOne: {
    readonly filter: Filter<InstanceDoc> & { readonly _id: string }
    readonly update: Document[]
  }
}

/** Milliseconds by which a reply may be older than the clock that is carried on. */
const SET_BACK_MS = 100

/** An update of several. */
export interface InstancesUpdate {
  readonly updateMany: { readonly filter: Filter<InstanceDoc>; readonly update: Document[] }
}

/** Values as the driver has them by default: a client of the user's may read them in its own way. */
const VALUES = {
  raw: false,
  promoteValues: true,
  promoteLongs: true,
  promoteBuffers: false,
  useBigInt64: false,
  bsonRegExp: false,
  ignoreUndefined: false,
} as const

/** The collections of one backend, and its way to call the server. */
export class Database {
  readonly db: Db
  readonly instances: Collection<InstanceDoc>
  readonly parts: Collection<PartDoc>
  readonly meta: Collection<MetaDoc>
  readonly clock: StoreClock = new StoreClock()
  readonly timeoutMs: number
  readonly #tasks = new Set<Promise<unknown>>()

  constructor(client: MongoClientLike, options: CheckedOptions) {
    const { database, collectionPrefix, writeConcern, readConcern, timeoutMs } = options
    this.db = client.db(database, {
      ...VALUES,
      writeConcern: { w: writeConcern },
      readConcern: new ReadConcern(readConcern),
      readPreference: 'primary',
    })
    this.instances = this.db.collection(`${collectionPrefix}instances`)
    this.parts = this.db.collection(`${collectionPrefix}parts`)
    this.meta = this.db.collection(`${collectionPrefix}meta`)
    this.timeoutMs = timeoutMs
  }

  /** Calls the server, for a bounded time; errors are `BackendError`s. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.raw(work)
    } catch (error) {
      throw toBackendError(error)
    }
  }

  /** As `run`, with the driver's own errors. */
  async raw<T>(work: () => Promise<T>): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => reject(timedOut(this.timeoutMs)), this.timeoutMs)
    try {
      return await Promise.race([work(), late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** As `run`, once more where the connection failed: only for what may be done twice. */
  async again<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.raw(work)
    } catch (error) {
      if (!isPassing(error)) throw toBackendError(error)
      return this.run(work)
    }
  }

  /**
   * Updates of several instances in one round trip, each on its own. They lock the instances in one
   * order: a server that keeps its locks until all are done would else see deadlocks.
   *
   * @returns how many found their instance as they want it.
   */
  async inOrder(
    operations: readonly InstanceUpdate[],
    many: readonly InstancesUpdate[] = [],
  ): Promise<number> {
    const ordered = operations.toSorted((a, b) =>
      compareIds(a.updateOne.filter._id, b.updateOne.filter._id),
    )
    const { matchedCount } = await this.instances.bulkWrite([...many, ...ordered], {
      ordered: false,
    })
    return matchedCount
  }

  /**
   * Waits until every read sees what has happened to these instances up to now: those of what a
   * majority has are behind a write whose reply was lost, and would tell that it has not landed. A
   * write that changes nothing is acknowledged once all before it is. Each is a command of its own:
   * one that holds a single lock is in no deadlock.
   */
  async catchUp(ids: readonly string[]): Promise<void> {
    const nothing = [{ $set: { _id: '$_id' } }]
    const writes = [...new Set(ids)].map((_id) =>
      this.again(() => this.instances.updateOne({ _id }, nothing)),
    )
    await Promise.all(writes)
  }

  /** Runs what nobody waits for; a failure leaves it to be done another time. */
  later(work: () => Promise<unknown>): void {
    const task = this.run(work)
      .catch(() => undefined)
      .finally(() => this.#tasks.delete(task))
    this.#tasks.add(task)
  }

  /** Waits for what was started by `later`. */
  async idle(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.all(this.#tasks)
  }

  /** The server's clock. */
  async now(): Promise<number> {
    const [row] = await this.again(() =>
      this.db.aggregate([{ $documents: [{}] }, { $project: { now: '$$NOW' } }]).toArray(),
    )
    const now = this.saw(row?.now)
    // What was observed before the server's clock was set back.
    if (this.clock.now() - now > SET_BACK_MS) this.clock.reset(now)
    return now
  }

  /** Takes the server's time from a reply. */
  saw(now: unknown): number {
    if (now instanceof Date) this.clock.observe(now.getTime())
    return now instanceof Date ? now.getTime() : this.clock.now()
  }
}
