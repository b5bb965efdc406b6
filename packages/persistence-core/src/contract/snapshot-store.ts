import fc from 'fast-check'
import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { MAX_TIME } from '../check.ts'
import type { Position } from '../position.ts'
import { type TaskRetry, toHead, type WorkflowSnapshot, type WorkflowState } from '../snapshot.ts'
import { completeTask, completeWorkflow, failWorkflow, pauseWorkflow } from '../transitions.ts'
import { arbitrarySnapshot } from './arbitraries.ts'
import { bytes, type ContractTest, failure, rule, text } from './context.ts'
import { at, atTask, LONG_MS, WORKER } from './fixtures.ts'
import { EVERY_BYTE, everyState, RETRY, results, rich, SHUFFLED } from './states.ts'
import { AWKWARD_IDS, contentOf, filled, plain, roundTrip, scribble } from './stored.ts'

/** What no earlier test of an id collides with: the id in every role that it can have. */
function everywhere(id: string): WorkflowSnapshot {
  const result = { taskId: id, output: bytes(id) }
  const position: Position = {
    kind: 'at-fork',
    forkId: id,
    pendingTasks: [{ taskId: id, branch: 'pending', inputTaskId: id, tags: [id] }],
    join: { taskId: id, tags: [id] },
    completedBranches: new Map([[id, result]]),
    wakeAt: null,
  }
  const snapshot = at(id, position, { definitionHash: id, tags: [id], initialInput: bytes(id) })
  return {
    ...completeTask(snapshot, id, bytes(id)),
    deadline: { taskId: id, deadlineAt: 1, timeoutMs: 1 },
    retries: new Map([[id, { ...RETRY, lastFailedWorker: id }]]),
    loopIterations: new Map([[id, 1]]),
  }
}

/** Durations reach to the last instant at most, whatever the arbitrary says. */
function bounded(snapshot: WorkflowSnapshot): WorkflowSnapshot {
  const cap = (ms: number): number => Math.min(ms, MAX_TIME)
  const { deadline, retries } = snapshot
  return {
    ...snapshot,
    deadline: deadline && { ...deadline, timeoutMs: cap(deadline.timeoutMs) },
    retries: new Map(
      Array.from(retries, ([id, retry]): [string, TaskRetry] => {
        if (retry.policy === undefined) return [id, retry]
        const { initialDelayMs, maxDelayMs } = retry.policy
        const policy = {
          ...retry.policy,
          initialDelayMs: cap(initialDelayMs),
          maxDelayMs: maxDelayMs && cap(maxDelayMs),
        }
        return [id, { ...retry, policy }]
      }),
    ),
  }
}

async function keysOf(backend: PersistentBackend, instanceId: string): Promise<string[]> {
  return [...(await backend.loadSnapshot(instanceId)).state.completedTasks.keys()]
}

