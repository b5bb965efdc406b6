import * as fc from 'fast-check'
import type { PersistentBackend } from '../backend.ts'
import type { Position } from '../position.ts'
import type { WorkflowSnapshot } from '../snapshot.ts'
import { bytes } from './context.ts'
import { atTask } from './fixtures.ts'
import { agree, type HistoryStore, INSTANCE_IDS } from './history-compare.ts'
import type { Place } from './history-instance.ts'
import {
  goTo,
  hasEnded,
  type Model,
  Refusal,
  SIGNAL_ID,
  SIGNAL_NAME,
  store as storeResult,
  takeQueued,
} from './history-model.ts'
import {
  aClaim,
  anInstance,
  type ClaimChoice,
  type HistoryCommand,
  pickClaim,
  step,
} from './history-step.ts'

const PLACES = ['a', 'b', 'signal', 'fork'] as const
type PlaceName = (typeof PLACES)[number]

function toPosition(name: PlaceName): Position {
  switch (name) {
    case 'signal':
      return {
        kind: 'at-signal',
        signalId: SIGNAL_ID,
        signalName: SIGNAL_NAME,
        wakeAt: null,
        nextTaskId: 'b',
      }
    case 'fork':
      return {
        kind: 'at-fork',
        forkId: 'saved fork',
        pendingTasks: [{ taskId: 'x' }, { taskId: 'y' }],
        join: { taskId: 'join' },
        completedBranches: new Map(),
        wakeAt: null,
      }
    default:
      return { kind: 'at-task', taskId: name }
  }
}

function toPlace(name: PlaceName): Place {
  if (name === 'signal') return { kind: 'signal', over: false, task: 'b' }
  if (name !== 'fork') return { kind: 'task', task: name }
  const pending = new Map(['x', 'y'].map((task) => [task, task]))
  return { kind: 'fork', pending, done: new Map() }
}

/** The stored snapshot, or a fresh one, moved to a place. */
async function snapshotAt(
  load: () => Promise<WorkflowSnapshot>,
  id: string,
  place: PlaceName,
  keeps: boolean,
  paused: boolean,
): Promise<WorkflowSnapshot> {
  const before = keeps ? await load() : atTask(id)
  const { state } = before
  const results =
    'position' in state
      ? { completedTasks: state.completedTasks, lastCompletedTaskId: state.lastCompletedTaskId }
      : { completedTasks: new Map(), lastCompletedTaskId: null }
  const common = { position: toPosition(place), ...results }
  return {
    ...before,
    state: paused
      ? { status: 'paused', reason: 'saved', pausedBy: null, pausedAt: 1, ...common }
      : { status: 'in-progress', ...common },
  }
}

function saveInModel(
  model: Model,
  id: string,
  place: PlaceName,
  keeps: boolean,
  paused: boolean,
  expectedRevision: number | undefined,
): number {
  const before = model.instances.get(id)
  if (before !== undefined && hasEnded(before)) throw new Refusal('TERMINAL')
  if (expectedRevision !== undefined && expectedRevision !== (before?.revision ?? 0)) {
    throw new Refusal('CONFLICT')
  }
  const instance = before ?? model.create(id)
  if (!keeps) {
    instance.results = new Map()
    instance.last = null
    instance.retries = new Map()
    instance.rounds = new Map()
  }
  instance.status = paused ? 'paused' : 'in-progress'
  instance.text = paused ? 'saved' : null
  if (paused) instance.signals.delete('pause')
  goTo(instance, toPlace(place))
  takeQueued(instance)
  instance.revision += 1
  return instance.revision
}

export const save: fc.Arbitrary<HistoryCommand> = step<{
  instance: string
  place: PlaceName
  keeps: boolean
  paused: boolean
  expected: 'any' | 'none' | 'right' | 'stale' | 'ahead'
}>(
  'saveSnapshot',
  {
    instance: anInstance,
    place: fc.constantFrom(...PLACES),
    keeps: fc.boolean(),
    paused: fc.integer({ min: 0, max: 4 }).map((one) => one === 4),
    expected: fc.constantFrom('any', 'none', 'right', 'stale', 'ahead'),
  },
  async ({ instance: id, place, keeps, paused, expected }, model, { backend }) => {
    const before = model.instances.get(id)
    // A fork that is saved over a fork is the engine's own business.
    if (place === 'fork' && before?.place?.kind === 'fork') return
    const revision = before?.revision ?? 0
    const expectedRevision = {
      any: undefined,
      none: 0,
      right: revision,
      stale: Math.max(0, revision - 1),
      ahead: revision + 1,
    }[expected]
    const takesOver = keeps && before !== undefined
    const snapshot = await snapshotAt(() => backend.loadSnapshot(id), id, place, takesOver, paused)
    await agree(
      () => saveInModel(model, id, place, takesOver, paused, expectedRevision),
      async () =>
        (
          await backend.saveSnapshot(
            snapshot,
            expectedRevision === undefined ? {} : { expectedRevision },
          )
        ).revision,
    )
  },
)

