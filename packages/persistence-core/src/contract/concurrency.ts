import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { AvailableTask, ClaimedTask, TaskClaim } from '../task-claim-store.ts'
import { bytes, type ContractTest, refused, rule, settle, text } from './context.ts'
import {
  atFork,
  atTask,
  claim,
  completed,
  found,
  LONG_MS,
  SHORT_MS,
  toEnd,
  toTask,
} from './fixtures.ts'
import { CLAIM_NEXT, commit, outputsOf, storeTime, together } from './steps.ts'

/** Sizes and shares of a thousand pending tasks that a worker can not take. */
const IRRELEVANT: Readonly<
  Record<string, (index: number, now: number) => { tags?: string[]; availableAt?: number }>
> = {
  'tagged for others': (index) => ({ tags: [`tag${index % 97}`, 'gpu'] }),
  'in the future': (index, now) => ({ availableAt: now + LONG_MS + index }),
}

/** Rule D8, at a small scale: that what must be passed over does not hide what is there. */
const scale: readonly ContractTest[] = [
  rule('D8', 'among 3,000 tasks that are not for it, a worker finds its own', async (t) => {
    const backend = await t.open()
    const now = await storeTime(backend)
    for (const [kind, of] of Object.entries(IRRELEVANT)) {
      const tasks = Array.from({ length: 1000 }, (_, index) => ({
        taskId: `t${index}`,
        priority: 1,
        ...of(index, now),
      }))
      await backend.saveSnapshot(atFork(kind, tasks))
    }
    await backend.saveSnapshot(
      atFork(
        'of another definition',
        Array.from({ length: 1000 }, (_, index) => ({ taskId: `t${index}`, priority: 1 })),
        { definitionHash: 'definition-2' },
      ),
    )
    const mine = ['m0', 'm1', 'm2', 'm3', 'm4']
    for (const instanceId of mine)
      await backend.saveSnapshot(atTask(instanceId, 'a', { priority: 5 }))
    const filter = { tags: ['mine'], definitionHashes: ['definition-1'] }
    const all = mine.map((instanceId) => `${instanceId}/a`)
    expect((await found(backend, filter)).toSorted()).toEqual(all)
    expect(await found(backend, { ...filter, limit: 2 })).toHaveLength(2)
    const params = { workerId: 'w', ttlMs: LONG_MS, ...filter }
    const first = await backend.claimAvailableTasks({ ...params, limit: 3 })
    const second = await backend.claimAvailableTasks({ ...params, limit: 3 })
    const claimed = [...first, ...second].map(({ task }) => `${task.instanceId}/${task.taskId}`)
    expect(claimed.toSorted()).toEqual(all)
    expect(await backend.waitForWakeup({ timeoutMs: 0, ...filter })).toBeNull()
    const held = first[0]?.claim ?? expect.fail()
    const none = await commit(backend, held, 'out', toEnd('end'), { ttlMs: LONG_MS, ...filter })
    expect(none.next).toBeNull()
    expect(await found(backend, { tags: ['gpu', 'tag5'] })).toHaveLength(1000)
    const tagged = { tags: ['gpu', 'tag5'], definitionHashes: ['definition-1'] }
    expect(await found(backend, tagged)).toHaveLength(11)
  }),
]

