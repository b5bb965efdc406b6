import type { Connection } from './database.ts'

/** Tables with rows of an instance. */
export type InstanceTable =
  | 'payload'
  | 'result'
  | 'task'
  | 'commit_record'
  | 'signal'
  | 'event'
  | 'event_seen'

/** What an instance that ends keeps no longer; its results and the records of its commits stay. */
export const LOST_AT_THE_END: readonly InstanceTable[] = ['task', 'signal', 'event', 'event_seen']

const ALL: readonly InstanceTable[] = [...LOST_AT_THE_END, 'payload', 'result', 'commit_record']

/** Deletes an instance's rows of these tables. */
export function deleteRows(
  db: Connection,
  instanceId: string,
  tables: readonly InstanceTable[],
): void {
  for (const table of tables) db.run(`DELETE FROM {${table}} WHERE instance_id = ?`, instanceId)
}

/** Deletes everything of an instance; whether it was there. */
export function deleteInstance(db: Connection, instanceId: string): boolean {
  if (db.run('DELETE FROM {instance} WHERE id = ?', instanceId) === 0) return false
  deleteRows(db, instanceId, ALL)
  return true
}
