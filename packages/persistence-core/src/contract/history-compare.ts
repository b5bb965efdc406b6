import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { BackendError } from '../errors.ts'
import type { Branches, Position } from '../position.ts'
import type { WorkflowSnapshot } from '../snapshot.ts'
import type { AvailableTask, ClaimedTask } from '../task-claim-store.ts'
import type { ContractContext } from './context.ts'
import { text } from './context.ts'
import { drain } from './event.ts'
import type { Available, Instance, Place } from './history-instance.ts'
import { advance, isTimeUp, type Model, Refusal, SIGNAL_NAMES } from './history-model.ts'

/** The instances of a history. */
export const INSTANCE_IDS = ['i0', 'i1'] as const

/** The store under test: two objects on it where it is shared, used in turn. */
export class HistoryStore {
  readonly #context: ContractContext
  readonly #namespace: string
  #backends: readonly PersistentBackend[] = []
  #turn = 0

  constructor(context: ContractContext) {
    this.#context = context
    this.#namespace = context.namespace()
  }

  get backend(): PersistentBackend {
    this.#turn += 1
    const backend = this.#backends[this.#turn % this.#backends.length]
    return backend ?? expect.fail('the store is not open')
  }

  /** Opens objects of its own; those before are closed, or left as a crash leaves them. */
  async open(before: 'close' | 'abandon' = 'close'): Promise<void> {
    if (before === 'close') await this.close()
    const count = this.#context.capabilities.shared ? 2 : 1
    const backends: PersistentBackend[] = []
    while (backends.length < count) backends.push(await this.#context.openOn(this.#namespace))
    this.#backends = backends
  }

  async close(): Promise<void> {
    await Promise.all(this.#backends.map((backend) => backend.close()))
  }

  /** Lets every time of a millisecond run out. */
  elapse(): Promise<void> {
    return this.#context.elapse(1)
  }
}

/** A value, or the code of what was thrown instead. */
async function settled<T>(call: () => T | Promise<T>): Promise<{ value: T } | { code: string }> {
  try {
    return { value: await call() }
  } catch (error) {
    if (error instanceof Refusal || BackendError.is(error)) return { code: error.code }
    if (error instanceof TypeError) return { code: 'TypeError' }
    throw error
  }
}

/** That the store answers as the model does; undefined where both refuse. */
export async function agree<T>(
  expected: () => T,
  actual: () => Promise<unknown>,
): Promise<T | undefined> {
  const model = await settled(expected)
  expect(await settled(actual)).toEqual(model)
  return 'value' in model ? model.value : undefined
}

/** That the store refuses as the model does; both values where neither refuses. */
export async function both<T, U>(
  expected: () => T,
  actual: () => Promise<U>,
): Promise<{ model: T; store: U } | null> {
  const model = await settled(expected)
  const store = await settled(actual)
  if ('value' in model && 'value' in store) return { model: model.value, store: store.value }
  expect(store).toEqual(model)
  return null
}

function describeBranches(branches: Branches): [string, string][] {
  return [...branches].map(([label, { taskId, output }]) => [label, `${taskId}=${text(output)}`])
}

function describePosition(position: Position): string {
  switch (position.kind) {
    case 'at-task':
      return `task ${position.taskId}`
    case 'in-loop':
      return `loop ${position.iteration} ${position.nextTaskId}`
    case 'at-delay':
      return `delay ${position.nextTaskId}`
    case 'at-signal':
      return `signal ${position.nextTaskId}`
    case 'at-fork':
      return describeFork(
        position.pendingTasks.map(({ taskId, branch }) => [taskId, branch ?? taskId]),
        describeBranches(position.completedBranches),
      )
    case 'at-join':
      return describeFork([], describeBranches(position.completedBranches))
    default:
      return position.kind
  }
}

function describePlace(place: Place): string {
  switch (place.kind) {
    case 'loop':
      return `loop ${place.round} ${place.task}`
    case 'fork':
      return describeFork([...place.pending], [...place.done])
    case 'join':
      return describeFork([], [...place.done])
    default:
      return `${place.kind} ${place.task}`
  }
}

function describeFork(
  pending: readonly (readonly [string, string])[],
  done: readonly (readonly [string, string])[],
): string {
  const sorted = (pairs: readonly (readonly [string, string])[]) =>
    pairs.map((pair) => pair.join(':')).toSorted()
  return `fork [${sorted(pending)}] done [${sorted(done)}]`
}

function describeSnapshot({ revision, state, retries, loopIterations }: WorkflowSnapshot) {
  const common = {
    revision,
    status: state.status,
    results: [...state.completedTasks].map(([id, { output }]) => `${id}=${text(output)}`),
    retries: [...retries].map(([id, { attempts }]) => `${id} ${attempts}`).toSorted(),
    rounds: [...loopIterations],
  }
  switch (state.status) {
    case 'in-progress':
      return { ...common, ...describeOpen(state), text: null }
    case 'paused':
      return { ...common, ...describeOpen(state), text: state.reason }
    case 'completed':
      return { ...common, place: null, last: null, text: text(state.finalOutput) }
    case 'failed':
      return { ...common, place: null, last: null, text: state.error }
    case 'cancelled':
      return { ...common, place: null, last: null, text: state.reason }
  }
}

function describeOpen(state: {
  readonly position: Position
  readonly lastCompletedTaskId: string | null
}): { place: string | null; last: string | null } {
  return { place: describePosition(state.position), last: state.lastCompletedTaskId }
}

function describeInstance(instance: Instance): ReturnType<typeof describeSnapshot> {
  return {
    revision: instance.revision,
    status: instance.status,
    results: [...instance.results].map((result) => result.join('=')),
    retries: [...instance.retries].map(([id, { attempts }]) => `${id} ${attempts}`).toSorted(),
    rounds: [...instance.rounds],
    place: instance.place === null ? null : describePlace(instance.place),
    last: instance.place === null ? null : instance.last,
    text: instance.text,
  }
}

/** Compares all that can be read without changing it. */
export async function compareAll(model: Model, backend: PersistentBackend): Promise<void> {
  for (const id of INSTANCE_IDS) {
    const instance = model.instances.get(id)
    if (instance === undefined) {
      expect(await settled(() => backend.loadSnapshot(id))).toEqual({ code: 'NOT_FOUND' })
    } else {
      const snapshot = await backend.loadSnapshot(id)
      // Whether a timer that is over was advanced yet is the store's to say.
      if (isTimeUp(instance) && snapshot.revision === instance.revision + 1) {
        advance(instance)
        instance.revision += 1
      }
      expect(describeSnapshot(snapshot), id).toEqual(describeInstance(instance))
    }
    for (const kind of ['cancel', 'pause'] as const) {
      const signal = await backend.getSignal(id, kind)
      expect(signal?.reason, `${kind} of ${id}`).toBe(instance?.signals.get(kind))
    }
  }
  const { byStatus, available, claimed } = await backend.stats()
  const instances = [...model.instances.values()]
  expect({ byStatus, available, claimed }).toEqual({
    byStatus: Object.fromEntries(
      (['in-progress', 'completed', 'failed', 'cancelled', 'paused'] as const).map((status) => [
        status,
        instances.filter((instance) => instance.status === status).length,
      ]),
    ),
    available: model.available().length,
    claimed: instances
      .flatMap((instance) => [...instance.tasks.values()])
      .filter((task) => task.claim !== null && task.live).length,
  })
}

/** Compares what can only be read by taking it, and outputs one by one: the last look of a history. */
export async function compareRest(model: Model, backend: PersistentBackend): Promise<void> {
  for (const { id, events, results } of model.instances.values()) {
    for (const name of SIGNAL_NAMES) {
      const queued = events.get(name) ?? []
      expect(await drain(backend, id, name), `events of ${id}`).toEqual(queued)
    }
    for (const [taskId, output] of results) {
      expect(text(await backend.loadTaskResult(id, taskId))).toBe(output)
    }
  }
}

function describeAvailable(task: Available) {
  const { instance, taskId, input, attempt, deliveries, branches } = task
  return {
    task: `${instance.id}/${taskId}`,
    input,
    attempt,
    deliveries,
    branches: [...branches].toSorted(),
  }
}

function describeTask(task: AvailableTask): ReturnType<typeof describeAvailable> {
  const { instanceId, taskId, input, attempt, deliveries, branches } = task
  return {
    task: `${instanceId}/${taskId}`,
    input: text(input) ?? '',
    attempt,
    deliveries,
    branches: describeBranches(branches).toSorted(),
  }
}

/** That a worker was offered all these tasks, its own failures last, in the order of their waiting. */
export function compareTasks(
  expected: readonly Available[],
  actual: readonly AvailableTask[],
  workerId: string,
): void {
  const byName = (a: { task: string }, b: { task: string }) => (a.task < b.task ? -1 : 1)
  expect(actual.map(describeTask).toSorted(byName)).toEqual(
    expected.map(describeAvailable).toSorted(byName),
  )
  const ranks = actual.map((task) => {
    const { failedBy } = offerOf(expected, task)
    return [failedBy === workerId ? 1 : 0, task.availableSince] as const
  })
  expect(ranks).toEqual(ranks.toSorted(([f, since], [g, after]) => f - g || since - after))
}

function offerOf(expected: readonly Available[], task: AvailableTask): Available {
  const offer = expected.find(
    ({ instance, taskId }) => instance.id === task.instanceId && taskId === task.taskId,
  )
  return offer ?? expect.fail(`${task.instanceId}/${task.taskId} was not available`)
}

/** That a task that was handed out was one of these, and takes it over into the model. */
export function takeClaimed(
  model: Model,
  offers: readonly Available[],
  { task, claim, head }: ClaimedTask,
  workerId: string,
  live: boolean,
): void {
  const offer = offerOf(offers, task)
  expect(claim).toMatchObject({ instanceId: task.instanceId, taskId: task.taskId, workerId })
  expect(describeTask(task)).toEqual({
    ...describeAvailable(offer),
    deliveries: offer.deliveries + 1,
  })
  const { instanceId, taskId, token } = claim
  model.claimed({ instanceId, taskId, workerId, token }, live)
  const { instance } = offer
  expect({ revision: head.revision, status: head.state.status }).toEqual({
    revision: instance.revision,
    status: instance.status,
  })
}
