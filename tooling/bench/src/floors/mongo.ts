import { type Collection, MongoClient, ObjectId } from 'mongodb'
import type { Place } from '../definition.ts'
import type { Floor, FloorJob } from '../floor.ts'

interface JobDocument {
  /** Ascending as the driver makes them: the order of the queue. */
  readonly _id: ObjectId
  readonly status: number
  readonly token: number
  readonly payload: string
  readonly worker?: string
  readonly lease?: Date
  readonly doneAt?: Date
  readonly outputs?: readonly string[]
  readonly version?: number
}

interface Job extends FloorJob {
  readonly id: ObjectId
  readonly token: number
}

const LEASE_MS = 30_000
const READY = 0
const CLAIMED = 1
const DONE = 2

/**
 * The mongodb driver: `findOneAndUpdate` claims, a fenced `updateOne` completes, written to the
 * majority. There is no atomic step over several documents without a transaction, so none is fused.
 */
class MongoFloor implements Floor<Job> {
  readonly #client: MongoClient
  readonly #jobs: Collection<JobDocument>

  constructor(client: MongoClient, namespace: string) {
    this.#client = client
    this.#jobs = client.db('sayiir_bench').collection<JobDocument>(namespace)
  }

  async create(): Promise<void> {
    await this.#jobs.createIndex({ status: 1, _id: 1 })
  }

  async drop(): Promise<void> {
    await this.#jobs.drop()
  }

  async fill(payloads: readonly string[]): Promise<void> {
    await this.#jobs.insertMany(payloads.map((payload) => documentOf(payload)))
  }

  async enqueue(payload: string): Promise<void> {
    await this.#jobs.insertOne(documentOf(payload))
  }

  async claim(worker: string): Promise<Job | undefined> {
    const job = await this.#jobs.findOneAndUpdate(
      { status: READY },
      {
        $set: { status: CLAIMED, worker, lease: new Date(Date.now() + LEASE_MS) },
        $inc: { token: 1 },
      },
      { sort: { _id: 1 }, returnDocument: 'after' },
    )
    return job === null ? undefined : { id: job._id, token: job.token, payload: job.payload }
  }

  async complete(job: Job): Promise<void> {
    await this.#update(job, { $set: { status: DONE, doneAt: new Date() } })
  }

  async checkpoint(job: Job, outputs: readonly string[]): Promise<void> {
    await this.#update(job, { $set: { outputs }, $inc: { version: 1 } })
  }

  async load(payload: string): Promise<readonly string[]> {
    const job = await this.#jobs.findOne({ payload })
    return job?.outputs ?? []
  }

  remaining(): Promise<number> {
    return this.#jobs.countDocuments({ status: { $ne: DONE } })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#client.close()
  }

  async #update({ id, token }: Job, change: object): Promise<void> {
    const { matchedCount } = await this.#jobs.updateOne({ _id: id, token, status: CLAIMED }, change)
    if (matchedCount !== 1) throw new Error('the claim was lost')
  }
}

function documentOf(payload: string): JobDocument {
  return { _id: new ObjectId(), status: READY, token: 0, payload }
}

export async function connect({ url, namespace, concurrency }: Place): Promise<Floor> {
  const client = new MongoClient(url, { maxPoolSize: concurrency, w: 'majority' })
  await client.connect()
  return new MongoFloor(client, namespace)
}
