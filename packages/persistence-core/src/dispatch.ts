import { timerOf } from './advance.ts'
import { DEFAULT_PRIORITY, later } from './check.ts'
import type { Position } from './position.ts'
import { type AnySnapshot, type InstanceStatus, positionOf } from './snapshot.ts'
import type { AvailableTask, TaskClaim, TaskClaimRef, WorkerFilter } from './task-claim-store.ts'
import { openState } from './transitions.ts'

/** A task that the position lets run, now or once it is due. */
export interface RunnableTask {
  readonly taskId: string
  /** 1 (most urgent) to 5. */
  readonly priority: number
  readonly tags: readonly string[]
  /** Epoch milliseconds before which it is not due; null: due at once. */
  readonly dueAt: number | null
  /** 1 for the first run. */
  readonly attempt: number
  /** For this worker it comes after all other work (rule D4). */
  readonly lastFailedWorker: string | null
}

/**
 * What the position says may run, and nothing else; what runs after a delay or signal is due when
 * that is over. Whether a task completed before makes no difference. The same for a paused
 * instance, whose tasks are not handed out but whose claims stay.
 */
export function runnableTasks(snapshot: AnySnapshot): RunnableTask[] {
  const position = positionOf(snapshot)
  switch (position?.kind) {
    case 'at-task':
      return [current(snapshot, position.taskId, null)]
    case 'at-join':
      return [current(snapshot, position.joinId, null)]
    case 'in-loop':
      return position.nextTaskId === null ? [] : [current(snapshot, position.nextTaskId, null)]
    case 'at-delay':
    case 'at-signal':
      return position.nextTaskId === null || position.wakeAt === null
        ? []
        : [current(snapshot, position.nextTaskId, position.wakeAt)]
    case 'at-fork':
      return position.pendingTasks.map((task) =>
        runnable(
          snapshot,
          task.taskId,
          task.priority ?? null,
          task.tags ?? [],
          task.availableAt ?? null,
        ),
      )
    default:
      return []
  }
}

function current(snapshot: AnySnapshot, taskId: string, dueAt: number | null): RunnableTask {
  return runnable(snapshot, taskId, snapshot.priority, snapshot.tags, dueAt)
}

function runnable(
  snapshot: AnySnapshot,
  taskId: string,
  priority: number | null,
  tags: readonly string[],
  dueAt: number | null,
): RunnableTask {
  const retry = snapshot.retries.get(taskId)
  return {
    taskId,
    priority: priority ?? DEFAULT_PRIORITY,
    tags,
    dueAt: retry === undefined ? dueAt : Math.max(dueAt ?? 0, retry.nextRetryAt),
    attempt: (retry?.attempts ?? 0) + 1,
    lastFailedWorker: retry?.lastFailedWorker ?? null,
  }
}

/** The task id of an entry that only completes the workflow when its time comes. No task has it: ids are not empty. */
export const TIMER_TASK_ID = ''

/** A claim as it stands in a dispatch entry. */
export type HeldClaim = Pick<TaskClaim, 'workerId' | 'token' | 'claimedAt' | 'expiresAt'>

/**
 * What a store keeps beside the head for each runnable task, and for a timer that has no task
 * ({@link TIMER_TASK_ID}): the place in the queue, and the claim.
 */
export interface DispatchEntry extends Omit<RunnableTask, 'dueAt'> {
  /** When it became due, or will: epoch milliseconds. Never changed by claims. */
  readonly availableSince: number
  /** Whose output is its input; null: the initial input. For a join, whose inputs are branches, null too. */
  readonly inputTaskId: string | null
  /** Claims since it became runnable here. */
  readonly deliveries: number
  /** Whether the position is a delay or signal that must be advanced first. */
  readonly timer: boolean
  /** The last claim that was not given up; expired or not. */
  readonly claim: HeldClaim | null
}

/** What stood before a change. */
export interface DispatchBefore {
  readonly snapshot: AnySnapshot
  readonly entries: readonly DispatchEntry[]
}

