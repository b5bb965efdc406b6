import type { Next, TaskClaimRef, TaskOutcome } from '../task-claim-store.ts'
import { bytes } from './context.ts'
import { LONG_MS } from './fixtures.ts'
import type { Committed, Instance, Place } from './history-instance.ts'
import {
  applySignals,
  end,
  goTo,
  isHeld,
  type Model,
  Refusal,
  SIGNAL_ID,
  SIGNAL_NAME,
  store,
  takeQueued,
} from './history-model.ts'

/** How a worker may end a task, for the model and for the store; what keeps an instance going comes more often. */
export const OUTCOMES = [
  'to-a',
  'loop',
  'fork',
  'fork',
  'park',
  'park',
  'retry',
  'to-a',
  'to-b',
  'loop',
  'fork',
  'branch-on',
  'branch-end',
  'delay-over',
  'delay-ending',
  'delay-long',
  'park',
  'park-ending',
  'park-over',
  'final',
  'failed',
  'retry',
  'retry-later',
  'retry-twice',
] as const
export type OutcomeName = (typeof OUTCOMES)[number]

/** The outcome, or one like it that the task's place allows (rule F1). */
export function fitting(name: OutcomeName, isInFork: boolean): OutcomeName {
  const isBranch = name === 'branch-on' || name === 'branch-end'
  if (isInFork) {
    if (isBranch || name === 'failed' || name.startsWith('retry')) return name
    return name.startsWith('to-') ? 'branch-on' : 'branch-end'
  }
  return isBranch ? 'fork' : name
}

/** A commit whose next task may be claimed leaves no timer of its own to be advanced with it. */
export function allowsClaimNext(name: OutcomeName): boolean {
  return !['delay-over', 'delay-ending', 'park-over'].includes(name)
}

/** The outcome as the store is given it. */
export function toOutcome(name: OutcomeName, output: string, taskId: string): TaskOutcome {
  switch (name) {
    case 'failed':
      return { kind: 'failed', error: output }
    case 'retry':
      return { kind: 'retry', error: output, delayMs: 0 }
    case 'retry-later':
      return { kind: 'retry', error: output, delayMs: LONG_MS }
    case 'retry-twice':
      return { kind: 'retry', error: output, delayMs: 0, maxAttempts: 2 }
    default:
      return { kind: 'completed', output: bytes(output), next: toNext(name, output, taskId) }
  }
}

function toNext(name: OutcomeName, output: string, taskId: string): Next {
  const delay = (delayMs: number, nextTaskId: string | null): Next => ({
    position: { kind: 'at-delay', delayId: 'delay', delayMs, nextTaskId },
  })
  const park = (timeoutMs: number | null, nextTaskId: string | null): Next => ({
    position: {
      kind: 'at-signal',
      signalId: SIGNAL_ID,
      signalName: SIGNAL_NAME,
      timeoutMs,
      nextTaskId,
    },
  })
  switch (name) {
    case 'to-a':
    case 'to-b':
      return { position: { kind: 'at-task', taskId: name === 'to-a' ? 'a' : 'b' } }
    case 'loop':
      return {
        position: { kind: 'in-loop', loopId: 'loop', iteration: output.length, nextTaskId: 'a' },
      }
    case 'fork':
      return {
        position: {
          kind: 'at-fork',
          forkId: 'fork',
          pendingTasks: [{ taskId: 'x' }, { taskId: 'y' }],
          join: { taskId: 'join' },
        },
      }
    case 'branch-on':
      return { branch: { taskId: `${taskId}+`.slice(0, 5) } }
    case 'branch-end':
      return { branch: null }
    case 'delay-over':
      return delay(0, 'b')
    case 'delay-ending':
      return delay(0, null)
    case 'delay-long':
      return delay(LONG_MS, 'b')
    case 'park':
      return park(null, 'b')
    case 'park-ending':
      return park(null, null)
    case 'park-over':
      return park(0, 'b')
    default:
      return { finalOutput: bytes(`end ${output}`) }
  }
}