/** Rules S1 and S5: what is saved is what is loaded, whole. */
export const snapshotStoreTests: readonly ContractTest[] = [
  rule('S1', 'every status, at every position, comes back as it was saved', async (t) => {
    const backend = await t.open()
    let index = 0
    for (const state of everyState()) {
      index += 1
      await roundTrip(backend, rich(`rich-${index}`, state))
      await roundTrip(backend, { ...atTask(`bare-${index}`), initialInput: null, state })
    }
    const { position } = atTask('i').state as { readonly position: Position }
    const state = { status: 'in-progress', position, completedTasks: new Map() } as const
    await roundTrip(backend, { ...atTask('i'), state: { ...state, lastCompletedTaskId: 'gone' } })
  }),

  rule('S1', 'every map keeps its order, whatever its keys look like', async (t) => {
    const backend = await t.open()
    for (const ids of [SHUFFLED, SHUFFLED.toReversed(), SHUFFLED.toSorted()]) {
      const { state } = atTask('i')
      const given = { ...rich('i', state), retries: new Map(ids.map((id) => [id, RETRY])) }
      await roundTrip(backend, { ...given, state: { ...state, completedTasks: results(ids) } })
      expect(await keysOf(backend, 'i')).toEqual(ids)
    }
  }),

  rule('S1', 'payloads of any size and any bytes come back byte for byte', async (t) => {
    const backend = await t.open()
    const mebibyte = Uint8Array.from({ length: 1_048_576 }, (_, index) => (index * 31 + 7) % 251)
    // A view into a larger buffer: only its own bytes count.
    const view = EVERY_BYTE.subarray(100, 110)
    for (const payload of [new Uint8Array(0), EVERY_BYTE, mebibyte, view, Buffer.from('pooled')]) {
      const position: Position = {
        kind: 'at-join',
        joinId: 'j',
        completedBranches: new Map([['left', { taskId: 'b', output: payload }]]),
      }
      const open = completeTask(at('i', position, { initialInput: payload }), 'a', payload)
      await roundTrip(backend, open)
      expect(plain(await backend.loadTaskResult('i', 'a'))).toBe(plain(payload))
      await roundTrip(backend, completeWorkflow(open, payload))
      await backend.deleteSnapshot('i')
    }
  }),

  rule('S1', 'any Unicode id works in every role, beside all others', async (t) => {
    const backend = await t.open()
    const snapshots = AWKWARD_IDS.map(everywhere)
    for (const snapshot of snapshots) await roundTrip(backend, snapshot)
    for (const snapshot of snapshots) {
      const { instanceId } = snapshot
      const loaded = await backend.loadSnapshot(instanceId)
      expect(contentOf(loaded)).toEqual(contentOf(snapshot))
      expect(loaded.revision).toBe(1)
      expect(text(await backend.loadTaskResult(instanceId, instanceId))).toBe(instanceId)
    }
  }),

  rule('S1', 'createdAt is the time of the first save, updatedAt that of the last', async (t) => {
    const backend = await t.open()
    const given = { ...atTask('i'), revision: 7, createdAt: 5, updatedAt: 6 }
    const first = await backend.saveSnapshot(given)
    expect(first.createdAt).not.toBe(5)
    expect(first.updatedAt).toBe(first.createdAt)
    await t.elapse(20)
    const second = await backend.saveSnapshot({ ...given, createdAt: 9, updatedAt: MAX_TIME })
    expect(second.createdAt).toBe(first.createdAt)
    expect(second.updatedAt).toBeGreaterThan(first.updatedAt)
    expect(second.updatedAt).toBeLessThan(MAX_TIME)
    await t.elapse(20)
    await backend.saveTaskResult({ instanceId: 'i', taskId: 'b', output: bytes('b') })
    const third = await backend.loadSnapshot('i')
    expect(third.createdAt).toBe(first.createdAt)
    expect(third.updatedAt).toBeGreaterThan(second.updatedAt)
  }),

  rule('S1', 'a save replaces completedTasks whole, also when it ends the instance', async (t) => {
    const backend = await t.open()
    const { state, ...rest } = atTask('i')
    const withResults = (ids: readonly string[]): WorkflowSnapshot => ({
      ...rest,
      state: { ...state, completedTasks: results(ids) } as WorkflowState,
    })
    for (const ids of [['a', 'b', 'c'], ['c', 'a'], ['a', 'c'], ['d', 'a', 'c'], [], ['b', 'a']]) {
      await roundTrip(backend, withResults(ids))
      expect(await keysOf(backend, 'i')).toEqual(ids)
      for (const id of ['a', 'b', 'c', 'd']) {
        const output = await backend.loadTaskResult('i', id)
        expect(text(output)).toBe(ids.includes(id) ? `output of ${id}` : null)
      }
    }
    await roundTrip(backend, failWorkflow(withResults(['x', 'a']), 'boom'))
    expect(await keysOf(backend, 'i')).toEqual(['x', 'a'])
    expect(await backend.loadTaskResult('i', 'b')).toBeNull()
  }),

  rule(
    'S1',
    'writing into what was passed in or handed out does not reach the store',
    async (t) => {
      const backend = await t.open()
      const state = { ...atTask('i').state, completedTasks: results(SHUFFLED) }
      // A clone: what other tests work with must not be written into.
      const given = structuredClone(pauseWorkflow(rich('i', state), { at: 1 }))
      const expected = contentOf(structuredClone(given))
      const saving = backend.saveSnapshot(given)
      scribble(given.state)
      scribble(given.retries)
      scribble(given.loopIterations)
      scribble(given.tags)
      scribble(given.initialInput)
      const saved = await saving
      expect(contentOf(saved)).toEqual(expected)
      scribble(saved)
      const loaded = await backend.loadSnapshot('i')
      expect(contentOf(loaded)).toEqual(expected)
      scribble(loaded)
      scribble(await backend.loadTaskResult('i', 'a'))
      const output = bytes('kept')
      const storing = backend.saveTaskResult({ instanceId: 'i', taskId: 'n', output })
      scribble(output)
      await storing
      expect(text(await backend.loadTaskResult('i', 'n'))).toBe('kept')
      expect(text(await backend.loadTaskResult('i', 'a'))).toBe('output of a')
    },
  ),

  rule('S1', 'nor does writing into tasks, heads and signals that were handed out', async (t) => {
    const backend = await t.open()
    const completedBranches = new Map([['x', { taskId: 'x', output: bytes('from x') }]])
    const position = { kind: 'at-join', joinId: 'join', completedBranches } as const
    await backend.saveSnapshot(at('joined', position, { tags: ['gpu'] }))
    await backend.saveSnapshot(atTask('started', 'a', { tags: ['gpu'] }))
    const ids = ['joined', 'started']
    const stored = await Promise.all(ids.map((id) => backend.loadSnapshot(id)))
    const contents = stored.map(contentOf)
    const found = await backend.findAvailableTasks({ workerId: WORKER, limit: 10 })
    expect(found).toHaveLength(2)
    const tasks = new Map(found.map((task) => [task.instanceId, plain(task)]))
    scribble(found)
    for (const deliveries of [1, 2, 3]) {
      const claimed = await backend.claimAvailableTasks({
        workerId: WORKER,
        limit: 10,
        ttlMs: LONG_MS,
      })
      expect(claimed).toHaveLength(2)
      for (const { task, claim, head } of claimed) {
        const as = stored[ids.indexOf(task.instanceId)] ?? expect.fail('it is one of ours')
        expect(plain({ ...task, deliveries: 0 })).toEqual(tasks.get(task.instanceId))
        expect(task.deliveries).toBe(deliveries)
        expect(plain(head)).toEqual(plain(toHead(as)))
        await backend.releaseTaskClaim({ ...claim })
      }
      scribble(claimed)
    }
    await backend.storeSignal('started', 'pause', { reason: 'r' })
    scribble(await backend.getSignal('started', 'pause'))
    expect((await backend.getSignal('started', 'pause'))?.reason).toBe('r')
    await backend.checkAndPause('started')
    scribble(await backend.unpause('started'))
    const after = await Promise.all(ids.map((id) => backend.loadSnapshot(id)))
    expect(after.map(contentOf)).toEqual(contents)
  }),

  rule('S1', 'loading an unknown instance is NOT_FOUND', async (t) => {
    const backend = await t.open()
    const error = await failure(backend.loadSnapshot('nobody'), 'NOT_FOUND')
    expect(error.instanceId).toBe('nobody')
    await backend.saveSnapshot(atTask('nobody-else'))
    await failure(backend.loadSnapshot('nobody'), 'NOT_FOUND')
  }),

  rule(
    'S1',
    'any snapshot comes back as it was saved',
    async (t) => {
      const backend = await t.open()
      await fc.assert(
        fc.asyncProperty(arbitrarySnapshot().map(bounded), async (snapshot) => {
          const loaded = await roundTrip(backend, snapshot)
          expect(loaded.revision).toBe(1)
          await backend.deleteSnapshot(snapshot.instanceId)
        }),
        { numRuns: 100 },
      )
    },
    { timeoutMs: 60_000 },
  ),

  rule(
    'S1',
    'any snapshot replaces any other, whole',
    async (t) => {
      const backend = await t.open()
      const pair = fc.tuple(arbitrarySnapshot(), arbitrarySnapshot())
      let index = 0
      await fc.assert(
        fc.asyncProperty(pair, async (snapshots) => {
          index += 1
          for (const snapshot of snapshots.map(bounded)) {
            const last = await roundTrip(backend, { ...snapshot, instanceId: `i-${index}` })
            if (last.state.status !== 'in-progress' && last.state.status !== 'paused') break
          }
        }),
        { numRuns: 50 },
      )
    },
    { timeoutMs: 60_000 },
  ),

  rule('S5', 'a load sees one save or another, never a mixture', async (t) => {
    const backends = await t.openMany(4)
    const [first] = backends as [PersistentBackend]
    const ids = Array.from({ length: 8 }, (_, index) => `task-${index}`)
    const version = (mark: number): WorkflowSnapshot => {
      const output = filled(64_000, mark)
      const outputs = new Map(ids.map((taskId) => [taskId, { taskId, output }]))
      const { state, ...rest } = atTask('i', `t${mark}`, { initialInput: filled(9, mark) })
      return { ...rest, state: { ...state, completedTasks: outputs } }
    }
    const marks = new Map<number, number>()
    const save = async (backend: PersistentBackend, mark: number): Promise<void> => {
      marks.set((await backend.saveSnapshot(version(mark))).revision, mark)
    }
    await save(first, 1)
    const seen: WorkflowSnapshot[] = []
    await Promise.all(
      backends.map(async (backend, index) => {
        for (let round = 0; round < 5; round += 1) {
          const [, loaded] = await Promise.all([
            save(backend, 10 * (index + 1) + round),
            backend.loadSnapshot('i'),
          ])
          seen.push(loaded, await backend.loadSnapshot('i'))
        }
      }),
    )
    expect(marks.size).toBe(21)
    for (const loaded of seen) {
      const mark = marks.get(loaded.revision)
      expect(mark).toBeDefined()
      expect(contentOf(loaded)).toEqual(contentOf(version(mark as number)))
    }
  }),

  rule('S5', 'a snapshot larger than what stores take for one item is whole', async (t) => {
    const backend = await t.open()
    const ids = Array.from({ length: 18 }, (_, index) => `task-${index}`)
    let snapshot = atTask('i')
    for (const [index, id] of ids.entries()) {
      snapshot = completeTask(snapshot, id, filled(1_000_000, index))
    }
    const saved = await backend.saveSnapshot(snapshot)
    const loaded = await backend.loadSnapshot('i')
    expect(loaded.revision).toBe(saved.revision)
    expect([...loaded.state.completedTasks.keys()]).toEqual(ids)
    for (const [index, { output }] of [...loaded.state.completedTasks.values()].entries()) {
      expect(Buffer.compare(output, filled(1_000_000, index))).toBe(0)
    }
  }),
]
