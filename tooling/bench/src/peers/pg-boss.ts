import pg from 'pg'
import { PgBoss } from 'pg-boss'
import type { Place } from '../definition.ts'
import { aborted } from '../numbers.ts'
import type { Hooks, Subject, Work, WorkKind } from '../subject.ts'
import { handle, jobs, type PeerJob, PeerSubject } from './job.ts'

const QUEUE = 'bench'
const BATCH = 50

/** pg-boss with batches of 50, fetched back to back, and notified where waiting is measured. */
class PgBossSubject extends PeerSubject implements Subject {
  readonly #boss: PgBoss
  readonly #pool: pg.Pool
  readonly #place: Place

  constructor(boss: PgBoss, pool: pg.Pool, place: Place) {
    super()
    this.#boss = boss
    this.#pool = pool
    this.#place = place
  }

  async create(): Promise<void> {
    await this.#boss.createQueue(QUEUE, { notify: isNotified(this.#place), retryLimit: 0 })
  }

  async fill(_kind: WorkKind, count: number): Promise<void> {
    for (const some of jobs(count)) await this.#insert(some)
  }

  override async settle(): Promise<void> {
    await this.#pool.query('VACUUM ANALYZE')
  }

  async work(plan: Work, hooks: Hooks, signal: AbortSignal): Promise<void> {
    const add = (next: PeerJob): Promise<unknown> => this.#boss.send(QUEUE, next)
    await this.#boss.work<PeerJob>(
      QUEUE,
      {
        localConcurrency: plan.concurrency,
        batchSize: BATCH,
        burstWhenBatchFull: true,
        pollingIntervalSeconds: 0.5,
      },
      async (batch) => {
        for (const { data } of batch) await handle(data, plan, hooks, add)
      },
    )
    await aborted(signal)
    await this.#boss.offWork(QUEUE)
  }

  send(payload: string): Promise<unknown> {
    return this.#boss.send(QUEUE, { payload, step: 1 })
  }

  sendMany(payloads: readonly string[]): Promise<unknown> {
    return this.#insert(payloads.map((payload) => ({ payload, step: 1 })))
  }

  async remaining(): Promise<number> {
    const { rows } = await this.#pool.query<{ count: string }>(
      `SELECT count(*) FROM ${this.#place.namespace}.job WHERE name = $1 AND state < 'completed'`,
      [QUEUE],
    )
    return Number(rows[0]?.count)
  }

  async drop(): Promise<void> {
    await this.#boss.stop({ graceful: false })
    await this.#pool.query(`DROP SCHEMA ${this.#place.namespace} CASCADE`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#boss.stop({ graceful: false })
    await this.#pool.end()
  }

  #insert(some: readonly PeerJob[]): Promise<unknown> {
    return this.#boss.insert(
      QUEUE,
      some.map((data) => ({ data })),
    )
  }
}

function isNotified({ workload }: Place): boolean {
  return workload === 'W2' || workload === 'W3'
}

export async function connect(place: Place): Promise<Subject> {
  const boss = new PgBoss({
    connectionString: place.url,
    schema: place.namespace,
    max: place.concurrency + 2,
    supervise: false,
    schedule: false,
    useListenNotify: isNotified(place),
  })
  boss.on('error', (error) => console.error('pg-boss:', error.message))
  await boss.start()
  return new PgBossSubject(boss, new pg.Pool({ connectionString: place.url, max: 1 }), place)
}
