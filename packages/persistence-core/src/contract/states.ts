import { MAX_TIME } from '../check.ts'
import type { Position } from '../position.ts'
import type { TaskRetry, WorkflowSnapshot, WorkflowState } from '../snapshot.ts'
import { bytes } from './context.ts'
import { atTask } from './fixtures.ts'

/** Each byte value once. */
export const EVERY_BYTE: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => byte)
/** An object would reorder these, or take one of them for its prototype. */
export const SHUFFLED: readonly string[] = [
  'b',
  '10',
  '__proto__',
  '2',
  'a',
  'constructor',
  '1',
  'B',
]

/** A result for each id, in that order. */
export function results(
  ids: readonly string[],
): Map<string, { taskId: string; output: Uint8Array }> {
  return new Map(ids.map((taskId) => [taskId, { taskId, output: bytes(`output of ${taskId}`) }]))
}

/** Each kind of position, with what is optional given and left out. */
const POSITIONS: readonly Position[] = [
  { kind: 'not-started' },
  { kind: 'at-task', taskId: 'a' },
  { kind: 'at-delay', delayId: 'd', enteredAt: 1, wakeAt: 2, nextTaskId: 'a' },
  { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt: MAX_TIME, nextTaskId: null },
  { kind: 'at-signal', signalId: 's', signalName: 'go', wakeAt: null, nextTaskId: 'a' },
  { kind: 'at-signal', signalId: 's', signalName: 'go', wakeAt: 3, nextTaskId: null },
  {
    kind: 'at-fork',
    forkId: 'f',
    pendingTasks: [
      { taskId: 'p' },
      {
        taskId: 'q',
        branch: 'left',
        inputTaskId: 'a',
        priority: 1,
        tags: ['gpu', 'eu'],
        availableAt: 4,
      },
    ],
    join: { taskId: 'j', priority: 5, tags: ['cpu'] },
    completedBranches: results(SHUFFLED),
    wakeAt: 5,
  },
  {
    kind: 'at-fork',
    forkId: 'f',
    pendingTasks: [],
    join: null,
    completedBranches: new Map(),
    wakeAt: null,
  },
  { kind: 'at-join', joinId: 'j', completedBranches: results(SHUFFLED) },
  { kind: 'at-join', joinId: 'j', completedBranches: new Map() },
  { kind: 'in-loop', loopId: 'l', iteration: 0, nextTaskId: 'a' },
  { kind: 'in-loop', loopId: 'l', iteration: 4_294_967_295, nextTaskId: null },
]

/** Each status, at each position where it has one, with the results in an order of their own. */
export function* everyState(): Generator<WorkflowState> {
  const completedTasks = results(SHUFFLED)
  const who = { reason: 'why \0 \u{1f600}', cancelledBy: 'me', cancelledAt: 6 }
  const nobody = { reason: null, cancelledBy: null, cancelledAt: 0 }
  yield { status: 'completed', finalOutput: EVERY_BYTE, completedTasks }
  yield { status: 'completed', finalOutput: new Uint8Array(0), completedTasks: new Map() }
  yield { status: 'failed', error: 'first line\n\tsecond', completedTasks }
  yield { status: 'failed', error: '', completedTasks: new Map() }
  yield { status: 'cancelled', ...who, interruptedAtTask: 'a', completedTasks }
  yield { status: 'cancelled', ...nobody, interruptedAtTask: null, completedTasks }
  for (const position of POSITIONS) {
    const place = { position, completedTasks, lastCompletedTaskId: 'a' }
    yield { status: 'in-progress', ...place }
    yield { status: 'paused', reason: 'r', pausedBy: 'p', pausedAt: 7, ...place }
    yield { status: 'paused', reason: null, pausedBy: null, pausedAt: 0, ...place }
    yield {
      status: 'in-progress',
      position,
      completedTasks: new Map(),
      lastCompletedTaskId: null,
    }
  }
}

/** A retry state with everything in it. */
export const RETRY: TaskRetry = {
  attempts: 3,
  lastError: 'boom',
  lastFailedWorker: 'worker-9',
  nextRetryAt: 8,
  policy: { maxRetries: 9, initialDelayMs: 10, backoffMultiplier: 1.5, maxDelayMs: null },
}

/** A snapshot in which nothing is left at its default, and every map is in an order of its own. */
export function rich(instanceId: string, state: WorkflowState): WorkflowSnapshot {
  return {
    ...atTask(instanceId, 'a', { initialInput: EVERY_BYTE, tags: ['z', 'a', '1'], priority: 2 }),
    deadline: { taskId: 'a', deadlineAt: 11, timeoutMs: 12 },
    retries: new Map(SHUFFLED.map((id, index) => [id, { ...RETRY, attempts: index + 1 }])),
    loopIterations: new Map(SHUFFLED.map((id, index) => [id, index])),
    traceParent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    state,
  }
}
