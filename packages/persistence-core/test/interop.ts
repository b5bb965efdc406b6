import { readdirSync, readFileSync } from 'node:fs'
import type { Position, TaskResult } from '../src/position.ts'
import type { WorkflowSnapshot, WorkflowState } from '../src/snapshot.ts'

/** A snapshot that the Rust engine wrote, and what it means. */
export interface Sample {
  readonly name: string
  readonly bytes: Uint8Array
  readonly meaning: {
    readonly snapshot: Meaning
    /** Task names by task id. */
    readonly names: Record<string, string>
  }
}

const directory = new URL('interop/', import.meta.url)

export const samples: readonly Sample[] = readdirSync(directory)
  .filter((file) => file.endsWith('.bin'))
  .map((file) => {
    const name = file.slice(0, -'.bin'.length)
    return {
      name,
      bytes: new Uint8Array(readFileSync(new URL(file, directory))),
      meaning: JSON.parse(readFileSync(new URL(`${name}.json`, directory), 'utf8')),
    }
  })

/** A value of parsed JSON, read without a check: what is not as expected shows in the comparison. */
interface Meaning {
  readonly [field: string]: Meaning
}

/** The snapshot that a meaning stands for, converted without any of the code under test. */
export function fromMeaning(from: Meaning): WorkflowSnapshot {
  return {
    instanceId: as<string>(from.instance_id),
    definitionHash: as<string>(from.definition_hash),
    revision: 0,
    createdAt: as<number>(from.created_at) * 1000,
    updatedAt: as<number>(from.updated_at) * 1000,
    initialInput: Uint8Array.from(as<number[]>(from.initial_input)),
    state: stateOf(from.state),
    priority: as<number | undefined>(from.task_priority) ?? null,
    tags: as<string[] | undefined>(from.task_tags) ?? [],
    deadline: from.task_deadline
      ? {
          taskId: as<string>(from.task_deadline.task_id),
          deadlineAt: timeOf(from.task_deadline.deadline),
          timeoutMs: as<number>(from.task_deadline.timeout_ms),
        }
      : null,
    retries: mapOf(from.task_retries, (retry) => ({
      attempts: as<number>(retry.attempts),
      lastError: as<string>(retry.last_error),
      lastFailedWorker: as<string | null>(retry.last_failed_worker),
      nextRetryAt: timeOf(retry.next_retry_at),
      policy: {
        maxRetries: as<number>(retry.policy?.max_retries),
        initialDelayMs: millisecondsOf(retry.policy?.initial_delay),
        backoffMultiplier: as<number>(retry.policy?.backoff_multiplier),
        maxDelayMs: retry.policy?.max_delay ? millisecondsOf(retry.policy.max_delay) : null,
      },
    })),
    loopIterations: mapOf(from.loop_iterations, (iteration) => as<number>(iteration)),
    traceParent: null,
  }
}

function stateOf(state: Meaning | undefined): WorkflowState {
  const [[kind, from]] = Object.entries(state ?? {}) as [[string, Meaning]]
  const completedTasks = mapOf(from.completed_tasks, resultOf)
  switch (kind) {
    case 'Completed':
      return {
        status: 'completed',
        finalOutput: Uint8Array.from(as<number[]>(from.final_output)),
        completedTasks,
      }
    case 'Failed':
      return { status: 'failed', error: as<string>(from.error), completedTasks }
    case 'Cancelled':
      return {
        status: 'cancelled',
        reason: as<string | null>(from.reason),
        cancelledBy: as<string | null>(from.cancelled_by),
        cancelledAt: timeOf(from.cancelled_at),
        interruptedAtTask: as<string | null>(from.interrupted_at_task),
        completedTasks,
      }
    default: {
      const place = {
        position: positionOf(from.position),
        completedTasks,
        lastCompletedTaskId: as<string | null>(from.last_completed_task_id),
      }
      if (kind === 'InProgress') return { status: 'in-progress', ...place }
      return {
        status: 'paused',
        reason: as<string | null>(from.reason),
        pausedBy: as<string | null>(from.paused_by),
        pausedAt: timeOf(from.paused_at),
        ...place,
      }
    }
  }
}

function positionOf(position: Meaning | undefined): Position {
  const [[kind, from]] = Object.entries(position ?? {}) as [[string, Meaning]]
  const nextTaskId = as<string | null>(from.next_task_id)
  switch (kind) {
    case 'AtTask':
      return { kind: 'at-task', taskId: as<string>(from.task_id) }
    case 'AtDelay':
      return {
        kind: 'at-delay',
        delayId: as<string>(from.delay_id),
        enteredAt: timeOf(from.entered_at),
        wakeAt: timeOf(from.wake_at),
        nextTaskId,
      }
    case 'AtSignal':
      return {
        kind: 'at-signal',
        signalId: as<string>(from.signal_id),
        signalName: as<string>(from.signal_name),
        wakeAt: from.wake_at === null ? null : timeOf(from.wake_at),
        nextTaskId,
      }
    default:
      return {
        kind: 'in-loop',
        loopId: as<string>(from.loop_id),
        iteration: as<number>(from.iteration),
        nextTaskId,
      }
  }
}

function resultOf(from: Meaning): TaskResult {
  return { taskId: as<string>(from.task_id), output: Uint8Array.from(as<number[]>(from.output)) }
}

function mapOf<T>(from: Meaning | undefined, read: (value: Meaning) => T): Map<string, T> {
  return new Map(Object.entries(from ?? {}).map(([key, value]) => [key, read(value)]))
}

/** Whole milliseconds, as a date has them: further digits are cut off. */
function timeOf(instant: Meaning | undefined): number {
  return new Date(as<string>(instant)).getTime()
}

function millisecondsOf(duration: Meaning | undefined): number {
  return as<number>(duration?.secs) * 1000 + as<number>(duration?.nanos) / 1e6
}

function as<T>(value: Meaning | undefined): T {
  return value as unknown as T
}
