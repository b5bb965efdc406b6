import { DatabaseSync, type StatementSync } from 'node:sqlite'

/**
 * Bare statements that store what the contract asks for: the same rows in the same tables as the
 * backend, written by hand for this one step. A token that outlives its instance (C3), the head of
 * the snapshot, the output, the next task's place in the queue, and the record that answers a
 * repeated commit (D6). Nothing is checked but the claim.
 */
export class BareRows {
  readonly #db: DatabaseSync
  readonly #sql: Record<string, StatementSync> = {}

  constructor(path: string) {
    this.#db = new DatabaseSync(path)
    this.#db.exec('PRAGMA busy_timeout = 10000; PRAGMA synchronous = FULL')
    const statements = {
      begin: 'BEGIN IMMEDIATE',
      commit: 'COMMIT',
      now: `SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) AS now`,
      sequence: `UPDATE sayiir_meta SET value = value + 1 WHERE key = 'sequence' RETURNING value`,
      claim: `UPDATE sayiir_task SET queue = 2, deliveries = deliveries + 1, worker_id = ?, token = ?,
          claimed_at = ?, expires_at = ?
        WHERE (instance_id, task_id) = (
          SELECT instance_id, task_id FROM sayiir_task INDEXED BY sayiir_task_ready
          WHERE queue = 1 AND route_id = 1 AND last_failed_worker = '' AND priority = 3
          ORDER BY available_since, instance_id, task_id LIMIT 1)
        RETURNING instance_id, task_id`,
      forget: 'DELETE FROM sayiir_commit_record WHERE instance_id = ? AND task_id = ?',
      load: 'SELECT head FROM sayiir_instance WHERE id = ?',
      next: `UPDATE sayiir_task SET task_id = ?, queue = 1, available_since = ?, deliveries = 0,
          input_task_id = ?, worker_id = NULL, token = NULL, claimed_at = NULL, expires_at = NULL
        WHERE instance_id = ? AND task_id = ? AND worker_id = ? AND token = ?`,
      output: `INSERT INTO sayiir_result (instance_id, task_id, seq, output) VALUES (?, ?, 1, ?)`,
      head: `UPDATE sayiir_instance SET revision = revision + 1, updated_at = ?,
          result_seq = result_seq + 1, result_count = result_count + 1, head = ? WHERE id = ?`,
      record: `INSERT OR REPLACE INTO sayiir_commit_record
        VALUES (?, ?, ?, ?, 2, 'in-progress', NULL, NULL, NULL)`,
    }
    for (const [name, sql] of Object.entries(statements)) this.#sql[name] = this.#db.prepare(sql)
  }

  step(worker: string, output: Uint8Array): void {
    const {
      begin,
      commit,
      now,
      sequence,
      claim,
      forget,
      load,
      next,
      output: insert,
      head,
      record,
    } = this.#sql as Record<string, StatementSync>
    begin!.run()
    const { now: claimedAt } = now!.get() as { now: number }
    const { value: token } = sequence!.get() as { value: number }
    const task = claim!.get(worker, token, claimedAt, claimedAt + 30_000) as {
      instance_id: string
      task_id: string
    }
    const { instance_id: instanceId, task_id: taskId } = task
    forget!.run(instanceId, taskId)
    commit!.run()
    begin!.run()
    const { now: at } = now!.get() as { now: number }
    const { changes } = next!.run('b', at, taskId, instanceId, taskId, worker, token)
    if (changes !== 1) throw new Error('the claim was lost')
    const { head: before } = load!.get(instanceId) as { head: string }
    insert!.run(instanceId, taskId, output)
    head!.run(at, before, instanceId)
    record!.run(instanceId, taskId, worker, token)
    commit!.run()
  }

  close(): void {
    this.#db.close()
  }
}
