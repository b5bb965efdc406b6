import { DEFAULT_PRIORITY } from '../check.ts'
import type { DispatchEntry } from '../dispatch.ts'

/** The entry of a task that is its instance's only one and may run at once. */
export function plainEntry(
  taskId: string,
  priority: number | null,
  tags: readonly string[],
  availableSince: number,
  inputTaskId: string | null,
): DispatchEntry {
  return {
    taskId,
    priority: priority ?? DEFAULT_PRIORITY,
    tags,
    attempt: 1,
    lastFailedWorker: null,
    availableSince,
    inputTaskId,
    deliveries: 0,
    timer: false,
    claim: null,
  }
}
