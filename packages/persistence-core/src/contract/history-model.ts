/**
 * What a store must come to after any calls, in the plainest words: a second opinion, which shares
 * no rule with the transitions of core. Texts stand for payloads, `over` and `live` for times.
 */
import type { SignalKind } from '../signal-store.ts'
import type { InstanceStatus } from '../snapshot.ts'
import type { TaskClaimRef } from '../task-claim-store.ts'
import type { Available, Instance, ModelClaim, Place, Task } from './history-instance.ts'

/** A call that must fail with this code, or with a `TypeError`. */
export class Refusal extends Error {
  readonly code: string

  constructor(code: string) {
    super(code)
    this.code = code
  }
}

const INPUT = 'in'

/** The signal that every instance waits at, and where its payload goes. */
export const SIGNAL_NAME = 'go'
export const SIGNAL_ID = 'sig'
/** That signal's name, and one that nobody waits for. */
export const SIGNAL_NAMES: readonly string[] = [SIGNAL_NAME, 'other']

export class Model {
  readonly instances: Map<string, Instance> = new Map()
  /** Every claim that was ever made, the newest last. */
  readonly claims: ModelClaim[] = []
  readonly #tokens = new Map<string, number>()
  #outputs = 0

  /** A text that no step used before. */
  output(): string {
    this.#outputs += 1
    return `o${this.#outputs}`
  }

  get(id: string): Instance {
    const instance = this.instances.get(id)
    if (instance === undefined) throw new Refusal('NOT_FOUND')
    return instance
  }

  /** An instance that has not ended. */
  open(id: string): Instance {
    const instance = this.get(id)
    if (hasEnded(instance)) throw new Refusal('TERMINAL')
    return instance
  }

  /** The task under a claim that is held. A claim without token is its worker's. */
  held(ref: TaskClaimRef): Task {
    const task = this.open(ref.instanceId).tasks.get(ref.taskId)
    if (!isHeld(task, ref)) throw new Refusal('CLAIM_LOST')
    return task
  }

  /** Stores one output; the position, and so what is runnable, stays. */
  saveResult(id: string, taskId: string, output: string, claim: ModelClaim | null): void {
    const instance = this.open(id)
    if (claim !== null) this.held(claim)
    store(instance, taskId, output)
    instance.revision += 1
  }

  create(id: string): Instance {
    const instance: Instance = {
      id,
      revision: 0,
      status: 'in-progress',
      place: null,
      text: null,
      results: new Map(),
      last: null,
      retries: new Map(),
      rounds: new Map(),
      tasks: new Map(),
      signals: new Map(),
      events: new Map(),
      eventIds: new Set(),
      commits: new Map(),
    }
    this.instances.set(id, instance)
    return instance
  }

  /** What a worker could be given now, in no order. */
  available(): Available[] {
    return [...this.instances.values()].flatMap(availableIn)
  }

  /** What every dispatch call does first: signals that nobody is there to see take effect. */
  applyIdleSignals(): void {
    for (const instance of this.instances.values()) {
      const busy = [...instance.tasks.values()].some((task) => task.claim !== null && task.live)
      if (!busy && applySignals(instance, null)) instance.revision += 1
    }
  }

  /** A find that is not limited hands out every task, so every timer that is over has moved on. */
  findAll(): Available[] {
    this.applyIdleSignals()
    for (const instance of this.instances.values()) {
      const hands = availableIn(instance).length > 0
      if (isTimeUp(instance) && (hands || endsNext(instance))) {
        advance(instance)
        instance.revision += 1
      }
    }
    return this.available()
  }

