import type { SignalKind, SignalRequest } from '@sayiir/persistence-core'
import type { PendingSignals } from '@sayiir/persistence-core/adapter'
import type { Connection } from './database.ts'

interface SignalRow {
  readonly kind: SignalKind
  readonly reason: string | null
  readonly requested_by: string | null
  readonly requested_at: number
}

/** The control signals that are pending for an instance. */
export function readSignals(db: Connection, instanceId: string): PendingSignals {
  const rows = db.all<SignalRow>(
    'SELECT kind, reason, requested_by, requested_at FROM {signal} WHERE instance_id = ?',
    instanceId,
  )
  const ofKind = (kind: SignalKind): SignalRequest | null => {
    const row = rows.find((one) => one.kind === kind)
    if (row === undefined) return null
    return {
      kind,
      reason: fromColumn(row.reason),
      requestedBy: fromColumn(row.requested_by),
      requestedAt: row.requested_at,
    }
  }
  return { cancel: ofKind('cancel'), pause: ofKind('pause') }
}

/** Stores a request in place of the one before it. */
export function writeSignal(db: Connection, instanceId: string, request: SignalRequest): void {
  db.run(
    `INSERT OR REPLACE INTO {signal} (instance_id, kind, reason, requested_by, requested_at)
    VALUES (?, ?, ?, ?, ?)`,
    instanceId,
    request.kind,
    toColumn(request.reason),
    toColumn(request.requestedBy),
    request.requestedAt,
  )
}

/** As JSON: a text may have U+0000 in it, where Node 22 stops reading a column. */
function toColumn(text: string | null): string | null {
  return text === null ? null : JSON.stringify(text)
}

function fromColumn(json: string | null): string | null {
  return json === null ? null : (JSON.parse(json) as string)
}

/** Takes a request back. */
export function deleteSignal(db: Connection, instanceId: string, kind: SignalKind): void {
  db.run('DELETE FROM {signal} WHERE instance_id = ? AND kind = ?', instanceId, kind)
}

/**
 * Notes when dispatch may apply an instance's signals: when its last live claim ends (rule G4).
 * So dispatch need not look at those that must wait for a worker.
 */
export function setSignalsDue(db: Connection, instanceId: string): void {
  db.run(
    `UPDATE {signal} SET due_at = (
      SELECT CASE
        WHEN count(*) FILTER (WHERE token IS NOT NULL AND expires_at IS NULL) = 0
        THEN coalesce(max(expires_at), 0)
      END
      FROM {task} WHERE {task}.instance_id = {signal}.instance_id
    ) WHERE instance_id = ?`,
    instanceId,
  )
}
