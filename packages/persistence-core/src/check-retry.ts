import {
  checkDelay,
  checkIdOrNull,
  checkInteger,
  checkObject,
  checkText,
  checkTime,
} from './check.ts'
import type { RetryPolicy, TaskRetry } from './snapshot.ts'

/** Checks what a snapshot says of a task that is tried again, and copies it. */
export function checkRetry(value: unknown): TaskRetry {
  const from = checkObject(value, 'retries value')
  return {
    attempts: checkInteger(from.attempts, 'retries.attempts', 1),
    lastError: checkText(from.lastError, 'retries.lastError'),
    lastFailedWorker: checkIdOrNull(from.lastFailedWorker, 'retries.lastFailedWorker'),
    nextRetryAt: checkTime(from.nextRetryAt, 'retries.nextRetryAt'),
    ...(from.policy === undefined ? undefined : { policy: checkPolicy(from.policy) }),
  }
}

function checkPolicy(value: unknown): RetryPolicy {
  const from = checkObject(value, 'retries.policy')
  const { backoffMultiplier, maxDelayMs } = from
  if (
    typeof backoffMultiplier !== 'number' ||
    !Number.isFinite(backoffMultiplier) ||
    backoffMultiplier < 0
  ) {
    throw new RangeError('retries.policy.backoffMultiplier must be a finite number, 0 or more')
  }
  return {
    maxRetries: checkInteger(from.maxRetries, 'retries.policy.maxRetries', 0),
    initialDelayMs: checkDelay(from.initialDelayMs, 'retries.policy.initialDelayMs'),
    backoffMultiplier,
    maxDelayMs:
      maxDelayMs === null || maxDelayMs === undefined
        ? null
        : checkDelay(maxDelayMs, 'retries.policy.maxDelayMs'),
  }
}
