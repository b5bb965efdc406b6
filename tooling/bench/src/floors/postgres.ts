import postgres from 'postgres'
import type { Place } from '../definition.ts'
import type { Floor, FloorJob } from '../floor.ts'

interface Job extends FloorJob {
  readonly id: string
  readonly token: string
}

/**
 * postgres.js, prepared, one connection a slot: the claim is one `UPDATE … FOR UPDATE SKIP LOCKED`,
 * completing is one fenced `UPDATE`. One table in a schema of the namespace.
 */
class PostgresFloor implements Floor<Job> {
  readonly #sql: postgres.Sql
  readonly #schema: string

  constructor(sql: postgres.Sql, schema: string) {
    this.#sql = sql
    this.#schema = schema
  }

  async create(): Promise<void> {
    await this.#sql.unsafe(`
      CREATE SCHEMA ${this.#schema};
      CREATE TABLE ${this.#schema}.job (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        status smallint NOT NULL DEFAULT 0,
        available_at timestamptz NOT NULL DEFAULT now(),
        worker text,
        token bigint NOT NULL DEFAULT 0,
        lease timestamptz,
        payload text NOT NULL,
        snapshot text,
        version int NOT NULL DEFAULT 0,
        done_at timestamptz
      );
      CREATE INDEX job_ready ON ${this.#schema}.job (id) WHERE status = 0;
    `)
  }

  async drop(): Promise<void> {
    await this.#sql`DROP SCHEMA ${this.#sql(this.#schema)} CASCADE`
  }

  async fill(payloads: readonly string[]): Promise<void> {
    await this.#sql`
      INSERT INTO ${this.#job} (payload) SELECT * FROM unnest(${[...payloads]}::text[])`
  }

  async settle(): Promise<void> {
    await this.#sql`VACUUM ANALYZE ${this.#job}`
  }

  async enqueue(payload: string): Promise<void> {
    await this.#sql`INSERT INTO ${this.#job} (payload) VALUES (${payload})`
  }

  async enqueueAndWake(payload: string): Promise<void> {
    await this.#sql`
      WITH inserted AS (INSERT INTO ${this.#job} (payload) VALUES (${payload}))
      SELECT pg_notify(${this.#schema}, '')`
  }

  async listen(wake: () => void): Promise<void> {
    await this.#sql.listen(this.#schema, wake)
  }

  async claim(worker: string): Promise<Job | undefined> {
    const [job] = await this.#claim(worker, 1)
    return job
  }

  claimMany(worker: string, limit: number): Promise<Job[]> {
    return this.#claim(worker, limit)
  }

  async complete({ id, token }: Job): Promise<void> {
    const { count } = await this.#sql`
      UPDATE ${this.#job} SET status = 2, done_at = now()
      WHERE id = ${id} AND token = ${token} AND status = 1`
    if (count !== 1) throw new Error('the claim was lost')
  }

  async completeMany(jobs: readonly Job[]): Promise<void> {
    const { count } = await this.#sql`
      UPDATE ${this.#job} job SET status = 2, done_at = now()
      FROM unnest(${jobs.map(({ id }) => id)}::bigint[], ${jobs.map(({ token }) => token)}::bigint[]) claim (id, token)
      WHERE job.id = claim.id AND job.token = claim.token AND job.status = 1`
    if (count !== jobs.length) throw new Error('a claim was lost')
  }

  async completeAndClaim({ id, token }: Job, worker: string): Promise<Job | undefined> {
    const [row] = await this.#sql<(Partial<Job> & { done: string })[]>`
      WITH done AS (
        UPDATE ${this.#job} SET status = 2, done_at = now()
        WHERE id = ${id} AND token = ${token} AND status = 1 RETURNING id
      ), claimed AS (
        UPDATE ${this.#job} SET status = 1, worker = ${worker}, token = token + 1,
          lease = now() + interval '30 seconds'
        WHERE id = (SELECT id FROM ${this.#job} WHERE status = 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING id, token, payload
      )
      SELECT (SELECT count(*) FROM done) AS done, claimed.* FROM (SELECT) one LEFT JOIN claimed ON true`
    if (row?.done !== '1') throw new Error('the claim was lost')
    const { id: nextId, token: nextToken, payload } = row
    if (nextId == null || nextToken == null || payload == null) return undefined
    return { id: nextId, token: nextToken, payload }
  }

  async checkpoint({ id, token }: Job, outputs: readonly string[]): Promise<void> {
    const { count } = await this.#sql`
      UPDATE ${this.#job} SET snapshot = ${JSON.stringify(outputs)}, version = version + 1
      WHERE id = ${id} AND token = ${token} AND status = 1`
    if (count !== 1) throw new Error('the claim was lost')
  }

  async remaining(): Promise<number> {
    const [row] = await this.#sql<[{ count: string }]>`
      SELECT count(*) FROM ${this.#job} WHERE status <> 2`
    return Number(row.count)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#sql.end()
  }

  get #job() {
    return this.#sql`${this.#sql(this.#schema)}.job`
  }

  /** One claim without a join, several with one: each the cheapest plan. */
  #claim(worker: string, limit: number): Promise<Job[]> {
    const sql = this.#sql
    return limit === 1
      ? sql<Job[]>`
          UPDATE ${this.#job} SET status = 1, worker = ${worker}, token = token + 1,
            lease = now() + interval '30 seconds'
          WHERE id = (SELECT id FROM ${this.#job} WHERE status = 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
          RETURNING id, token, payload`
      : sql<Job[]>`
          UPDATE ${this.#job} job SET status = 1, worker = ${worker}, token = token + 1,
            lease = now() + interval '30 seconds'
          FROM (SELECT id FROM ${this.#job} WHERE status = 0 ORDER BY id LIMIT ${limit} FOR UPDATE SKIP LOCKED) ready
          WHERE job.id = ready.id
          RETURNING job.id, job.token, job.payload`
  }
}

export async function connect({ url, namespace, concurrency }: Place): Promise<Floor> {
  const sql = postgres(url, {
    max: concurrency,
    idle_timeout: 0,
    max_lifetime: null,
    onnotice: () => {},
  })
  // All at once, so that each takes a connection of its own.
  await Promise.all(Array.from({ length: concurrency }, () => sql`SELECT pg_sleep(0.05)`))
  return new PostgresFloor(sql, namespace)
}
