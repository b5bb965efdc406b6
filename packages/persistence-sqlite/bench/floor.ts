import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import type { Floor, FloorJob, Place } from '@sayiir/bench'
import { SqliteBackend } from '@sayiir/persistence-sqlite'
import { flushOf, pathOf } from './backend.ts'

interface Job extends FloorJob {
  readonly id: string
  readonly taskId: string
  readonly worker: string
  readonly token: number
}

const DONE: Uint8Array = new TextEncoder().encode('null')
const LEASE_MS = 30_000

const SQL = {
  begin: 'BEGIN IMMEDIATE',
  commit: 'COMMIT',
  now: `SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) AS now`,
  sequence: `UPDATE sayiir_meta SET value = value + 1 WHERE key = 'sequence' RETURNING value`,
  instance: `INSERT INTO sayiir_instance VALUES (?, 'definition', 'in-progress', 1, ?2, ?2, NULL, 0, ?3, 0, 0, 0,
      '{"v":1,"status":"in-progress","position":{"kind":"at-task","taskId":"step-1"}}')`,
  input: `INSERT INTO sayiir_payload VALUES (?, 'initial-input', ?)`,
  task: `INSERT INTO sayiir_task VALUES (?, 'step-1', 1, '', 3, ?, 1, 0, NULL, 1, 0, NULL, NULL, NULL, NULL)`,
  claim: `UPDATE sayiir_task SET queue = 2, deliveries = deliveries + 1, worker_id = ?, token = ?,
      claimed_at = ?, expires_at = ?
    WHERE (instance_id, task_id) = (
      SELECT instance_id, task_id FROM sayiir_task INDEXED BY sayiir_task_ready
      WHERE queue = 1 AND route_id = 1 AND last_failed_worker = '' AND priority = 3
      ORDER BY available_since, instance_id, task_id LIMIT 1)
    RETURNING instance_id AS id, task_id AS taskId`,
  payload: `SELECT bytes FROM sayiir_payload WHERE instance_id = ? AND kind = 'initial-input'`,
  head: 'SELECT head FROM sayiir_instance WHERE id = ?',
  forget: 'DELETE FROM sayiir_commit_record WHERE instance_id = ? AND task_id = ?',
  next: `UPDATE sayiir_task SET task_id = ?, available_since = ?, input_task_id = ?
    WHERE instance_id = ? AND task_id = ? AND worker_id = ? AND token = ?`,
  done: `DELETE FROM sayiir_task WHERE instance_id = ? AND task_id = ? AND worker_id = ? AND token = ?`,
  output: `INSERT INTO sayiir_result (instance_id, task_id, seq, output) VALUES (?, ?, ?, ?)`,
  step: `UPDATE sayiir_instance SET revision = revision + 1, updated_at = ?,
      result_seq = result_seq + 1, result_count = result_count + 1, head = ? WHERE id = ?`,
  ended: `UPDATE sayiir_instance SET status = 'completed', revision = revision + 1, updated_at = ?1, ended_at = ?1,
      head = '{"v":1,"status":"completed","priority":3}' WHERE id = ?2`,
  final: `INSERT INTO sayiir_payload VALUES (?, 'final-output', ?)`,
  record: `INSERT OR REPLACE INTO sayiir_commit_record VALUES (?, ?, ?, ?, 2, ?, NULL, NULL, NULL)`,
  remaining: `SELECT count(*) AS count FROM sayiir_instance WHERE status <> 'completed'`,
}

/**
 * Bare statements that store what the contract asks for: the same rows in the same tables as the
 * backend, written by hand for these jobs. A token that outlives its instance (C3), the head of the
 * snapshot, the output, the place in the queue, and the record that answers a repeated commit (D6).
 * Nothing is checked but the claim.
 */
class SqliteFloor implements Floor<Job> {
  readonly #path: string
  readonly #flush: 'NORMAL' | 'FULL'
  readonly #sql = new Map<string, StatementSync>()
  #database: DatabaseSync | null = null
  #enqueued = 0

  constructor(place: Place) {
    this.#path = pathOf(place)
    this.#flush = flushOf(place)
  }

  async create(): Promise<void> {
    const backend = await SqliteBackend.connect({ path: this.#path })
    await backend.close()
    this.#open().exec(`INSERT INTO sayiir_route VALUES (1, 'definition', '[]')`)
  }

  async drop(): Promise<void> {}

  async fill(payloads: readonly string[]): Promise<void> {
    this.#transaction(() => {
      for (const payload of payloads) this.#insert(payload)
    })
  }