  /** Records a claim that the store made on an available task. */
  claimed(claim: ModelClaim, live: boolean): void {
    const { instanceId, taskId, token } = claim
    const key = `${instanceId}/${taskId}`
    if (token <= (this.#tokens.get(key) ?? -1)) {
      throw new Error(`token ${token} of ${key} is not greater than one before`)
    }
    this.#tokens.set(key, token)
    const instance = this.open(instanceId)
    if (isTimeUp(instance)) {
      advance(instance)
      instance.revision += 1
    }
    const task = instance.tasks.get(taskId)
    if (task === undefined) throw new Error(`task ${key} is not runnable`)
    task.deliveries += 1
    task.claim = claim
    task.live = live
    instance.commits.delete(taskId)
    this.claims.push(claim)
  }
}

export function isHeld(
  task: Task | undefined,
  ref: Pick<TaskClaimRef, 'workerId' | 'token'>,
): task is Task {
  return (
    task?.claim != null &&
    task.claim.workerId === ref.workerId &&
    (ref.token === undefined || ref.token === task.claim.token)
  )
}

export function hasEnded({ status }: Instance): boolean {
  return status !== 'in-progress' && status !== 'paused'
}

function runnable(place: Place | null): string[] {
  switch (place?.kind) {
    case 'task':
    case 'loop':
      return [place.task]
    case 'join':
      return ['join']
    case 'fork':
      return [...place.pending.keys()]
    default:
      return []
  }
}

/** Moves on. A task that stays runnable keeps its claim; one that was committed starts anew. */
export function goTo(instance: Instance, place: Place, committed: string | null = null): void {
  const { place: before, tasks, last } = instance
  const here = before?.kind === place.kind && before.kind !== 'loop'
  instance.place = place
  instance.tasks = new Map(
    runnable(place).map((taskId) => {
      const old = taskId === committed ? undefined : tasks.get(taskId)
      const waited = before?.kind === 'delay' && before.task === taskId ? before.input : last
      return [
        taskId,
        {
          input: old !== undefined && here ? old.input : waited,
          deliveries: old?.deliveries ?? 0,
          claim: old?.claim ?? null,
          live: old?.live ?? false,
        },
      ]
    }),
  )
}

/** Stores an output: it is the newest now, and its task's retries are forgotten. */
export function store(instance: Instance, taskId: string, output: string): void {
  instance.results.delete(taskId)
  instance.results.set(taskId, output)
  instance.retries.delete(taskId)
  instance.last = taskId
}

export function end(instance: Instance, status: InstanceStatus, text: string | null): void {
  instance.status = status
  instance.text = text
  instance.place = null
  instance.tasks = new Map()
  instance.signals.clear()
  instance.events.clear()
  instance.eventIds.clear()
}

/** Applies what is pending, of one kind or of both. A cancel stands before a pause. */
export function applySignals(instance: Instance, kind: SignalKind | null): boolean {
  if (hasEnded(instance)) return false
  const cancel = instance.signals.get('cancel')
  if (cancel !== undefined) {
    if (kind === 'pause') return false
    end(instance, 'cancelled', cancel)
    return true
  }
  const pause = instance.signals.get('pause')
  if (pause === undefined || kind === 'cancel' || instance.status !== 'in-progress') return false
  instance.signals.delete('pause')
  instance.status = 'paused'
  instance.text = pause
  return true
}

/** Whether a delay or signal has run out, in an instance that may go on by itself. */
export function isTimeUp({ status, place }: Instance): boolean {
  return (
    status === 'in-progress' && (place?.kind === 'delay' || place?.kind === 'signal') && place.over
  )
}

function endsNext({ place, signals }: Instance): boolean {
  return signals.size === 0 && place !== null && 'task' in place && place.task === null
}

/** Goes on from a delay or signal; without a payload because its time is up. */
export function advance(instance: Instance, payload = ''): void {
  const { place } = instance
  if (place?.kind === 'signal') store(instance, SIGNAL_ID, payload)
  else if (place?.kind !== 'delay') throw new Error('nothing to advance')
  if (place.task !== null) goTo(instance, { kind: 'task', task: place.task })
  else end(instance, 'completed', outputOf(instance, instance.last))
}

/** An instance that is parked takes the event that waits for it, in the same step. */
export function takeQueued(instance: Instance): void {
  if (instance.status !== 'in-progress' || instance.place?.kind !== 'signal') return
  const event = instance.events.get(SIGNAL_NAME)?.shift()
  if (event !== undefined) advance(instance, event)
}

function outputOf({ results }: Instance, taskId: string | null): string {
  return (taskId === null ? undefined : results.get(taskId)) ?? INPUT
}

function availableIn(instance: Instance): Available[] {
  const { status, place, signals, tasks, retries } = instance
  if (status !== 'in-progress' || place === null || signals.size > 0) return []
  const offer = (taskId: string, input: string, deliveries: number): Available[] => {
    const retry = retries.get(taskId)
    if (retry?.later === true) return []
    return [
      {
        instance,
        taskId,
        input,
        deliveries,
        attempt: (retry?.attempts ?? 0) + 1,
        failedBy: retry?.worker ?? null,
        branches: place.kind === 'join' ? place.done : new Map(),
      },
    ]
  }
  if (place.kind === 'delay' || place.kind === 'signal') {
    if (!place.over || place.task === null) return []
    return offer(place.task, place.kind === 'signal' ? '' : outputOf(instance, place.input), 0)
  }
  return [...tasks].flatMap(([taskId, task]) =>
    task.claim !== null && task.live
      ? []
      : offer(taskId, place.kind === 'join' ? '' : outputOf(instance, task.input), task.deliveries),
  )
}
