import type { InstanceStatus, SnapshotSummary, TaskResult } from '@sayiir/persistence-core'
import type { CommitRecord, ListPage, StoredInstance } from '@sayiir/persistence-core/adapter'
import type { Client } from './client.ts'
import { texts } from './literals.ts'
import {
  bytes,
  INSTANCE_COLUMNS,
  number,
  text,
  textOrNull,
  toInstance,
  toResult,
} from './records.ts'

/** An instance, if it is there; the clock in any case. */
const READ = `SELECT n.now, i.id, x.known::text, i.entries, ${INSTANCE_COLUMNS}
  FROM (SELECT {s}.now_ms() AS now) AS n
  LEFT JOIN LATERAL (SELECT i.*, {s}.entries(i.id) AS entries FROM {s}.instance i WHERE i.id = $1::text) AS i ON true
  LEFT JOIN LATERAL (SELECT true AS known FROM {s}.event e
    WHERE e.instance_key = i.key AND e.signal_name = $2::text AND e.event_id = $3::text) AS x ON true`

/** Its row first, then its outputs. */
const READ_WHOLE = `SELECT -1::bigint AS place, {s}.now_ms() AS now, {s}.entries(i.id) AS entries, NULL::text AS task_id,
    NULL::text AS output, ${INSTANCE_COLUMNS}
  FROM {s}.instance i WHERE i.id = $1::text
  UNION ALL
  SELECT r.place, NULL, NULL, r.task_id, encode(r.output, 'hex'), NULL, NULL, NULL, NULL, NULL, NULL
  FROM {s}.instance i JOIN {s}.result r ON r.instance_key = i.key
  WHERE i.id = $1::text AND r.output IS NOT NULL
  ORDER BY place`

const READ_OUTPUTS = `SELECT NULL::text, NULL::text FROM {s}.instance i WHERE i.id = $1::text
  UNION ALL
  SELECT r.task_id, encode(r.output, 'hex') FROM {s}.instance i
  JOIN {s}.result r ON r.instance_key = i.key AND r.task_id = ANY ($2::text::text[])
  WHERE i.id = $1::text AND r.output IS NOT NULL`

/** Not where the task was claimed again since. */
const READ_COMMIT = `SELECT r.worker_id, r.token, r.revision, r.status, r.next_instance_id, r.next_task_id, r.next_token
  FROM {s}.instance i JOIN {s}.result r ON r.instance_key = i.key AND r.task_id = $2::text
  WHERE i.id = $1::text AND r.token IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {s}.task t
    WHERE t.instance_id = i.id AND t.task_id = r.task_id AND t.token > greatest(r.token, r.next_token))`

const LIST_COLUMNS = 'id, definition_hash, status, revision, created_at, updated_at'

const DELETE = 'SELECT {s}.delete_instances($1::text::text[], NULL)::text'

/** Instances as they are stored, read. */
export class InstanceReader {
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  async now(): Promise<number> {
    const [row = []] = await this.#client.query('SELECT {s}.now_ms()')
    return number(row, 0)
  }

  async read(
    instanceId: string,
    event?: { readonly signalName: string; readonly eventId: string },
  ): Promise<{ now: number; stored: StoredInstance | null; isKnownEvent: boolean }> {
    const { signalName = '', eventId = '' } = event ?? {}
    const [row = []] = await this.#client.query(READ, [instanceId, signalName, eventId])
    const stored = row[1] === null ? null : toInstance(row, instanceId, 3, 4)
    return { now: number(row, 0), stored, isKnownEvent: row[2] !== null }
  }

  async readWhole(
    instanceId: string,
  ): Promise<{ now: number; stored: StoredInstance; results: TaskResult[] } | null> {
    const [first, ...results] = await this.#client.query(READ_WHOLE, [instanceId])
    if (first === undefined) return null
    return {
      now: number(first, 1),
      stored: toInstance(first, instanceId, 2, 5),
      results: results.map((row) => toResult(row, 3, 4)),
    }
  }

  async readOutputs(
    instanceId: string,
    taskIds: readonly string[],
  ): Promise<ReadonlyMap<string, Uint8Array> | null> {
    const rows = await this.#client.query(READ_OUTPUTS, [instanceId, texts(taskIds)])
    if (rows.length === 0) return null
    const outputs = new Map<string, Uint8Array>()
    for (const row of rows) {
      const output = bytes(row, 1)
      if (output !== null) outputs.set(text(row, 0), output)
    }
    return outputs
  }

  async readCommit(instanceId: string, taskId: string): Promise<CommitRecord | null> {
    const [row] = await this.#client.query(READ_COMMIT, [instanceId, taskId])
    if (row === undefined) return null
    const next = textOrNull(row, 4)
    return {
      workerId: text(row, 0),
      token: number(row, 1),
      revision: number(row, 2),
      status: text(row, 3) as InstanceStatus,
      next:
        next === null ? null : { instanceId: next, taskId: text(row, 5), token: number(row, 6) },
    }
  }

  async remove(instanceId: string): Promise<boolean> {
    const [row = []] = await this.#client.query(DELETE, [texts([instanceId])])
    return number(row, 0) === 1
  }

  async list(page: ListPage): Promise<readonly SnapshotSummary[]> {
    const { start, inclusive, limit, statuses, definitionHashes } = page
    const parameters = [start ?? '', String(limit)]
    const given = (values: readonly string[]): string => {
      parameters.push(texts(values))
      return `ANY ($${parameters.length}::text::text[])`
    }
    const conditions = [
      `id ${inclusive ? '>=' : '>'} $1::text`,
      ...(statuses === null ? [] : [`status = ${given(statuses)}`]),
      ...(definitionHashes === null ? [] : [`definition_hash = ${given(definitionHashes)}`]),
    ]
    const rows = await this.#client.query(
      `SELECT ${LIST_COLUMNS} FROM {s}.instance WHERE ${conditions.join(' AND ')}
      ORDER BY id LIMIT $2::text::integer`,
      parameters,
    )
    return rows.map((row) => ({
      instanceId: text(row, 0),
      definitionHash: text(row, 1),
      status: text(row, 2) as InstanceStatus,
      revision: number(row, 3),
      createdAt: number(row, 4),
      updatedAt: number(row, 5),
    }))
  }
}