/** What kind of change it was. */
export interface PlanOptions {
  /** The task that was committed as completed: it starts anew even if it is runnable again. */
  readonly completed?: string
  /** The task that was committed for a retry: it gives its claim up and waits from when it is due. */
  readonly retried?: string
  /** Waiting counts from now (rule D2). */
  readonly unpaused?: boolean
}

/**
 * The dispatch entries of a changed instance. A task that stays runnable keeps its place in the
 * queue, its deliveries and its claim; one that is no longer runnable loses them (rule C4).
 *
 * @param at Epoch milliseconds by the store's clock.
 */
export function planDispatch(
  before: DispatchBefore | null,
  after: AnySnapshot,
  at: number,
  options: PlanOptions = {},
): DispatchEntry[] {
  const position = positionOf(after)
  if (position === null) return []
  const timer = position.kind === 'at-delay' || position.kind === 'at-signal'
  const from = before === null ? null : positionOf(before.snapshot)
  const kept = new Map<string, DispatchEntry>()
  for (const entry of before?.entries ?? []) {
    if (keepsEntry(entry, after, options)) kept.set(entry.taskId, entry)
  }
  return dispatchable(after, position).map(({ dueAt, ...task }): DispatchEntry => {
    const old = kept.get(task.taskId)
    const stays = old !== undefined && from !== null && isSamePlace(from, position)
    const retried = options.retried === task.taskId
    const since =
      old === undefined || retried ? Math.max(dueAt ?? 0, at) : sinceOf(old, dueAt ?? 0, at)
    return {
      ...task,
      availableSince: options.unpaused === true ? Math.max(since, at) : since,
      inputTaskId: inputOf(after, position, task.taskId, stays ? old : undefined),
      deliveries: old?.deliveries ?? 0,
      timer,
      claim: retried ? null : (old?.claim ?? null),
    }
  })
}

/** Whether an entry goes on, claim and all, where its task is runnable after a change; else it starts anew. */
export function keepsEntry(
  entry: DispatchEntry,
  after: AnySnapshot,
  options: PlanOptions = {},
): boolean {
  const position = positionOf(after)
  // A task that a delay or signal now stands before is not runnable until that is over.
  const timer = position?.kind === 'at-delay' || position?.kind === 'at-signal'
  return entry.taskId !== options.completed && (!timer || entry.timer)
}

function dispatchable(snapshot: AnySnapshot, position: Position): readonly RunnableTask[] {
  const completesAt =
    'nextTaskId' in position && position.nextTaskId === null ? timerOf(snapshot) : null
  return completesAt === null
    ? runnableTasks(snapshot)
    : [current(snapshot, TIMER_TASK_ID, completesAt)]
}

/** A task that was queued already keeps its place unless it was, or is now, put off. */
function sinceOf(old: DispatchEntry, dueAt: number, at: number): number {
  return dueAt > at ? dueAt : Math.min(old.availableSince, at)
}

/** Whether a task that is runnable at both has not moved on in between. */
function isSamePlace(before: Position, after: Position): boolean {
  switch (after.kind) {
    case 'at-fork':
      return before.kind === 'at-fork' && before.forkId === after.forkId
    case 'in-loop':
      return (
        before.kind === 'in-loop' &&
        before.loopId === after.loopId &&
        before.iteration === after.iteration
      )
    case 'at-delay':
      return before.kind === 'at-delay' && before.delayId === after.delayId
    case 'at-task':
      // A delay that is over leads to its task with the input that it had.
      return before.kind === 'at-task' || before.kind === 'at-delay'
    default:
      return before.kind === after.kind
  }
}

/**
 * Whose output is the task's input. Decided when the position is reached, not when the task is
 * claimed: by then a sister branch, or the task itself, may be the last that completed.
 */
