import { DatabaseSync } from 'node:sqlite'

/**
 * The fewest statements of node:sqlite that claim and complete a step: what any backend is
 * measured against. Two transactions a step, each flushed to the disk.
 */
export class BareQueue {
  readonly #db: DatabaseSync
  readonly #sql: Record<
    'begin' | 'commit' | 'claim' | 'complete' | 'output',
    ReturnType<DatabaseSync['prepare']>
  >

  constructor(path: string) {
    const db = new DatabaseSync(path)
    db.exec('PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    db.exec(`
      CREATE TABLE IF NOT EXISTS job (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, step TEXT NOT NULL, due INTEGER NOT NULL,
        worker TEXT, token INTEGER NOT NULL DEFAULT 0, expires INTEGER
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS job_ready ON job (due) WHERE state = 'ready';
      CREATE TABLE IF NOT EXISTS output (
        job TEXT NOT NULL, step TEXT NOT NULL, output BLOB NOT NULL, PRIMARY KEY (job, step)
      ) WITHOUT ROWID;
    `)
    this.#db = db
    this.#sql = {
      begin: db.prepare('BEGIN IMMEDIATE'),
      commit: db.prepare('COMMIT'),
      claim: db.prepare(
        `UPDATE job SET state = 'claimed', worker = ?, token = token + 1,
          expires = unixepoch('subsec') * 1000 + 30000
        WHERE id = (SELECT id FROM job WHERE state = 'ready' ORDER BY due LIMIT 1)
        RETURNING id, step, token`,
      ),
      complete: db.prepare(
        `UPDATE job SET state = 'ready', step = ?, due = unixepoch('subsec') * 1000
        WHERE id = ? AND token = ? AND worker = ?`,
      ),
      output: db.prepare('INSERT INTO output VALUES (?, ?, ?)'),
    }
  }

  fill(count: number): void {
    const insert = this.#db.prepare(
      `INSERT INTO job (id, state, step, due) VALUES (?, 'ready', 'a', ?)`,
    )
    this.#db.exec('BEGIN')
    for (let index = 0; index < count; index += 1) insert.run(`instance-${index}`, index)
    this.#db.exec('COMMIT')
  }

  step(worker: string, output: Uint8Array): void {
    const { begin, commit, claim, complete, output: insert } = this.#sql
    begin.run()
    const { id, step, token } = claim.get(worker) as { id: string; step: string; token: number }
    commit.run()
    begin.run()
    const { changes } = complete.run('b', id, token, worker)
    if (changes !== 1) throw new Error('the claim was lost')
    insert.run(id, step, output)
    commit.run()
  }

  close(): void {
    this.#db.close()
  }
}