export const saveWithClaim: fc.Arbitrary<HistoryCommand> = step<{
  claim: ClaimChoice
  stale: boolean
  release: boolean
}>(
  'saveSnapshot with claim',
  { claim: aClaim, stale: fc.boolean(), release: fc.boolean() },
  async ({ claim: back, stale, release }, model, { backend }) => {
    const claim = pickClaim(model, back)
    const { instanceId } = claim
    const output = model.output()
    const loaded = model.instances.has(instanceId)
      ? await backend.loadSnapshot(instanceId)
      : atTask(instanceId)
    const { state } = loaded
    const completedTasks = new Map(state.completedTasks)
    completedTasks.delete('note')
    completedTasks.set('note', { taskId: 'note', output: bytes(output) })
    const snapshot = {
      ...loaded,
      revision: stale ? Math.max(0, loaded.revision - 1) : loaded.revision,
      state: { ...state, completedTasks, lastCompletedTaskId: 'note' },
    } as WorkflowSnapshot
    await agree(
      () => {
        const task = model.held(claim)
        const instance = model.get(instanceId)
        if (snapshot.revision !== instance.revision) throw new Refusal('CONFLICT')
        storeResult(instance, 'note', output)
        instance.revision += 1
        if (release) task.claim = null
        return instance.revision
      },
      async () => (await backend.saveSnapshot(snapshot, { claim, release })).revision,
    )
  },
)

/** Stores both instances, as a history starts. */
export async function startAll(model: Model, { backend }: HistoryStore): Promise<void> {
  for (const [index, id] of INSTANCE_IDS.entries()) await start(model, backend, id, index)
}

async function start(
  model: Model,
  backend: PersistentBackend,
  id: string,
  place: number,
): Promise<void> {
  const name = place % 2 === 0 ? 'a' : 'fork'
  const load = () => backend.loadSnapshot(id)
  const snapshot = await snapshotAt(load, id, name, false, false)
  await agree(
    () => saveInModel(model, id, name, false, false, 0),
    async () => (await backend.saveSnapshot(snapshot, { expectedRevision: 0 })).revision,
  )
}

async function remove(model: Model, backend: PersistentBackend, id: string): Promise<void> {
  await agree(
    () => {
      model.get(id)
      model.instances.delete(id)
    },
    () => backend.deleteSnapshot(id),
  )
}

export const deleteInstance: fc.Arbitrary<HistoryCommand> = step<{ instance: string }>(
  'deleteSnapshot',
  { instance: anInstance },
  ({ instance }, model, { backend }) => remove(model, backend, instance),
)

/** An instance that has ended is deleted and starts anew, one that is gone is created. */
export const restart: fc.Arbitrary<HistoryCommand> = step<{ instance: string; place: number }>(
  'restart',
  { instance: anInstance, place: fc.nat({ max: 1 }) },
  async ({ instance: id, place }, model, { backend }) => {
    const instance = model.instances.get(id)
    if (instance !== undefined && !hasEnded(instance)) return
    if (instance !== undefined) await remove(model, backend, id)
    await start(model, backend, id, place)
  },
)

export const saveTaskResult: fc.Arbitrary<HistoryCommand> = step<{
  instance: string
  task: string
  claim: ClaimChoice | null
}>(
  'saveTaskResult',
  { instance: anInstance, task: fc.constantFrom('a', 'x', 'note'), claim: fc.option(aClaim) },
  async ({ instance, task: taskId, claim: back }, model, { backend }) => {
    const claim = back === null ? null : pickClaim(model, back)
    const instanceId = claim?.instanceId ?? instance
    const output = model.output()
    await agree(
      () => model.saveResult(instanceId, taskId, output, claim),
      () =>
        backend.saveTaskResult({
          instanceId,
          taskId,
          output: bytes(output),
          ...(claim === null ? undefined : { claim }),
        }),
    )
  },
)
