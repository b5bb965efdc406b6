import type { StoredInstance } from './store.ts'

/** Whether its tasks are handed out: in progress, and no control signal pending (rule G1). */
export function isOpen({ head, cancel, pause }: StoredInstance): boolean {
  return head.state.status === 'in-progress' && cancel === null && pause === null
}
