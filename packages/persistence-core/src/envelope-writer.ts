import { checkSnapshot } from './check-snapshot.ts'
import { MAX_U32 } from './envelope-fields.ts'
import { EnvelopeOutput } from './envelope-output.ts'
import { formatInstant } from './instant.ts'
import type { JoinTask, PendingTask, Position, TaskResult } from './position.ts'
import type {
  CompletedTasks,
  RetryPolicy,
  TaskRetry,
  WorkflowSnapshot,
  WorkflowState,
} from './snapshot.ts'

/**
 * The envelope of a snapshot, after `header`. The fields of the Rust form come in its own order;
 * ours follow, and are left out at their defaults, so that what came from there goes back the same.
 * Throws `TypeError` or `RangeError` for a snapshot that is malformed or does not fit the form.
 */
export function writeSnapshot(given: WorkflowSnapshot, header: Uint8Array): Uint8Array {
  const snapshot = checkSnapshot(given, Number.POSITIVE_INFINITY)
  const { initialInput, deadline, retries, loopIterations, priority, tags } = snapshot
  const out = new EnvelopeOutput(header)
  out.text(
    `{"instance_id":${json(snapshot.instanceId)},"definition_hash":${json(snapshot.definitionHash)},"state":`,
  )
  writeState(out, snapshot.state)
  out.text(
    `,"created_at":${seconds(snapshot.createdAt)},"updated_at":${seconds(snapshot.updatedAt)}`,
  )
  if (initialInput !== null) {
    out.text(',"initial_input":')
    out.bytes(initialInput)
  }
  if (deadline !== null) {
    const at = instant(deadline.deadlineAt, 'deadline.deadlineAt')
    out.text(
      `,"task_deadline":{"task_id":${json(deadline.taskId)},"deadline":${at},"timeout_ms":${deadline.timeoutMs}}`,
    )
  }
  if (retries.size > 0) {
    out.text(',"task_retries":')
    out.map(retries, (retry) => out.text(retryJson(retry)))
  }
  if (loopIterations.size > 0) {
    out.text(',"loop_iterations":')
    out.map(loopIterations, (iteration) => out.text(u32(iteration, 'loopIterations')))
  }
  out.text(
    optional('task_priority', priority) + optional('task_tags', tags.length === 0 ? null : tags),
  )
  out.text(optional('revision', snapshot.revision === 0 ? null : snapshot.revision))
  out.text(optional('created_at_ms', milliseconds(snapshot.createdAt)))
  out.text(optional('updated_at_ms', milliseconds(snapshot.updatedAt)))
  out.text(`${optional('trace_parent', snapshot.traceParent)}}`)
  return out.finish()
}

function writeState(out: EnvelopeOutput, state: WorkflowState): void {
  switch (state.status) {
    case 'in-progress':
      out.text('{"InProgress":{"position":')
      writePosition(out, state.position)
      writeCompletedTasks(out, state.completedTasks)
      out.text(`,"last_completed_task_id":${json(state.lastCompletedTaskId)}}}`)
      return
    case 'completed':
      out.text('{"Completed":{"final_output":')
      out.bytes(state.finalOutput)
      if (state.completedTasks.size > 0) writeCompletedTasks(out, state.completedTasks)
      out.text('}}')
      return
    case 'failed':
      out.text(`{"Failed":{"error":${json(state.error)}`)
      if (state.completedTasks.size > 0) writeCompletedTasks(out, state.completedTasks)
      out.text('}}')
      return
    case 'cancelled':
      out.text(
        `{"Cancelled":{"reason":${json(state.reason)},"cancelled_by":${json(state.cancelledBy)}`,
      )
      out.text(`,"cancelled_at":${instant(state.cancelledAt, 'state.cancelledAt')}`)
      writeCompletedTasks(out, state.completedTasks)
      out.text(`,"interrupted_at_task":${json(state.interruptedAtTask)}}}`)
      return
    case 'paused':
      out.text(`{"Paused":{"reason":${json(state.reason)},"paused_by":${json(state.pausedBy)}`)
      out.text(`,"paused_at":${instant(state.pausedAt, 'state.pausedAt')}`)
      writeCompletedTasks(out, state.completedTasks)
      out.text(',"position":')
      writePosition(out, state.position)
      out.text(`,"last_completed_task_id":${json(state.lastCompletedTaskId)}}}`)
  }
}

function writeCompletedTasks(out: EnvelopeOutput, completedTasks: CompletedTasks): void {
  out.text(',"completed_tasks":')
  out.map(completedTasks, (result) => writeResult(out, result))
}

function writeResult(out: EnvelopeOutput, result: TaskResult): void {
  out.text(`{"task_id":${json(result.taskId)},"output":`)
  out.bytes(result.output)
  out.text('}')
}