/** Rule D10: calls in flight together. */
const inFlight: readonly ContractTest[] = [
  rule('D10', 'of 200 calls in flight each succeeds or fails on its own', async (t) => {
    const backend = await t.open({ maxPayloadBytes: 1000 })
    const claims = new Map<string, TaskClaim>()
    const count = 20
    const ids = (kind: string) => Array.from({ length: count }, (_, index) => `${kind}${index}`)
    for (const kind of ['commit', 'stale', 'renew', 'zombie', 'fenced']) {
      for (const instanceId of ids(kind)) {
        await backend.saveSnapshot(atTask(instanceId))
        claims.set(instanceId, await claim(backend, instanceId, 'a', { workerId: 'w1' }))
      }
    }
    const held = (instanceId: string) => claims.get(instanceId) ?? expect.fail()
    for (const instanceId of [...ids('stale'), ...ids('zombie')]) {
      await backend.releaseTaskClaim(held(instanceId))
      await claim(backend, instanceId, 'a', { workerId: 'w2' })
    }
    await Promise.all(ids('there').map((id) => backend.saveSnapshot(atTask(id))))
    const kinds: Record<string, (instanceId: string, index: number) => Promise<unknown>> = {
      new: (id) => backend.saveSnapshot(atTask(id), { expectedRevision: 0 }),
      there: (id) => backend.saveSnapshot(atTask(id), { expectedRevision: 0 }),
      fenced: (id) =>
        backend.saveSnapshot({ ...atTask(id, 'b'), revision: 1 }, { claim: held(id) }),
      missing: (id) =>
        backend.saveSnapshot(atTask(id), { claim: { ...held('fenced0'), instanceId: id } }),
      commit: (id, index) => commit(backend, held(id), `out ${index}`, toTask('b')),
      stale: (id) => commit(backend, held(id), 'stale', toEnd('stale')),
      unknown: (id) => commit(backend, { ...held('commit0'), instanceId: id }, '', toTask('b')),
      large: (id) =>
        commit(backend, { ...held('commit0'), instanceId: id }, 'x'.repeat(1001), toTask('b')),
      renew: (id, index) => backend.renewTaskClaim(held(id), LONG_MS + index),
      zombie: (id) => backend.renewTaskClaim(held(id), 2 * LONG_MS),
    }
    const calls = Object.entries(kinds).flatMap(([kind, call]) =>
      ids(kind).map((instanceId, index) => ({
        kind,
        at: index,
        run: () => call(instanceId, index),
      })),
    )
    // Every kind among every other.
    calls.sort((a, b) => a.at - b.at)
    expect(calls).toHaveLength(200)
    const settled = await settle(calls.map(({ run }) => run()))
    const byKind = Object.groupBy(
      settled.map((result, index) => ({ result, kind: calls[index]?.kind ?? '' })),
      ({ kind }) => kind,
    )
    const all = (kind: string) => byKind[kind]?.map(({ result }) => result) ?? []
    expect(all('new')).toEqual(
      ids('new').map((id) => expect.objectContaining({ instanceId: id, revision: 1 })),
    )
    expect(all('there')).toEqual(ids('there').map(() => 'CONFLICT'))
    expect(all('fenced')).toEqual(
      ids('fenced').map((id) => expect.objectContaining({ instanceId: id, revision: 2 })),
    )
    expect(all('missing')).toEqual(ids('missing').map(() => 'NOT_FOUND'))
    expect(all('commit')).toEqual(
      ids('commit').map(() => ({ revision: 2, status: 'in-progress', next: null })),
    )
    expect(all('stale')).toEqual(ids('stale').map(() => 'CLAIM_LOST'))
    expect(all('unknown')).toEqual(ids('unknown').map(() => 'NOT_FOUND'))
    expect(all('large')).toEqual(ids('large').map(() => 'PAYLOAD_TOO_LARGE'))
    expect(all('renew')).toEqual(
      ids('renew').map((id) => expect.objectContaining({ instanceId: id, token: held(id).token })),
    )
    expect(all('zombie')).toEqual(ids('zombie').map(() => 'CLAIM_LOST'))
    for (const [index, instanceId] of ids('commit').entries()) {
      expect(outputsOf(await backend.loadSnapshot(instanceId))).toEqual([['a', `out ${index}`]])
      expect(outputsOf(await backend.loadSnapshot(`stale${index}`))).toEqual([])
    }
    const available = ['commit', 'fenced'].flatMap((kind) => ids(kind).map((id) => `${id}/b`))
    const untouched = ['new', 'there'].flatMap((kind) => ids(kind).map((id) => `${id}/a`))
    expect((await found(backend)).toSorted()).toEqual([...available, ...untouched].toSorted())
  }),

  rule('D10', 'calls on one instance in flight together are one after the other', async (t) => {
    const backends = await t.openMany(2)
    const [backend] = backends as [PersistentBackend]
    const ids = Array.from({ length: 30 }, (_, index) => `x${index}`)
    await backend.saveSnapshot(atFork('i', ids))
    const claims = await Promise.all(ids.map((taskId) => claim(backend, 'i', taskId)))
    const receipts = await together(60, (index) => {
      const held = claims[index % 30] ?? expect.fail()
      const on = backends[index % 2] as PersistentBackend
      // Each is sent twice: the second is a repeat, wherever it lands.
      return commit(on, held, `from ${held.taskId}`, { branch: null })
    })
    for (let index = 0; index < 30; index += 1)
      expect(receipts[index]).toEqual(receipts[index + 30])
    const revisions = receipts.slice(0, 30).map(({ revision }) => revision)
    expect(revisions.toSorted((a, b) => a - b)).toEqual(ids.map((_, index) => index + 2))
    const after = await backend.loadSnapshot('i')
    expect(after.revision).toBe(31)
    expect(after.state.completedTasks.size).toBe(30)
    const [join] = await backend.claimAvailableTasks({ workerId: 'w', limit: 9, ttlMs: LONG_MS })
    expect(join?.task.taskId).toBe('join')
    expect(
      [...(join?.task.branches ?? [])].map(([id, { output }]) => [id, text(output)]).toSorted(),
    ).toEqual(ids.map((id) => [id, `from ${id}`]).toSorted())
  }),

  rule('D10', 'compare-and-sets in flight together: each revision is won once', async (t) => {
    const backends = await t.openMany(2)
    const [backend] = backends as [PersistentBackend]
    let snapshot = await backend.saveSnapshot(atTask('i'))
    for (let round = 0; round < 3; round += 1) {
      const expectedRevision = snapshot.revision
      const saves = await settle(
        Array.from({ length: 20 }, (_, index) =>
          (backends[index % 2] as PersistentBackend).saveSnapshot(atTask('i', `t${index}`), {
            expectedRevision,
          }),
        ),
      )
      const won = saves.filter((one) => typeof one !== 'string')
      expect(won).toHaveLength(1)
      expect(saves.filter((one) => one === 'CONFLICT')).toHaveLength(19)
      snapshot = await backend.loadSnapshot('i')
      expect(snapshot).toEqual(won[0])
    }
  }),

  rule('D10', 'a call with wrong arguments does not touch those beside it', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atFork('fork', ['x']))
    await backend.saveSnapshot(atTask('i'))
    const inFork = await claim(backend, 'fork', 'x')
    const held = await claim(backend, 'i')
    const beside = [
      commit(backend, held, 'out', toTask('b')),
      backend.saveSnapshot(atTask('j')),
      backend.renewTaskClaim(inFork, LONG_MS),
    ]
    // One is found out by its arguments, one only by the position that is stored.
    await Promise.all([
      refused(() => commit(backend, held, 'out', { position: { kind: 'at-task', taskId: '' } })),
      refused(() => commit(backend, inFork, 'out', toTask('b')), TypeError),
      refused(() => backend.renewTaskClaim(held, -1), RangeError),
      ...beside,
    ])
    expect((await found(backend)).toSorted()).toEqual(['i/b', 'j/a'])
    await commit(backend, inFork, 'out', { branch: null })
  }),

  rule('D10', 'an aborted call does not touch those beside it', async (t) => {
    const backend = await t.open()
    const abort = new AbortController()
    const reason = new Error('given up')
    const saves = Array.from({ length: 10 }, (_, index) =>
      backend.saveSnapshot(atTask(`i${index}`), index === 5 ? { signal: abort.signal } : undefined),
    )
    const aborted = (saves[5] as Promise<unknown>).then(
      () => 'saved',
      (error: unknown) => error,
    )
    abort.abort(reason)
    // It may have been done already.
    expect([reason, 'saved']).toContain(await aborted)
    const others = await Promise.all(saves.filter((_, index) => index !== 5))
    expect(others.map(({ instanceId }) => instanceId)).toHaveLength(9)
  }),
]

