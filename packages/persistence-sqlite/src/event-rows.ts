import type { Connection } from './database.ts'

/** The oldest queued event of a signal, taken; null if there is none. */
export function takeEvent(
  db: Connection,
  instanceId: string,
  signalName: string,
): Uint8Array | null {
  const event = db.get<{ id: number; payload: Uint8Array }>(
    'SELECT id, payload FROM {event} WHERE instance_id = ? AND signal_name = ? ORDER BY id LIMIT 1',
    instanceId,
    signalName,
  )
  if (event === undefined) return null
  db.run('DELETE FROM {event} WHERE id = ?', event.id)
  return event.payload
}

/** Queues an event, as the last of its signal. */
export function queueEvent(
  db: Connection,
  instanceId: string,
  signalName: string,
  payload: Uint8Array,
): void {
  db.run(
    'INSERT INTO {event} (instance_id, signal_name, payload) VALUES (?, ?, ?)',
    instanceId,
    signalName,
    payload,
  )
}

/** Whether an event of that id was accepted before. */
export function isEventSeen(
  db: Connection,
  instanceId: string,
  signalName: string,
  eventId: string,
): boolean {
  return (
    db.get(
      'SELECT 1 FROM {event_seen} WHERE instance_id = ? AND signal_name = ? AND event_id = ?',
      instanceId,
      signalName,
      eventId,
    ) !== undefined
  )
}

/** Remembers the id of an event that is accepted. */
export function rememberEvent(
  db: Connection,
  instanceId: string,
  signalName: string,
  eventId: string,
): void {
  db.run(
    'INSERT INTO {event_seen} (instance_id, signal_name, event_id) VALUES (?, ?, ?)',
    instanceId,
    signalName,
    eventId,
  )
}