  async enqueue(payload: string): Promise<void> {
    this.#transaction(() => this.#insert(payload))
  }

  async claim(worker: string): Promise<Job | undefined> {
    // These calls are synchronous: the process would hear of nothing else until the queue is empty.
    await setImmediate()
    return this.#transaction((now) => this.#claim(worker, now))
  }

  async complete(job: Job): Promise<void> {
    this.#transaction((now) => this.#complete(job, now))
  }

  async completeAndClaim(job: Job, worker: string): Promise<Job | undefined> {
    await setImmediate()
    return this.#transaction((now) => {
      this.#complete(job, now)
      return this.#claim(worker, now)
    })
  }

  async claimMany(worker: string, limit: number): Promise<Job[]> {
    return this.#transaction((now) => {
      const jobs: Job[] = []
      while (jobs.length < limit) {
        const job = this.#claim(worker, now)
        if (job === undefined) break
        jobs.push(job)
      }
      return jobs
    })
  }

  async completeMany(jobs: readonly Job[]): Promise<void> {
    this.#transaction((now) => {
      for (const job of jobs) this.#complete(job, now)
    })
  }

  async checkpoint({ id, worker, token }: Job, outputs: readonly string[]): Promise<void> {
    const step = outputs.length
    const [from, to] = [`step-${step}`, `step-${step + 1}`]
    this.#transaction((now) => {
      this.#fenced('next', to, now, from, id, from, worker, token)
      const { head } = this.#get('head', id) as { head: string }
      this.#run('output', id, from, step, new TextEncoder().encode(outputs.at(-1)))
      this.#run('step', now, head.replace(from, to), id)
      this.#run('record', id, from, worker, token, 'in-progress')
    })
  }

  async remaining(): Promise<number> {
    return (this.#get('remaining') as { count: number }).count
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#database?.close()
  }

  #insert(payload: string): void {
    this.#enqueued += 1
    const id = `instance-${process.pid}-${String(this.#enqueued).padStart(7, '0')}`
    const now = this.#now()
    this.#run('instance', id, now, this.#sequence())
    this.#run('input', id, new TextEncoder().encode(payload))
    this.#run('task', id, now)
  }

  #claim(worker: string, now: number): Job | undefined {
    const token = this.#sequence()
    const row = this.#get('claim', worker, token, now, now + LEASE_MS)
    if (row === undefined) return undefined
    const { id, taskId } = row as { id: string; taskId: string }
    this.#get('head', id)
    this.#run('forget', id, taskId)
    const { bytes } = this.#get('payload', id) as { bytes: Uint8Array }
    return { id, taskId, worker, token, payload: new TextDecoder().decode(bytes) }
  }

  /** Of a job that stands at its first task, or after ten checkpoints. */
  #complete({ id, worker, token }: Job, now: number): void {
    const { head } = this.#get('head', id) as { head: string }
    const taskId = head.includes('"step-1"') ? 'step-1' : 'step-11'
    this.#fenced('done', id, taskId, worker, token)
    this.#run('output', id, taskId, 11, DONE)
    this.#run('ended', now, id)
    this.#run('final', id, DONE)
    this.#run('record', id, taskId, worker, token, 'completed')
  }

  #transaction<T>(work: (now: number) => T): T {
    this.#run('begin')
    try {
      const result = work(this.#now())
      this.#run('commit')
      return result
    } catch (error) {
      this.#open().exec('ROLLBACK')
      throw error
    }
  }

  #now(): number {
    return (this.#get('now') as { now: number }).now
  }

  #sequence(): number {
    return (this.#get('sequence') as { value: number }).value
  }

  #fenced(name: keyof typeof SQL, ...values: (string | number)[]): void {
    if (this.#statement(name).run(...values).changes !== 1) throw new Error('the claim was lost')
  }

  #run(name: keyof typeof SQL, ...values: (string | number | Uint8Array)[]): void {
    this.#statement(name).run(...values)
  }

  #get(name: keyof typeof SQL, ...values: (string | number)[]): unknown {
    return this.#statement(name).get(...values)
  }

  #statement(name: keyof typeof SQL): StatementSync {
    const statement = this.#sql.get(name) ?? this.#open().prepare(SQL[name])
    this.#sql.set(name, statement)
    return statement
  }

  #open(): DatabaseSync {
    if (this.#database !== null) return this.#database
    this.#database = new DatabaseSync(this.#path)
    this.#database.exec(`PRAGMA busy_timeout = 60000; PRAGMA synchronous = ${this.#flush}`)
    return this.#database
  }
}

export async function connect(place: Place): Promise<Floor> {
  return new SqliteFloor(place)
}