function inputOf(
  snapshot: AnySnapshot,
  position: Position,
  taskId: string,
  old: DispatchEntry | undefined,
): string | null {
  if (position.kind === 'at-join') return null
  if (position.kind === 'at-signal') return position.signalId
  if (position.kind === 'at-fork') {
    const given = position.pendingTasks.find((task) => task.taskId === taskId)?.inputTaskId
    if (given !== undefined) return given
  }
  return old === undefined ? openState(snapshot).lastCompletedTaskId : old.inputTaskId
}

/** Whether a claim has not expired: it does when the clock reaches `expiresAt` (rule C2). */
export function isLive(claim: HeldClaim | null, at: number): claim is HeldClaim {
  return claim !== null && (claim.expiresAt === null || claim.expiresAt > at)
}

/** Whether `ref` names the claim that holds this task, live or expired (rule C4). */
export function isHeldBy(entry: DispatchEntry | undefined, ref: TaskClaimRef): boolean {
  const claim = entry?.claim
  return (
    claim != null &&
    claim.workerId === ref.workerId &&
    (ref.token === undefined || claim.token === ref.token)
  )
}

/** Whether a task is due and nobody's, in an instance that hands tasks out. A timer's position must still be advanced. */
export function isFree(entry: DispatchEntry, at: number): boolean {
  return entry.availableSince <= at && !isLive(entry.claim, at)
}

/** How a claim is made to last longer. */
export interface Prolongation {
  /** `extend`: from its expiry, or from now if that has passed; `renew`: from now. */
  readonly kind: 'extend' | 'renew'
  /** Milliseconds. */
  readonly ms: number
}

/** When a claim expires that is made to last longer; one that never expires stays so. */
export function prolonged(
  expiresAt: number | null,
  { kind, ms }: Prolongation,
  at: number,
): number | null {
  if (expiresAt === null) return null
  return later(kind === 'extend' ? Math.max(expiresAt, at) : at, ms)
}

/** The entry, claimed. */
export function claimEntry(entry: DispatchEntry, claim: HeldClaim): DispatchEntry {
  return { ...entry, deliveries: entry.deliveries + 1, claim }
}

/**
 * The rank of a task: smaller is sooner. One number that never changes with time, because every
 * waiting task gains a level of priority in the same interval (rule D2).
 */
export function orderKey(
  task: Pick<DispatchEntry, 'availableSince' | 'priority'>,
  agingIntervalMs: number,
): number {
  return task.availableSince + task.priority * agingIntervalMs
}

/** Whether a worker with this filter takes a task of this definition and with these tags (rule D3). */
export function isServed(
  filter: WorkerFilter,
  definitionHash: string,
  tags: readonly string[],
): boolean {
  return (
    (filter.definitionHashes === undefined || filter.definitionHashes.includes(definitionHash)) &&
    (filter.tags === undefined || tags.every((tag) => filter.tags?.includes(tag)))
  )
}

/** The task as a worker gets it. */
export function toAvailableTask(
  snapshot: AnySnapshot,
  entry: DispatchEntry,
  input: Uint8Array,
): AvailableTask {
  const position = positionOf(snapshot)
  const { taskId, priority, tags, attempt, deliveries, availableSince } = entry
  return {
    instanceId: snapshot.instanceId,
    taskId,
    definitionHash: snapshot.definitionHash,
    input,
    branches: position?.kind === 'at-join' ? position.completedBranches : new Map(),
    priority,
    tags,
    attempt,
    deliveries,
    availableSince,
    traceParent: snapshot.traceParent,
  }
}

/** What a store remembers of a task's last commit, to answer when it is repeated (rule D6). */
export interface CommitRecord {
  readonly workerId: string
  readonly token: number
  readonly revision: number
  readonly status: InstanceStatus
  /** The claim that came with it. */
  readonly next: Required<Pick<TaskClaimRef, 'instanceId' | 'taskId' | 'token'>> | null
}

/** Whether a commit under `ref` repeats this one. */
export function isRepeated(
  record: CommitRecord | null | undefined,
  ref: TaskClaimRef,
): record is CommitRecord {
  return (
    record != null &&
    record.workerId === ref.workerId &&
    (ref.token === undefined || record.token === ref.token)
  )
}
