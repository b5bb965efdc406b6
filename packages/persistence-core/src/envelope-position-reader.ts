import { checkJoin, checkPendingTasks } from './check-snapshot.ts'
import {
  type Field,
  orElse,
  orNull,
  readArray,
  readFlag,
  readId,
  readInstant,
  readMap,
  readObject,
  readPriority,
  readResult,
  readTags,
  readU32,
  readVariant,
  unknownVariant,
} from './envelope-fields.ts'
import type { JsonObject } from './json.ts'
import type { JoinTask, PendingTask, Position } from './position.ts'

/** The position at `path` of an envelope's JSON. */
export function readPosition(value: Field, path: string): Position {
  const [name, content] = readVariant(value, path)
  const at = `${path}.${name}`
  const fields = (): JsonObject => readObject(content, at)
  switch (name) {
    case 'NotStarted':
      return { kind: 'not-started' }
    case 'AtTask':
      return { kind: 'at-task', taskId: readId(fields().get('task_id'), `${at}.task_id`) }
    case 'AtDelay':
      return readDelay(fields(), at)
    case 'AtSignal':
      return readSignal(fields(), at)
    case 'AtFork':
      return readFork(fields(), at)
    case 'AtJoin':
      return {
        kind: 'at-join',
        joinId: readId(fields().get('join_id'), `${at}.join_id`),
        completedBranches: readMap(
          fields().get('completed_branches'),
          `${at}.completed_branches`,
          readResult,
        ),
      }
    case 'InLoop':
      return {
        kind: 'in-loop',
        loopId: readId(fields().get('loop_id'), `${at}.loop_id`),
        iteration: readU32(fields().get('iteration'), `${at}.iteration`),
        nextTaskId: orNull(fields().get('next_task_id'), `${at}.next_task_id`, readId),
      }
    default:
      throw unknownVariant(path, name)
  }
}

function readDelay(from: JsonObject, path: string): Position {
  return {
    kind: 'at-delay',
    delayId: readId(from.get('delay_id'), `${path}.delay_id`),
    enteredAt: readInstant(from.get('entered_at'), `${path}.entered_at`),
    wakeAt: readInstant(from.get('wake_at'), `${path}.wake_at`),
    nextTaskId: orNull(from.get('next_task_id'), `${path}.next_task_id`, readId),
  }
}

function readSignal(from: JsonObject, path: string): Position {
  return {
    kind: 'at-signal',
    signalId: readId(from.get('signal_id'), `${path}.signal_id`),
    signalName: readId(from.get('signal_name'), `${path}.signal_name`),
    wakeAt: orNull(from.get('wake_at'), `${path}.wake_at`, readInstant),
    nextTaskId: orNull(from.get('next_task_id'), `${path}.next_task_id`, readId),
  }
}

function readFork(from: JsonObject, path: string): Position {
  const completedBranches = readMap(
    from.get('completed_branches'),
    `${path}.completed_branches`,
    readResult,
  )
  const pending = orElse(from.get('pending_tasks'), `${path}.pending_tasks`, readPendingTasks, [])
  const join = orNull(from.get('join'), `${path}.join`, readJoin)
  const wakeAt = readInstant(from.get('wake_at'), `${path}.wake_at`)
  return {
    kind: 'at-fork',
    forkId: readId(from.get('fork_id'), `${path}.fork_id`),
    pendingTasks: checkPendingTasks(pending, (task) => task as PendingTask, completedBranches),
    join: checkJoin(join, pending.length),
    completedBranches,
    wakeAt: readFlag(from.get('no_wake_at'), `${path}.no_wake_at`) ? null : wakeAt,
  }
}

function readPendingTasks(value: Field, path: string): readonly PendingTask[] {
  return Array.from(readArray(value, path), (task, index) =>
    readPendingTask(task, `${path}[${index}]`),
  )
}

function readPendingTask(value: Field, path: string): PendingTask {
  const from = readObject(value, path)
  const branch = from.get('branch')
  const inputTaskId = from.get('input_task_id')
  const availableAt = from.get('available_at')
  return {
    ...readJoin(from, path),
    ...(branch === undefined ? undefined : { branch: readId(branch, `${path}.branch`) }),
    ...(inputTaskId === undefined
      ? undefined
      : { inputTaskId: readId(inputTaskId, `${path}.input_task_id`) }),
    ...(availableAt === undefined
      ? undefined
      : { availableAt: readInstant(availableAt, `${path}.available_at`) }),
  }
}

/** A join, which has what every task to run has. */
function readJoin(value: Field, path: string): JoinTask {
  const from = readObject(value, path)
  const priority = from.get('priority')
  const tags = from.get('tags')
  return {
    taskId: readId(from.get('task_id'), `${path}.task_id`),
    ...(priority === undefined
      ? undefined
      : { priority: readPriority(priority, `${path}.priority`) }),
    ...(tags === undefined ? undefined : { tags: readTags(tags, `${path}.tags`) }),
  }
}
