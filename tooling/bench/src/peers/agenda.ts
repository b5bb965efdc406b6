import { MongoBackend } from '@agendajs/mongo-backend'
import { Agenda } from 'agenda'
import { type Collection, MongoClient } from 'mongodb'
import type { Place } from '../definition.ts'
import { aborted, inFlight } from '../numbers.ts'
import type { Hooks, Subject, Work, WorkKind } from '../subject.ts'
import { handle, jobs, type PeerJob, PeerSubject } from './job.ts'

const NAME = 'bench'
/** It looks so often instead of every 5 seconds. */
const PROCESS_EVERY_MS = 100

/** Agenda, which has no call that adds many jobs. */
class AgendaSubject extends PeerSubject implements Subject {
  readonly #client: MongoClient
  readonly #place: Place
  #producer: Agenda | null = null

  constructor(client: MongoClient, place: Place) {
    super()
    this.#client = client
    this.#place = place
  }

  async create(): Promise<void> {}

  async fill(_kind: WorkKind, count: number): Promise<void> {
    for (const some of jobs(count))
      await inFlight(some.length, 20, (index) => this.#add(some[index]))
  }

  async work(plan: Work, hooks: Hooks, signal: AbortSignal): Promise<void> {
    const worker = await this.#open(plan.concurrency)
    worker.define<PeerJob>(
      NAME,
      async ({ attrs }) => handle(attrs.data, plan, hooks, (next) => this.#add(next)),
      { concurrency: plan.concurrency },
    )
    worker.on('error', (error: Error) => {
      // It may have claims under way when it is stopped.
      if (!signal.aborted) console.error('agenda:', error.message)
    })
    await worker.start()
    await aborted(signal)
    await worker.stop()
  }

  send(payload: string): Promise<unknown> {
    return this.#add({ payload, step: 1 })
  }

  sendMany(payloads: readonly string[]): Promise<unknown> {
    return Promise.all(payloads.map((payload) => this.send(payload)))
  }

  remaining(): Promise<number> {
    return this.#jobs.countDocuments({ name: NAME, lastFinishedAt: null })
  }

  async drop(): Promise<void> {
    await this.#jobs.drop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#client.close()
  }

  get #jobs(): Collection {
    return this.#client.db('sayiir_bench').collection(this.#place.namespace)
  }

  async #add(job: PeerJob | undefined): Promise<unknown> {
    if (job === undefined) return
    this.#producer ??= await this.#open(1)
    return this.#producer.now(NAME, job)
  }

  async #open(concurrency: number): Promise<Agenda> {
    const agenda = new Agenda({
      backend: new MongoBackend({
        mongo: this.#client.db('sayiir_bench'),
        collection: this.#place.namespace,
      }),
      processEvery: PROCESS_EVERY_MS,
      maxConcurrency: concurrency,
      defaultConcurrency: concurrency,
      defaultLockLimit: concurrency * 2,
    })
    await agenda.ready
    return agenda
  }
}

export async function connect(place: Place): Promise<Subject> {
  const client = new MongoClient(place.url, { maxPoolSize: place.concurrency + 10, w: 'majority' })
  return new AgendaSubject(await client.connect(), place)
}
