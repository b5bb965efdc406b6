import {
  checkDelay,
  checkId,
  checkIdOrNull,
  checkInteger,
  checkObject,
  checkOneOf,
  checkPayload,
  checkPriority,
  checkTags,
  checkText,
} from './check.ts'
import {
  checkDeadline,
  checkJoin,
  checkPendingFields,
  checkPendingTasks,
  checkPosition,
} from './check-snapshot.ts'
import type { NextPendingTask, NextPosition } from './position.ts'
import type { Next, TaskOutcome } from './task-claim-store.ts'

/**
 * Checks an outcome as `commitTask` takes it, and copies it.
 *
 * @throws `TypeError`, `RangeError`, `PAYLOAD_TOO_LARGE`.
 */
export function checkOutcome(value: unknown, maxPayloadBytes: number): TaskOutcome {
  const from = checkObject(value, 'outcome')
  const kind = checkOneOf(from.kind, 'outcome.kind', ['completed', 'retry', 'failed'])
  switch (kind) {
    case 'failed':
      return { kind, error: checkText(from.error, 'outcome.error') }
    case 'retry':
      return {
        kind,
        error: checkText(from.error, 'outcome.error'),
        delayMs: checkDelay(from.delayMs, 'outcome.delayMs'),
        ...(from.maxAttempts === undefined
          ? undefined
          : { maxAttempts: checkInteger(from.maxAttempts, 'outcome.maxAttempts', 1) }),
      }
    case 'completed': {
      const output = checkPayload(from.output, 'outcome.output', maxPayloadBytes)
      return { kind, output, next: checkNext(from.next, maxPayloadBytes, from.output, output) }
    }
  }
}

/**
 * @param given The output as it was given: the last one often is the final one, too.
 * @param output Its copy.
 */
function checkNext(
  value: unknown,
  maxPayloadBytes: number,
  given: unknown,
  output: Uint8Array,
): Next {
  const from = checkObject(value, 'outcome.next')
  const ways = ['position', 'branch', 'finalOutput'].filter((key) => from[key] !== undefined)
  if (ways.length !== 1) {
    throw new TypeError('outcome.next must have exactly one of position, branch and finalOutput')
  }
  if (from.finalOutput !== undefined) {
    if (from.finalOutput === given) return { finalOutput: output }
    return {
      finalOutput: checkPayload(from.finalOutput, 'outcome.next.finalOutput', maxPayloadBytes),
    }
  }
  if (from.branch !== undefined) {
    return {
      branch: from.branch === null ? null : checkNextPending(from.branch, 'outcome.next.branch'),
    }
  }
  return {
    position: checkNextPosition(from.position, maxPayloadBytes),
    ...(from.priority === undefined
      ? undefined
      : { priority: checkPriority(from.priority, 'priority') }),
    tags: checkTags(from.tags, 'tags'),
    deadline: checkDeadline(from.deadline, 'deadline'),
  }
}

function checkNextPosition(value: unknown, maxPayloadBytes: number): NextPosition {
  const from = checkObject(value, 'position')
  switch (from.kind) {
    case 'at-delay':
      return {
        kind: 'at-delay',
        delayId: checkId(from.delayId, 'position.delayId'),
        delayMs: checkDelay(from.delayMs, 'position.delayMs'),
        nextTaskId: checkIdOrNull(from.nextTaskId, 'position.nextTaskId'),
      }
    case 'at-signal': {
      const { timeoutMs } = from
      return {
        kind: 'at-signal',
        signalId: checkId(from.signalId, 'position.signalId'),
        signalName: checkId(from.signalName, 'position.signalName'),
        timeoutMs:
          timeoutMs === null || timeoutMs === undefined
            ? null
            : checkDelay(timeoutMs, 'position.timeoutMs'),
        nextTaskId: checkIdOrNull(from.nextTaskId, 'position.nextTaskId'),
      }
    }
    case 'at-fork': {
      const pendingTasks = checkPendingTasks(from.pendingTasks, checkNextPending, new Map())
      return {
        kind: 'at-fork',
        forkId: checkId(from.forkId, 'position.forkId'),
        pendingTasks,
        join: checkJoin(from.join, pendingTasks.length),
      }
    }
    default:
      return checkPosition(from, maxPayloadBytes) as NextPosition
  }
}

function checkNextPending(value: unknown, name: string): NextPendingTask {
  const from = checkObject(value, name)
  if (from.availableAt !== undefined) {
    throw new TypeError(
      `${name} takes delayMs, not availableAt: a worker's clock is not the store's`,
    )
  }
  const { delayMs } = from
  return {
    ...checkPendingFields(from, name),
    ...(delayMs === undefined ? undefined : { delayMs: checkDelay(delayMs, `${name}.delayMs`) }),
  }
}
