import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { WorkflowSnapshot } from '../snapshot.ts'
import type { CommitTaskParams, TaskClaim } from '../task-claim-store.ts'
import { completeTask } from '../transitions.ts'
import { bytes, type ContractTest, collect, failure, rule, settle, text } from './context.ts'
import { at, atTask, claim, completed, found, LONG_MS, SHORT_MS, toTask } from './fixtures.ts'
import { contentOf, filled, marked, markOf, unchanged } from './stored.ts'

/** An instance with something of every kind: results, a commit's record, a claim, signals, events. */
async function furnish(
  backend: PersistentBackend,
  instanceId: string,
): Promise<{ readonly commit: CommitTaskParams; readonly held: TaskClaim }> {
  await backend.saveSnapshot(marked(atTask(instanceId), instanceId))
  const commit = {
    claim: await claim(backend, instanceId),
    outcome: completed('out', toTask('b')),
  }
  await backend.commitTask(commit)
  const held = await claim(backend, instanceId, 'b')
  await backend.sendEvent(instanceId, 'go', bytes(`event of ${instanceId}`), { eventId: 'e' })
  await backend.sendEvent(instanceId, 'go', bytes('second'))
  await backend.storeSignal(instanceId, 'pause', { reason: 'r' })
  await backend.storeSignal(instanceId, 'cancel', { reason: 'r' })
  return { commit, held }
}

/** Proves that nothing of a furnished instance is left, by creating it anew. */
export async function expectGone(
  backend: PersistentBackend,
  instanceId: string,
  { commit, held }: { readonly commit: CommitTaskParams; readonly held: TaskClaim },
): Promise<void> {
  await failure(backend.loadSnapshot(instanceId), 'NOT_FOUND')
  await failure(backend.loadTaskResult(instanceId, 'a'), 'NOT_FOUND')
  await failure(backend.commitTask(commit), 'NOT_FOUND')
  expect(await backend.getSignal(instanceId, 'cancel')).toBeNull()
  expect(await backend.consumeEvent(instanceId, 'go')).toBeNull()
  const anew = await backend.saveSnapshot(atTask(instanceId, 'b'))
  expect(anew.revision).toBe(1)
  expect(anew.state.completedTasks.size).toBe(0)
  await unchanged(backend, anew)
  for (const taskId of ['a', 'b', 'mark']) {
    expect(await backend.loadTaskResult(instanceId, taskId)).toBeNull()
  }
  expect(await backend.getSignal(instanceId, 'pause')).toBeNull()
  expect(await backend.getSignal(instanceId, 'cancel')).toBeNull()
  expect(await backend.consumeEvent(instanceId, 'go')).toBeNull()
  await backend.sendEvent(instanceId, 'go', bytes('anew'), { eventId: 'e' })
  expect(text(await backend.consumeEvent(instanceId, 'go'))).toBe('anew')
  await failure(backend.commitTask(commit), 'CLAIM_LOST')
  await failure(backend.renewTaskClaim(held, LONG_MS), 'CLAIM_LOST')
  const [task] = await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
  expect(task).toMatchObject({ instanceId, taskId: 'b', attempt: 1, deliveries: 0 })
  const fresh = await claim(backend, instanceId, 'b')
  expect(fresh.token).toBeGreaterThan(held.token)
  await failure(backend.releaseTaskClaim(held), 'CLAIM_LOST')
}