/** Rules D5 and D6 together: whole workflows, by many workers, some of whom die. */
const drains: readonly ContractTest[] = [
  rule(
    'D5',
    'workers that commit with claimNext run each step of each instance once',
    async (t) => {
      const backends = await t.openMany(4)
      const [first] = backends as [PersistentBackend]
      const ids = Array.from({ length: 24 }, (_, index) => `i${index}`)
      await Promise.all(ids.map((instanceId) => first.saveSnapshot(atTask(instanceId))))
      const runs: string[] = []
      await together(8, async (index) => {
        const backend = backends[index % 4] as PersistentBackend
        const workerId = `w${index}`
        for (;;) {
          let [work = null]: (ClaimedTask | null)[] = await backend.claimAvailableTasks({
            workerId,
            limit: 1,
            ttlMs: LONG_MS,
          })
          if (work === null) return
          while (work !== null) {
            const { instanceId, taskId }: AvailableTask = work.task
            runs.push(`${instanceId}/${taskId}`)
            if (runs.length > 1000) expect.fail('the workflows never end')
            const next = taskId === 'a' ? toTask('b') : taskId === 'b' ? toTask('c') : toEnd('end')
            work = (await commit(backend, work.claim, taskId, next, CLAIM_NEXT)).next
          }
        }
      })
      const steps = ids.flatMap((instanceId) => ['a', 'b', 'c'].map((id) => `${instanceId}/${id}`))
      expect(runs.toSorted()).toEqual(steps.toSorted())
      for (const instanceId of ids) {
        const { revision, state } = await first.loadSnapshot(instanceId)
        expect([revision, state.status]).toEqual([4, 'completed'])
      }
    },
  ),

  rule('C4', 'of a worker that died and its successors only one commit counts', async (t) => {
    const backends = await t.openMany(4)
    const [first] = backends as [PersistentBackend]
    const ids = Array.from({ length: 10 }, (_, index) => `i${index}`)
    await Promise.all(ids.map((instanceId) => first.saveSnapshot(atTask(instanceId))))
    const params = { limit: 10, ttlMs: SHORT_MS }
    const dead = await first.claimAvailableTasks({ ...params, workerId: 'dead' })
    expect(dead).toHaveLength(10)
    await t.elapse(SHORT_MS)
    const alive = (
      await together(3, (index) =>
        (backends[index + 1] as PersistentBackend).claimAvailableTasks({
          workerId: `w${index}`,
          limit: 10,
          ttlMs: LONG_MS,
        }),
      )
    ).flat()
    expect(alive.map(({ task }) => task.instanceId).toSorted()).toEqual(ids.toSorted())
    // The dead come back, and everybody commits at once.
    const outcomes = await settle(
      [...dead, ...alive].map(({ claim: held }, index) =>
        (backends[index % 4] as PersistentBackend).commitTask({
          claim: held,
          outcome: completed(held.workerId, toEnd(held.workerId)),
        }),
      ),
    )
    // Whichever came first: the claim is lost before, and the instance has ended after it.
    for (const outcome of outcomes.slice(0, 10))
      expect(['CLAIM_LOST', 'TERMINAL']).toContain(outcome)
    expect(outcomes.slice(10)).toEqual(
      ids.map(() => ({ revision: 2, status: 'completed', next: null })),
    )
    for (const { claim: held } of alive) {
      const { state } = await first.loadSnapshot(held.instanceId)
      expect(state).toMatchObject({ finalOutput: bytes(held.workerId) })
    }
  }),
]

/** Many at once. */
export const concurrencyTests: readonly ContractTest[] = [...scale, ...inFlight, ...drains]
