import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { WorkflowSnapshot } from '../snapshot.ts'
import { completeTask, moveTo } from '../transitions.ts'
import { bytes, type ContractTest, failure, rule, settle, text } from './context.ts'
import { atTask, claim, completed, LONG_MS, toTask } from './fixtures.ts'
import { contentOf, marked, markOf, plain, unchanged } from './stored.ts'

/** Rules S2, S6 and S7: what a save lands on. */
export const saveTests: readonly ContractTest[] = [
  rule(
    'S2',
    'a save overwrites, whatever revision it carries, and returns what is stored',
    async (t) => {
      const backend = await t.open()
      let revision = 0
      for (const carried of [0, 99, 1, 2]) {
        revision += 1
        const given = marked({ ...atTask('i'), revision: carried }, `mark-${revision}`)
        const saved = await backend.saveSnapshot(given)
        expect(saved.revision).toBe(revision)
        expect(contentOf(saved)).toEqual(contentOf(given))
        await unchanged(backend, saved)
      }
    },
  ),

  rule('S2', 'expectedRevision 0 creates only', async (t) => {
    const backend = await t.open()
    const first = await backend.saveSnapshot(atTask('i'), { expectedRevision: 0 })
    expect(first.revision).toBe(1)
    const error = await failure(
      backend.saveSnapshot(atTask('i', 'b'), { expectedRevision: 0 }),
      'CONFLICT',
    )
    expect(error.instanceId).toBe('i')
    await unchanged(backend, first)
  }),

  rule(
    'S2',
    'expectedRevision is a compare-and-set: stale and future ones are CONFLICT',
    async (t) => {
      const backend = await t.open()
      await backend.saveSnapshot(atTask('i'))
      const second = await backend.saveSnapshot(atTask('i', 'b'), { expectedRevision: 1 })
      expect(second.revision).toBe(2)
      for (const expectedRevision of [0, 1, 3, Number.MAX_SAFE_INTEGER]) {
        await failure(backend.saveSnapshot(atTask('i', 'c'), { expectedRevision }), 'CONFLICT')
        await unchanged(backend, second)
      }
      // The option decides, not the revision that the snapshot carries.
      const stale = { ...atTask('i', 'd'), revision: 1 }
      expect((await backend.saveSnapshot(stale, { expectedRevision: 2 })).revision).toBe(3)
    },
  ),

  rule('S2', 'on an instance that is not there any other number is CONFLICT', async (t) => {
    const backend = await t.open()
    for (const expectedRevision of [1, 2, 1000]) {
      await failure(backend.saveSnapshot(atTask('i'), { expectedRevision }), 'CONFLICT')
      await failure(backend.loadSnapshot('i'), 'NOT_FOUND')
    }
    await backend.saveSnapshot(atTask('i'))
    await backend.deleteSnapshot('i')
    await failure(backend.saveSnapshot(atTask('i'), { expectedRevision: 1 }), 'CONFLICT')
    expect((await backend.saveSnapshot(atTask('i'), { expectedRevision: 0 })).revision).toBe(1)
  }),

  rule('S2', 'every change counts one; claims, signals and queued events do not', async (t) => {
    const backend = await t.open()
    let expected = await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await backend.renewTaskClaim(held, LONG_MS)
    await backend.extendTaskClaim(held, 1)
    await unchanged(backend, expected)
    await backend.releaseTaskClaim(held)
    await backend.sendEvent('i', 'go', bytes('1'), { eventId: 'e' })
    await backend.consumeEvent('i', 'go')
    await backend.storeSignal('i', 'pause')
    await backend.clearSignal('i', 'pause')
    await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
    await unchanged(backend, expected)
    const changes: (() => Promise<unknown>)[] = [
      () => backend.saveTaskResult({ instanceId: 'i', taskId: 'x', output: bytes('x') }),
      () => backend.saveSnapshot(atTask('i')),
      async () => {
        const next = await claim(backend, 'i')
        await backend.commitTask({ claim: next, outcome: completed('out', toTask('b')) })
      },
      async () => {
        await backend.storeSignal('i', 'pause')
        expect(await backend.checkAndPause('i')).toBe(true)
      },
      () => backend.unpause('i'),
    ]
    for (const change of changes) {
      await change()
      const loaded = await backend.loadSnapshot('i')
      expect(loaded.revision).toBe(expected.revision + 1)
      expected = loaded
    }
  }),

  rule('S2', 'of 20 racing compare-and-sets exactly one wins', async (t) => {
    const backends = await t.openMany(4)
    for (const expectedRevision of [0, 1, 2]) {
      const outcomes = await settle(
        Array.from({ length: 20 }, async (_, index) => {
          const backend = backends[index % 4] as PersistentBackend
          await backend.saveSnapshot(marked(atTask('i'), `mark-${index}`), { expectedRevision })
          return index
        }),
      )
      const winners = outcomes.filter((outcome) => typeof outcome === 'number')
      expect(winners).toHaveLength(1)
      expect(outcomes.filter((outcome) => outcome === 'CONFLICT')).toHaveLength(19)
      const [first] = backends as [PersistentBackend]
      expect(await markOf(first, 'i')).toBe(`mark-${winners[0]}`)
      expect((await first.loadSnapshot('i')).revision).toBe(expectedRevision + 1)
    }
  }),

  rule('S2', 'of 20 racing overwrites all land, each with a revision of its own', async (t) => {
    const backends = await t.openMany(4)
    const saved = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (backends[index % 4] as PersistentBackend).saveSnapshot(marked(atTask('i'), `${index}`)),
      ),
    )
    const revisions = saved.map(({ revision }) => revision).sort((a, b) => a - b)
    expect(revisions).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
    const last = saved.find(({ revision }) => revision === 20) as WorkflowSnapshot
    await unchanged(backends[0] as PersistentBackend, last)
  }),

  rule('S2', 'read, change, compare-and-set: ten writers lose no update', async (t) => {
    const backends = await t.openMany(2)
    const [first] = backends as [PersistentBackend]
    await first.saveSnapshot(atTask('i'))
    await Promise.all(
      Array.from({ length: 10 }, async (_, index) => {
        const backend = backends[index % 2] as PersistentBackend
        for (;;) {
          const before = await backend.loadSnapshot('i')
          const after = completeTask(before, `task-${index}`, bytes(`${index}`))
          const [outcome] = await settle([
            backend.saveSnapshot(after, { expectedRevision: before.revision }),
          ])
          if (outcome !== 'CONFLICT') return
        }
      }),
    )
    const { revision, state } = await first.loadSnapshot('i')
    expect(revision).toBe(11)
    expect(state.completedTasks.size).toBe(10)
  }),

  rule(
    'S6',
    'outputs that are left alone stay; one that changes under its id is rewritten',
    async (t) => {
      const backend = await t.open()
      let snapshot = atTask('i')
      for (let step = 0; step < 30; step += 1) {
        snapshot = completeTask(snapshot, `task-${step}`, bytes(`output ${step}`))
      }
      const first = await backend.saveSnapshot(snapshot)
      const loaded = await backend.loadSnapshot('i')
      // As long as before, in the same place, in a snapshot that a save and one that a load returned.
      for (const [given, output] of [
        [first, 'CHANGED 7'],
        [loaded, 'changed 7'],
      ] as const) {
        const completedTasks = new Map(given.state.completedTasks)
        completedTasks.set('task-7', { taskId: 'task-7', output: bytes(output) })
        const changed = { ...given, state: { ...given.state, completedTasks } } as WorkflowSnapshot
        const saved = await backend.saveSnapshot(changed)
        expect(contentOf(saved)).toEqual(contentOf(changed))
        await unchanged(backend, saved)
        expect(text(await backend.loadTaskResult('i', 'task-7'))).toBe(output)
        expect(text(await backend.loadTaskResult('i', 'task-8'))).toBe('output 8')
      }
    },
  ),

  rule('S6', 'outputs that are known to be stored can be moved and left out', async (t) => {
    const backend = await t.open()
    const stored = ['a', 'b', 'c', 'd'].reduce(
      (snapshot, id) => completeTask(snapshot, id, bytes(`output of ${id}`)),
      atTask('i'),
    )
    for (const order of ['dcba', 'bacd', 'abdc', 'abc', 'ab', 'acd', 'bd', 'da', 'c', '']) {
      for (const known of ['saved', 'loaded']) {
        const saved = await backend.saveSnapshot(stored)
        const given = known === 'saved' ? saved : await backend.loadSnapshot('i')
        const { completedTasks } = given.state
        const results = Array.from(order, (id) => completedTasks.get(id) ?? expect.fail(id))
        const chosen = new Map(results.map((result) => [result.taskId, result]))
        const state = { ...given.state, completedTasks: chosen } as WorkflowSnapshot['state']
        await unchanged(backend, await backend.saveSnapshot({ ...given, state }))
        const loaded = await backend.loadSnapshot('i')
        expect([...loaded.state.completedTasks.keys()].join(''), known).toBe(order)
        for (const id of 'abcd') {
          const kept = order.includes(id) ? `output of ${id}` : null
          expect(text(await backend.loadTaskResult('i', id)), known).toBe(kept)
        }
      }
    }
  }),

  rule('S6', 'an output that its owner has written into since is stored anew', async (t) => {
    const backend = await t.open()
    const output = bytes('before')
    const own = completeTask(completeTask(atTask('i'), 'a', output), 'b', bytes('beside'))
    await backend.saveSnapshot(own)
    output.set(bytes('behind'))
    await unchanged(backend, await backend.saveSnapshot(own))
    expect(text(await backend.loadTaskResult('i', 'a'))).toBe('behind')
  }),

  rule(
    'S6',
    'results that one object stored are not lost by the save of another that never saw them',
    async (t) => {
      const [one, two] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
      const base = await one.saveSnapshot(completeTask(atTask('i'), 'x', bytes('by one')))
      await two.saveSnapshot(completeTask(base, 'x', bytes('by two')))
      // What the first object wrote is no longer what is stored.
      const again = await one.saveSnapshot(base)
      expect(plain(again.state.completedTasks)).toEqual(plain(base.state.completedTasks))
      await unchanged(two, again)
      await two.deleteSnapshot('i')
      const anew = await one.saveSnapshot(base)
      expect(anew.revision).toBe(1)
      await unchanged(two, anew)
    },
  ),

  rule(
    'S7',
    'a save that is given up in flight landed once or not at all, and whole',
    async (t) => {
      const backend = await t.open()
      const before = await backend.saveSnapshot(atTask('i'))
      const contents = [contentOf(before)]
      for (let round = 0; round < 10; round += 1) {
        const controller = new AbortController()
        const reason = new Error(`given up ${round}`)
        const next = marked(moveTo(before, { kind: 'at-task', taskId: `t${round}` }), `${round}`)
        const saving = backend.saveSnapshot(next, { signal: controller.signal })
        controller.abort(reason)
        const outcome = await saving.catch((error: unknown) => error)
        if (outcome instanceof Error) expect(outcome).toBe(reason)
        contents.push(contentOf(next))
        const loaded = await backend.loadSnapshot('i')
        expect(contents).toContainEqual(contentOf(loaded))
        expect(loaded.revision).toBeLessThanOrEqual(2 + round)
      }
    },
  ),
]
