import { Queue, Worker } from 'bullmq'
import type { Place } from '../definition.ts'
import { aborted } from '../numbers.ts'
import type { Hooks, Subject, Work, WorkKind } from '../subject.ts'
import { handle, jobs, type PeerJob, PeerSubject } from './job.ts'

const QUEUE = 'bench'

/** BullMQ as it comes: it completes a job and fetches the next one in one script. */
class BullSubject extends PeerSubject implements Subject {
  readonly #queue: Queue<PeerJob>
  readonly #place: Place

  constructor(place: Place) {
    super()
    this.#place = place
    this.#queue = new Queue(QUEUE, { connection: connection(place), prefix: prefix(place) })
    this.#queue.on('error', (error) => console.error('bullmq:', error.message))
  }

  async create(): Promise<void> {}

  override async warm(): Promise<void> {
    await this.#queue.waitUntilReady()
  }

  async fill(_kind: WorkKind, count: number): Promise<void> {
    for (const some of jobs(count)) await this.#insert(some)
  }

  async work(plan: Work, hooks: Hooks, signal: AbortSignal): Promise<void> {
    const add = (next: PeerJob): Promise<unknown> => this.#queue.add('job', next)
    const worker = new Worker<PeerJob>(QUEUE, ({ data }) => handle(data, plan, hooks, add), {
      connection: connection(this.#place),
      prefix: prefix(this.#place),
      concurrency: plan.concurrency,
    })
    worker.on('error', (error) => console.error('bullmq:', error.message))
    await aborted(signal)
    await worker.close()
  }

  send(payload: string): Promise<unknown> {
    return this.#queue.add('job', { payload, step: 1 })
  }

  sendMany(payloads: readonly string[]): Promise<unknown> {
    return this.#insert(payloads.map((payload) => ({ payload, step: 1 })))
  }

  async remaining(): Promise<number> {
    const counts = await this.#queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized')
    return Object.values(counts).reduce((sum, count) => sum + count, 0)
  }

  async drop(): Promise<void> {
    await this.#queue.obliterate({ force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#queue.close()
  }

  #insert(some: readonly PeerJob[]): Promise<unknown> {
    return this.#queue.addBulk(some.map((data) => ({ name: 'job', data })))
  }
}

function connection({ url }: Place) {
  return { url, maxRetriesPerRequest: null }
}

function prefix({ namespace }: Place): string {
  return `{${namespace}}`
}

export async function connect(place: Place): Promise<Subject> {
  return new BullSubject(place)
}