/** What a commit must come to in the model, but for the task that it claims next. */
export function commitInModel(
  model: Model,
  ref: TaskClaimRef,
  name: OutcomeName,
  output: string,
): { readonly committed: Committed; readonly repeated: boolean; readonly wasPaused: boolean } {
  const instance = model.get(ref.instanceId)
  const { taskId, workerId } = ref
  const before = instance.commits.get(taskId)
  const isHolder = isHeld(instance.tasks.get(taskId), ref)
  if (
    before?.workerId === workerId &&
    (ref.token === undefined ? !isHolder : before.token === ref.token)
  ) {
    return { committed: before, repeated: true, wasPaused: false }
  }
  const token = model.held(ref).claim?.token ?? -1
  const wasPaused = instance.status === 'paused'
  apply(instance, taskId, workerId, name, output)
  applySignals(instance, null)
  takeQueued(instance)
  instance.revision += 1
  const { revision, status } = instance
  const committed: Committed = { workerId, token, revision, status, next: null }
  instance.commits.set(taskId, committed)
  return { committed, repeated: false, wasPaused }
}

function apply(
  instance: Instance,
  taskId: string,
  workerId: string,
  name: OutcomeName,
  output: string,
): void {
  const place = instance.place as Place
  switch (name) {
    case 'failed':
      end(instance, 'failed', output)
      break
    case 'retry':
    case 'retry-later':
    case 'retry-twice': {
      const attempts = (instance.retries.get(taskId)?.attempts ?? 0) + 1
      instance.retries.set(taskId, { attempts, worker: workerId, later: name === 'retry-later' })
      const task = instance.tasks.get(taskId)
      if (task !== undefined) task.claim = null
      if (name === 'retry-twice' && attempts >= 2) end(instance, 'failed', output)
      break
    }
    case 'branch-on':
    case 'branch-end':
      if (place.kind !== 'fork') throw new Refusal('TypeError')
      store(instance, taskId, output)
      inFork(instance, place, taskId, name === 'branch-on', output)
      break
    default:
      if (place.kind === 'fork') throw new Refusal('TypeError')
      store(instance, taskId, output)
      if (name === 'loop') instance.rounds.set('loop', output.length)
      if (name === 'final') end(instance, 'completed', `end ${output}`)
      else goTo(instance, placeAfter(name, output, taskId), taskId)
  }
}

function inFork(
  instance: Instance,
  place: Extract<Place, { kind: 'fork' }>,
  taskId: string,
  goesOn: boolean,
  output: string,
): void {
  const label = place.pending.get(taskId) as string
  const pending = new Map(place.pending)
  const done = new Map(place.done)
  pending.delete(taskId)
  if (goesOn) pending.set(`${taskId}+`.slice(0, 5), label)
  else done.set(label, `${taskId}=${output}`)
  goTo(
    instance,
    pending.size === 0 ? { kind: 'join', done } : { kind: 'fork', pending, done },
    taskId,
  )
}

function placeAfter(name: OutcomeName, output: string, taskId: string): Place {
  switch (name) {
    case 'to-a':
    case 'to-b':
      return { kind: 'task', task: name === 'to-a' ? 'a' : 'b' }
    case 'loop':
      return { kind: 'loop', round: output.length, task: 'a' }
    case 'fork':
      return {
        kind: 'fork',
        pending: new Map([
          ['x', 'x'],
          ['y', 'y'],
        ]),
        done: new Map(),
      }
    case 'delay-over':
      return { kind: 'delay', over: true, task: 'b', input: taskId }
    case 'delay-ending':
      return { kind: 'delay', over: true, task: null, input: taskId }
    case 'delay-long':
      return { kind: 'delay', over: false, task: 'b', input: taskId }
    case 'park':
    case 'park-ending':
      return { kind: 'signal', over: false, task: name === 'park' ? 'b' : null }
    default:
      return { kind: 'signal', over: true, task: 'b' }
  }
}
