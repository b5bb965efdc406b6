import { Logger, makeWorkerUtils, run, type WorkerUtils } from 'graphile-worker'
import pg from 'pg'
import type { Place } from '../definition.ts'
import { aborted } from '../numbers.ts'
import type { Hooks, Subject, Work, WorkKind } from '../subject.ts'
import { handle, jobs, type PeerJob, PeerSubject } from './job.ts'

const TASK = 'bench'
const logger = new Logger(() => (level, message) => {
  if (level === 'error') console.error('graphile-worker:', message)
})

/** graphile-worker with a local queue of 500 and batched completion; plain where waiting is measured. */
class GraphileSubject extends PeerSubject implements Subject {
  readonly #utils: WorkerUtils
  readonly #pool: pg.Pool
  readonly #place: Place

  constructor(utils: WorkerUtils, pool: pg.Pool, place: Place) {
    super()
    this.#utils = utils
    this.#pool = pool
    this.#place = place
  }

  create(): Promise<void> {
    return this.#utils.migrate()
  }

  async fill(_kind: WorkKind, count: number): Promise<void> {
    for (const some of jobs(count)) await this.#insert(some)
  }

  override async settle(): Promise<void> {
    await this.#pool.query('VACUUM ANALYZE')
  }

  async work(plan: Work, hooks: Hooks, signal: AbortSignal): Promise<void> {
    const tuned = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }
    const runner = await run({
      pgPool: this.#pool,
      noHandleSignals: true,
      logger,
      taskList: {
        [TASK]: (job, { addJob }) =>
          handle(job as PeerJob, plan, hooks, (next) => addJob(TASK, next)),
      },
      preset: {
        worker: {
          schema: this.#place.namespace,
          concurrentJobs: plan.concurrency,
          ...(plan.kind === 'wakeups' ? undefined : tuned),
        },
      },
    })
    await aborted(signal)
    await runner.stop()
  }

  send(payload: string): Promise<unknown> {
    return this.#utils.addJob(TASK, { payload, step: 1 })
  }

  sendMany(payloads: readonly string[]): Promise<unknown> {
    return this.#insert(payloads.map((payload) => ({ payload, step: 1 })))
  }

  async remaining(): Promise<number> {
    const { rows } = await this.#pool.query<{ count: string }>(
      `SELECT count(*) FROM ${this.#place.namespace}._private_jobs`,
    )
    return Number(rows[0]?.count)
  }

  async drop(): Promise<void> {
    await this.#pool.query(`DROP SCHEMA ${this.#place.namespace} CASCADE`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#utils.release()
    await this.#pool.end()
  }

  #insert(some: readonly PeerJob[]): Promise<unknown> {
    return this.#utils.addJobs(some.map((payload) => ({ identifier: TASK, payload })))
  }
}

export async function connect(place: Place): Promise<Subject> {
  const pgPool = new pg.Pool({
    connectionString: place.url,
    max: place.concurrency + 4,
    idleTimeoutMillis: 0,
  })
  pgPool.on('error', () => {})
  pgPool.on('connect', (client) => client.on('error', () => {}))
  const utils = await makeWorkerUtils({ pgPool, logger, schema: place.namespace })
  return new GraphileSubject(utils, pgPool, place)
}
