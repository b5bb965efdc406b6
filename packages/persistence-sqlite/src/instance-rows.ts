import type { SnapshotHead, TaskResult } from '@sayiir/persistence-core'
import { isEnded } from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'
import { type ResultSet, toText } from './records.ts'

/**
 * Writes an instance's row, and the final output that it got. A step leaves the status alone, and
 * so the index of it.
 *
 * @param stored What is stored; null: nothing.
 */
export function writeInstance(
  db: Connection,
  stored: { readonly head: SnapshotHead; readonly signals: number } | null,
  head: SnapshotHead,
  signals: number,
  results: ResultSet,
  isStored: (result: TaskResult) => boolean,
): void {
  if (stored?.head.revision === head.revision) {
    if (stored.signals !== signals) {
      db.run('UPDATE {instance} SET signals = ? WHERE id = ?', signals, head.instanceId)
    }
    return
  }
  const { status } = head.state
  const text = toText(head, isStored)
  if (stored?.head.state.status === status) {
    db.run(
      `UPDATE {instance} SET definition_hash = ?, revision = ?, updated_at = ?, signals = ?,
        result_seq = ?, result_count = ?, result_digest = ?, head = ?
      WHERE id = ?`,
      head.definitionHash,
      head.revision,
      head.updatedAt,
      signals,
      results.seq,
      results.count,
      results.digest,
      text,
      head.instanceId,
    )
    return
  }
  db.run(
    `INSERT INTO {instance} (id, definition_hash, status, revision, created_at, updated_at, ended_at,
      signals, generation, result_seq, result_count, result_digest, head)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET definition_hash = excluded.definition_hash, status = excluded.status,
      revision = excluded.revision, updated_at = excluded.updated_at, ended_at = excluded.ended_at,
      signals = excluded.signals, result_seq = excluded.result_seq,
      result_count = excluded.result_count, result_digest = excluded.result_digest,
      head = excluded.head`,
    head.instanceId,
    head.definitionHash,
    status,
    head.revision,
    head.createdAt,
    head.updatedAt,
    isEnded(status) ? head.updatedAt : null,
    signals,
    results.generation,
    results.seq,
    results.count,
    results.digest,
    text,
  )
  if (head.state.status === 'completed') {
    writePayload(db, head.instanceId, 'final-output', head.state.finalOutput)
  }
}

/** Stores the initial input or the final output, unless just that is stored; null: there is none. */
export function writePayload(
  db: Connection,
  instanceId: string,
  kind: 'initial-input' | 'final-output',
  bytes: Uint8Array | null,
): void {
  if (bytes === null) {
    db.run('DELETE FROM {payload} WHERE instance_id = ? AND kind = ?', instanceId, kind)
    return
  }
  db.run(
    `INSERT INTO {payload} (instance_id, kind, bytes) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes`,
    instanceId,
    kind,
    bytes,
  )
}