/** Rule S8: deletion. */
export const deleteTests: readonly ContractTest[] = [
  rule(
    'S8',
    'delete removes everything: an instance created anew has nothing of the old',
    async (t) => {
      const backend = await t.open()
      const old = await furnish(backend, 'i')
      await backend.deleteSnapshot('i')
      expect(await collect(backend.listSnapshots())).toEqual([])
      expect(await found(backend)).toEqual([])
      expect(await backend.stats()).toMatchObject({ available: 0, claimed: 0 })
      await expectGone(backend, 'i', old)
    },
  ),

  rule('S8', 'delete touches no other instance, however alike the ids', async (t) => {
    const backend = await t.open()
    const others = [
      'a%',
      'a_',
      'a*',
      'ab',
      'a:b',
      'a/b',
      'A',
      'a ',
      'a\u0001',
      'aa',
      '%',
      '_',
      '*',
    ].concat('{a}', '[a]', 'a\\', 'b', '\u{10ffff}')
    const claims = new Map<string, TaskClaim>()
    for (const id of others) claims.set(id, (await furnish(backend, id)).held)
    for (const victim of ['a', '%', '_', '*', 'a_', '[a]']) {
      if (!others.includes(victim)) await furnish(backend, victim)
      await backend.deleteSnapshot(victim)
      claims.delete(victim)
    }
    expect((await collect(backend.listSnapshots())).map((one) => one.instanceId).sort()).toEqual(
      [...claims.keys()].sort(),
    )
    for (const [id, held] of claims) {
      expect(await markOf(backend, id)).toBe(id)
      expect(text(await backend.loadTaskResult(id, 'a'))).toBe('out')
      expect((await backend.loadSnapshot(id)).state.completedTasks.size).toBe(2)
      await backend.renewTaskClaim(held, LONG_MS)
      expect(text(await backend.consumeEvent(id, 'go'))).toBe(`event of ${id}`)
      expect(text(await backend.consumeEvent(id, 'go'))).toBe('second')
      expect((await backend.getSignal(id, 'pause'))?.reason).toBe('r')
      expect((await backend.getSignal(id, 'cancel'))?.reason).toBe('r')
    }
  }),

  rule('S8', 'deleting what is not there is NOT_FOUND', async (t) => {
    const backend = await t.open()
    const error = await failure(backend.deleteSnapshot('i'), 'NOT_FOUND')
    expect(error.instanceId).toBe('i')
    await backend.saveSnapshot(atTask('i'))
    await backend.deleteSnapshot('i')
    await failure(backend.deleteSnapshot('i'), 'NOT_FOUND')
  }),

  rule('S8', 'delete works whatever the state, and while a claim is held', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i', 'a', { ttlMs: SHORT_MS })
    await backend.deleteSnapshot('i')
    const outcome = completed('out', toTask('b'))
    await failure(backend.commitTask({ claim: held, outcome }), 'NOT_FOUND')
    await failure(backend.releaseTaskClaim(held), 'NOT_FOUND')
    await failure(backend.renewTaskClaim(held, LONG_MS), 'NOT_FOUND')
    await t.elapse(SHORT_MS)
    // The claim's end does not bring the task back.
    expect(await found(backend)).toEqual([])
    await failure(backend.claimTask({ ...held, ttlMs: LONG_MS }), 'NOT_FOUND')
  }),

  rule('S8', 'a delete among racing saves leaves a whole instance or none', async (t) => {
    const backends = await t.openMany(4)
    const [first] = backends as [PersistentBackend]
    for (let round = 0; round < 5; round += 1) {
      await first.saveSnapshot(marked(atTask('i'), 'first'))
      await settle(
        backends.map(async (backend, index) => {
          if (index === 1) await backend.deleteSnapshot('i')
          else await backend.saveSnapshot(marked(atTask('i', `t${index}`), `${index}`))
        }),
      )
      const listed = await collect(first.listSnapshots())
      const [loaded] = await settle([first.loadSnapshot('i')])
      if (loaded === 'NOT_FOUND') {
        expect(listed).toEqual([])
        expect(await found(first)).toEqual([])
        continue
      }
      expect(listed).toHaveLength(1)
      const available = await found(first)
      expect(available).toHaveLength(1)
      expect(available[0]).toBe(`i/t${await markOf(first, 'i')}`)
      await first.deleteSnapshot('i')
    }
  }),

  rule('S8', 'delete removes large results too', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const output = filled(1_500_000, 7)
    await backend.saveTaskResult({ instanceId: 'i', taskId: 'large', output })
    await backend.deleteSnapshot('i')
    await backend.saveSnapshot(atTask('i'))
    expect(await backend.loadTaskResult('i', 'large')).toBeNull()
    expect((await backend.loadSnapshot('i')).state.completedTasks.size).toBe(0)
  }),

  rule('S8', 'what another object remembers of an instance is nothing to a new one', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    const changes: readonly ((instanceId: string) => Promise<unknown>)[] = [
      (id) => backend.saveTaskResult({ instanceId: id, taskId: 'r', output: bytes('r') }),
      (id) => backend.storeSignal(id, 'cancel').then(() => backend.clearSignal(id, 'cancel')),
      (id) => backend.sendEvent(id, 'go', bytes('x')),
      (id) => backend.storeSignal(id, 'pause').then(() => backend.checkAndPause(id)),
      (id) => failure(backend.unpause(id), 'CANNOT_PAUSE'),
    ]
    for (const [index, change] of changes.entries()) {
      const id = `i-${index}`
      await backend.saveSnapshot(atTask(id, 'old', { tags: ['old'] }))
      // Known by heart, claim and all.
      const held = await claim(backend, id, 'old')
      await backend.loadSnapshot(id)
      await other.deleteSnapshot(id)
      const position = { kind: 'at-task', taskId: 'new' } as const
      const content = { definitionHash: 'new', initialInput: bytes('new'), tags: ['new'] }
      await other.saveSnapshot({ ...at(id, position), ...content })
      await claim(other, id, 'new')
      await change(id)
      const loaded = await other.loadSnapshot(id)
      expect(loaded).toMatchObject({ ...content, state: { position } })
      await failure(
        backend.commitTask({ claim: held, outcome: completed('o', toTask('x')) }),
        'CLAIM_LOST',
      )
      expect((await other.loadSnapshot(id)).revision).toBe(loaded.revision)
    }
  }),

  rule('S8', 'outputs that were loaded from a deleted instance are stored anew', async (t) => {
    const backend = await t.open()
    const ids = ['a', 'b', 'c']
    const withOutputs = (of: string): WorkflowSnapshot =>
      ids.reduce((snapshot, id) => completeTask(snapshot, id, bytes(of + id)), atTask('i'))
    const saved = await backend.saveSnapshot(withOutputs('old '))
    for (const known of [saved, await backend.loadSnapshot('i')]) {
      await backend.deleteSnapshot('i')
      // Of the same revision, with outputs of the same names.
      await backend.saveSnapshot(withOutputs('new '))
      const again = await backend.saveSnapshot(known)
      expect(contentOf(again)).toEqual(contentOf(known))
      await unchanged(backend, again)
    }
  }),
]
