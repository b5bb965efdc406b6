import { MAX_TIME } from './check.ts'
import {
  type Field,
  MAX_U32,
  orElse,
  orNull,
  readBytes,
  readCount,
  readFlag,
  readId,
  readInstant,
  readInteger,
  readMap,
  readNumber,
  readObject,
  readPriority,
  readResult,
  readTags,
  readText,
  readU32,
  readVariant,
  unknownVariant,
} from './envelope-fields.ts'
import { readPosition } from './envelope-position-reader.ts'
import type { JsonObject, JsonValue } from './json.ts'
import type {
  CompletedTasks,
  RetryPolicy,
  TaskDeadline,
  TaskRetry,
  WorkflowSnapshot,
  WorkflowState,
} from './snapshot.ts'

/** The snapshot in an envelope's JSON. Throws `TypeError` or `RangeError`, naming the place. */
export function readSnapshot(json: JsonValue): WorkflowSnapshot {
  const from = readObject(json, 'the JSON')
  return {
    instanceId: readId(from.get('instance_id'), 'instance_id'),
    definitionHash: readId(from.get('definition_hash'), 'definition_hash'),
    revision: orElse(from.get('revision'), 'revision', readCount, 0),
    createdAt: readTime(from, 'created_at'),
    updatedAt: readTime(from, 'updated_at'),
    initialInput: orNull(from.get('initial_input'), 'initial_input', readBytes),
    state: readState(from.get('state'), 'state'),
    priority: orNull(from.get('task_priority'), 'task_priority', readPriority),
    tags: orElse(from.get('task_tags'), 'task_tags', readTags, []),
    deadline: orNull(from.get('task_deadline'), 'task_deadline', readDeadline),
    retries: orElse(from.get('task_retries'), 'task_retries', readRetries, new Map()),
    loopIterations: orElse(
      from.get('loop_iterations'),
      'loop_iterations',
      readLoopIterations,
      new Map(),
    ),
    traceParent: orNull(from.get('trace_parent'), 'trace_parent', readText),
  }
}

/**
 * A time of the snapshot: whole seconds, which a field of ours refines to milliseconds. Where the
 * two disagree, someone who does not know ours has changed the seconds.
 */
function readTime(from: JsonObject, name: string): number {
  const seconds = readInteger(from.get(name), name, 0, MAX_TIME / 1000)
  const refined = from.get(`${name}_ms`)
  const at =
    refined === undefined ? seconds * 1000 : readInteger(refined, `${name}_ms`, 0, MAX_TIME)
  return Math.floor(at / 1000) === seconds ? at : seconds * 1000
}

function readState(value: Field, path: string): WorkflowState {
  const [name, content] = readVariant(value, path)
  const at = `${path}.${name}`
  const fields = (): JsonObject => readObject(content, at)
  switch (name) {
    case 'InProgress':
      return { status: 'in-progress', ...readPlace(fields(), at) }
    case 'Completed':
      return {
        status: 'completed',
        finalOutput: readBytes(fields().get('final_output'), `${at}.final_output`),
        completedTasks: readKeptTasks(fields(), at),
      }
    case 'Failed':
      return {
        status: 'failed',
        error: readText(fields().get('error'), `${at}.error`),
        completedTasks: readKeptTasks(fields(), at),
      }
    case 'Cancelled':
      return {
        status: 'cancelled',
        reason: orNull(fields().get('reason'), `${at}.reason`, readText),
        cancelledBy: orNull(fields().get('cancelled_by'), `${at}.cancelled_by`, readText),
        cancelledAt: readInstant(fields().get('cancelled_at'), `${at}.cancelled_at`),
        interruptedAtTask: orNull(
          fields().get('interrupted_at_task'),
          `${at}.interrupted_at_task`,
          readId,
        ),
        completedTasks: readCompletedTasks(
          fields().get('completed_tasks'),
          `${at}.completed_tasks`,
        ),
      }
    case 'Paused':
      return {
        status: 'paused',
        reason: orNull(fields().get('reason'), `${at}.reason`, readText),
        pausedBy: orNull(fields().get('paused_by'), `${at}.paused_by`, readText),
        pausedAt: readInstant(fields().get('paused_at'), `${at}.paused_at`),
        ...readPlace(fields(), at),
      }
    default:
      throw unknownVariant(path, name)
  }
}

/** What the states that go on have in common. */
function readPlace(
  from: JsonObject,
  path: string,
): Omit<Extract<WorkflowState, { status: 'in-progress' }>, 'status'> {
  return {
    position: readPosition(from.get('position'), `${path}.position`),
    completedTasks: readCompletedTasks(from.get('completed_tasks'), `${path}.completed_tasks`),
    lastCompletedTaskId: orNull(
      from.get('last_completed_task_id'),
      `${path}.last_completed_task_id`,
      readId,
    ),
  }
}

/** The results of an instance that has completed or failed, which the Rust engine drops. */
function readKeptTasks(from: JsonObject, path: string): CompletedTasks {
  return orElse(
    from.get('completed_tasks'),
    `${path}.completed_tasks`,
    readCompletedTasks,
    new Map(),
  )
}

function readCompletedTasks(value: Field, path: string): CompletedTasks {
  return readMap(value, path, (entry, place, key) => {
    const result = readResult(entry, place)
    if (result.taskId !== key)
      throw new TypeError(`${place}.task_id must be the key that it is under`)
    return result
  })
}

function readDeadline(value: Field, path: string): TaskDeadline {
  const from = readObject(value, path)
  return {
    taskId: readId(from.get('task_id'), `${path}.task_id`),
    deadlineAt: readInstant(from.get('deadline'), `${path}.deadline`),
    timeoutMs: Math.min(readCount(from.get('timeout_ms'), `${path}.timeout_ms`), MAX_TIME),
  }
}

function readRetries(value: Field, path: string): ReadonlyMap<string, TaskRetry> {
  return readMap(value, path, readRetry)
}

function readRetry(value: Field, path: string): TaskRetry {
  const from = readObject(value, path)
  const policy = readPolicy(from.get('policy'), `${path}.policy`)
  return {
    attempts: readInteger(from.get('attempts'), `${path}.attempts`, 1, MAX_U32),
    lastError: readText(from.get('last_error'), `${path}.last_error`),
    lastFailedWorker: orNull(from.get('last_failed_worker'), `${path}.last_failed_worker`, readId),
    nextRetryAt: readInstant(from.get('next_retry_at'), `${path}.next_retry_at`),
    ...(readFlag(from.get('no_policy'), `${path}.no_policy`) ? undefined : { policy }),
  }
}

function readPolicy(value: Field, path: string): RetryPolicy {
  const from = readObject(value, path)
  return {
    maxRetries: readU32(from.get('max_retries'), `${path}.max_retries`),
    initialDelayMs: readDuration(from.get('initial_delay'), `${path}.initial_delay`),
    backoffMultiplier: readNumber(from.get('backoff_multiplier'), `${path}.backoff_multiplier`),
    maxDelayMs: orNull(from.get('max_delay'), `${path}.max_delay`, readDuration),
  }
}

/** A Rust duration in whole milliseconds, rounded up and bounded as every duration is. */
function readDuration(value: Field, path: string): number {
  const from = readObject(value, path)
  const seconds = readCount(from.get('secs'), `${path}.secs`)
  const nanos = readInteger(from.get('nanos'), `${path}.nanos`, 0, 999_999_999)
  return Math.min(seconds * 1000 + Math.ceil(nanos / 1_000_000), MAX_TIME)
}

function readLoopIterations(value: Field, path: string): ReadonlyMap<string, number> {
  return readMap(value, path, readU32)
}