function writePosition(out: EnvelopeOutput, position: Position): void {
  switch (position.kind) {
    case 'not-started':
      out.text('"NotStarted"')
      return
    case 'at-task':
      out.text(`{"AtTask":{"task_id":${json(position.taskId)}}}`)
      return
    case 'at-delay': {
      const enteredAt = instant(position.enteredAt, 'position.enteredAt')
      const wakeAt = instant(position.wakeAt, 'position.wakeAt')
      out.text(
        `{"AtDelay":{"delay_id":${json(position.delayId)},"entered_at":${enteredAt},"wake_at":${wakeAt}`,
      )
      out.text(`,"next_task_id":${json(position.nextTaskId)}}}`)
      return
    }
    case 'at-signal': {
      const wakeAt = position.wakeAt === null ? 'null' : instant(position.wakeAt, 'position.wakeAt')
      out.text(
        `{"AtSignal":{"signal_id":${json(position.signalId)},"signal_name":${json(position.signalName)}`,
      )
      out.text(`,"wake_at":${wakeAt},"next_task_id":${json(position.nextTaskId)}}}`)
      return
    }
    case 'at-fork': {
      out.text(`{"AtFork":{"fork_id":${json(position.forkId)},"completed_branches":`)
      out.map(position.completedBranches, (result) => writeResult(out, result))
      // Rust's fork always wakes. 1970 makes its engine look at the fork at once.
      out.text(`,"wake_at":${instant(position.wakeAt ?? 0, 'position.wakeAt')}`)
      if (position.pendingTasks.length > 0)
        out.text(`,"pending_tasks":[${position.pendingTasks.map(pendingTaskJson)}]`)
      if (position.join !== null) out.text(`,"join":{${taskFields(position.join)}}`)
      out.text(position.wakeAt === null ? ',"no_wake_at":true}}' : '}}')
      return
    }
    case 'at-join':
      out.text(`{"AtJoin":{"join_id":${json(position.joinId)},"completed_branches":`)
      out.map(position.completedBranches, (result) => writeResult(out, result))
      out.text('}}')
      return
    case 'in-loop': {
      const iteration = u32(position.iteration, 'position.iteration')
      out.text(`{"InLoop":{"loop_id":${json(position.loopId)},"iteration":${iteration}`)
      out.text(`,"next_task_id":${json(position.nextTaskId)}}}`)
    }
  }
}

function pendingTaskJson(task: PendingTask): string {
  const availableAt =
    task.availableAt === undefined
      ? ''
      : `,"available_at":${instant(task.availableAt, 'position.pendingTasks.availableAt')}`
  return `{${taskFields(task)}${optional('branch', task.branch)}${optional('input_task_id', task.inputTaskId)}${availableAt}}`
}

function taskFields(task: JoinTask): string {
  return `"task_id":${json(task.taskId)}${optional('priority', task.priority)}${optional('tags', task.tags)}`
}

function retryJson(retry: TaskRetry): string {
  const attempts = u32(retry.attempts, 'retries.attempts')
  const nextRetryAt = instant(retry.nextRetryAt, 'retries.nextRetryAt')
  return (
    `{"attempts":${attempts},"policy":${policyJson(retry.policy ?? ENDLESS)},"last_error":${json(retry.lastError)}` +
    `,"last_failed_worker":${json(retry.lastFailedWorker)},"next_retry_at":${nextRetryAt}` +
    `${retry.policy === undefined ? ',"no_policy":true' : ''}}`
  )
}

/**
 * Stands for no policy, because Rust's form requires one: it ends an instance by the policy it finds
 * here, and takes the task's own with the next failure.
 */
const ENDLESS: RetryPolicy = {
  maxRetries: MAX_U32,
  initialDelayMs: 0,
  backoffMultiplier: 1,
  maxDelayMs: null,
}

function policyJson(policy: RetryPolicy): string {
  const { backoffMultiplier, maxDelayMs } = policy
  // As serde writes a float; reading takes either.
  const multiplier = Number.isSafeInteger(backoffMultiplier)
    ? `${backoffMultiplier}.0`
    : json(backoffMultiplier)
  return (
    `{"max_retries":${u32(policy.maxRetries, 'retries.policy.maxRetries')}` +
    `,"initial_delay":${duration(policy.initialDelayMs)},"backoff_multiplier":${multiplier}` +
    `,"max_delay":${maxDelayMs === null ? 'null' : duration(maxDelayMs)}}`
  )
}

function duration(ms: number): string {
  return `{"secs":${seconds(ms)},"nanos":${(ms % 1000) * 1_000_000}}`
}

function json(value: string | number | readonly string[] | null): string {
  return JSON.stringify(value)
}

/** A field of ours, or one that Rust leaves out too: nothing where there is nothing. */
function optional(
  name: string,
  value: string | number | readonly string[] | null | undefined,
): string {
  return value === null || value === undefined ? '' : `,"${name}":${json(value)}`
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000)
}

/** The time for a field of ours, unless the seconds say it all. */
function milliseconds(at: number): number | null {
  return at % 1000 === 0 ? null : at
}

function instant(at: number, name: string): string {
  return `"${formatInstant(at, name)}"`
}

function u32(value: number, name: string): string {
  if (value > MAX_U32) throw new RangeError(`${name} must be at most ${MAX_U32}, got ${value}`)
  return String(value)
}
