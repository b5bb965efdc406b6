import { expect, vi } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { TaskClaim } from '../task-claim-store.ts'
import { type ContractContext, type ContractTest, rule } from './context.ts'
import { atFork, atTask, claim, found, LONG_MS, SHORT_MS, toTask, WORKER } from './fixtures.ts'
import { BEHIND_MS, CLAIM_NEXT, commit, storeTime, together } from './steps.ts'
import { unchanged } from './stored.ts'

/** Claims task `a` of instance `i` for `workerId`, if it is free. */
function tryClaim(
  backend: PersistentBackend,
  workerId: string = WORKER,
  ttlMs: number | null = LONG_MS,
): Promise<TaskClaim | null> {
  return backend.claimTask({ instanceId: 'i', taskId: 'a', workerId, ttlMs })
}

/** Those of the racing claims that won. */
async function race(
  backends: readonly PersistentBackend[],
  count: number,
  workerOf: (index: number) => string,
): Promise<TaskClaim[]> {
  const claims = await together(count, (index) =>
    tryClaim(backends[index % backends.length] as PersistentBackend, workerOf(index)),
  )
  return claims.filter((won) => won !== null)
}

/** By how much two readings of the store's clock may disagree. */
function slackMs({ capabilities }: ContractContext): number {
  return capabilities.clock === 'store' ? 0 : capabilities.clock.maxErrorMs
}

/** Rule C1. */
const racing: readonly ContractTest[] = [
  rule('C1', 'of 50 workers that claim a task at once, exactly one wins', async (t) => {
    const backends = await t.openMany(5)
    const [backend] = backends as [PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    const winners = await race(backends, 50, (index) => `w${index}`)
    expect(winners).toHaveLength(1)
    const [winner] = winners as [TaskClaim]
    for (const other of backends) expect(await tryClaim(other, 'late')).toBeNull()
    expect(await backend.renewTaskClaim(winner, LONG_MS)).toMatchObject({ token: winner.token })
  }),

  rule('C1', 'a worker does not win twice: not at once, and not again', async (t) => {
    const backends = await t.openMany(5)
    const [backend] = backends as [PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    const winners = await race(backends, 50, () => WORKER)
    expect(winners).toHaveLength(1)
    for (const other of backends) expect(await tryClaim(other)).toBeNull()
    // The lease of the one that won is as it was.
    const [winner] = winners as [TaskClaim]
    expect(await backend.extendTaskClaim(winner, 1)).toEqual({
      ...winner,
      expiresAt: (winner.expiresAt as number) + 1,
    })
  }),

  rule('C1', 'an expired claim that many take over at once goes to exactly one', async (t) => {
    const backends = await t.openMany(5)
    const [backend] = backends as [PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    await claim(backend, 'i', 'a', { ttlMs: SHORT_MS })
    await t.elapse(SHORT_MS)
    expect(await race(backends, 30, (index) => `w${index % 10}`)).toHaveLength(1)
  }),

  rule('C1', 'races on many tasks at once have one winner each', async (t) => {
    const backends = await t.openMany(4)
    const [backend] = backends as [PersistentBackend]
    await together(20, (index) => backend.saveSnapshot(atTask(`i${index}`)))
    const claims = await together(200, (index) =>
      (backends[index % 4] as PersistentBackend).claimTask({
        instanceId: `i${index % 20}`,
        taskId: 'a',
        workerId: `w${Math.floor(index / 20)}`,
        ttlMs: null,
      }),
    )
    const won = claims.filter((one) => one !== null).map(({ instanceId }) => instanceId)
    expect(won).toHaveLength(20)
    expect(new Set(won).size).toBe(20)
  }),
]

/** Rule C2. */
const expiring: readonly ContractTest[] = [
  rule('C2', 'a claim names its task, its holder and its time', async (t) => {
    const backend = await t.open()
    const saved = await backend.saveSnapshot(atTask('i'))
    const before = await storeTime(backend)
    const won = await claim(backend, 'i', 'a', { workerId: 'w', ttlMs: 1234 })
    const after = await storeTime(backend)
    expect(won).toEqual({
      instanceId: 'i',
      taskId: 'a',
      workerId: 'w',
      token: expect.any(Number),
      claimedAt: expect.any(Number),
      expiresAt: won.claimedAt + 1234,
    })
    expect(Number.isSafeInteger(won.token)).toBe(true)
    expect(won.claimedAt).toBeGreaterThanOrEqual(before - slackMs(t))
    expect(won.claimedAt).toBeLessThanOrEqual(after + slackMs(t) + BEHIND_MS)
    // A claim is no change of the snapshot.
    await unchanged(backend, saved)
  }),

  rule('C2', 'a claim ends when the store’s clock reaches its end, not before', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    const first = await claim(backend, 'i', 'a', { ttlMs: 20 })
    const expiresAt = first.expiresAt as number
    let second: TaskClaim | null
    do {
      const now = await storeTime(other)
      second = await tryClaim(other, 'w2')
      if (second === null) {
        expect(now, 'a claim that had ended was not taken').toBeLessThan(expiresAt + slackMs(t))
        await t.elapse(0)
      }
    } while (second === null)
    expect(second.claimedAt).toBeGreaterThanOrEqual(expiresAt - slackMs(t))
    expect(second).toMatchObject({ workerId: 'w2', expiresAt: second.claimedAt + LONG_MS })
  }),

  rule('C2', 'an expired task is found again, and not while the claim lives', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atTask('long'))
    await backend.saveSnapshot(atTask('short'))
    await claim(backend, 'long')
    await claim(backend, 'short', 'a', { ttlMs: SHORT_MS })
    await t.elapse(SHORT_MS)
    expect(await found(other)).toEqual(['short/a'])
    expect(await found(backend)).toEqual(['short/a'])
    const claimed = await other.claimAvailableTasks({ workerId: 'w2', limit: 9, ttlMs: LONG_MS })
    expect(claimed.map(({ task }) => task.instanceId)).toEqual(['short'])
    expect(await found(backend)).toEqual([])
  }),

  rule('C2', 'a claim without a time to live never expires', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i', 'a', { ttlMs: null })
    expect(held.expiresAt).toBeNull()
    // A hundred years, where the clock can be moved.
    await t.elapse(t.harness.elapse === undefined ? SHORT_MS : 100 * 365 * 86_400_000)
    expect(await tryClaim(backend, 'w2')).toBeNull()
    expect(await found(backend)).toEqual([])
    await commit(backend, held, 'out', toTask('b'))
    const [next] = await backend.claimAvailableTasks({ workerId: WORKER, limit: 1, ttlMs: null })
    expect(next?.claim.expiresAt).toBeNull()
  }),

  rule('C2', 'a fraction of a millisecond is rounded up', async (t) => {
    const backend = await t.open()
    for (const [ttlMs, whole] of [
      [0.001, 1],
      [1.5, 2],
      [999_999.01, 1_000_000],
    ] as const) {
      const instanceId = `i${whole}`
      await backend.saveSnapshot(atTask(instanceId))
      const held = await claim(backend, instanceId, 'a', { ttlMs })
      expect((held.expiresAt as number) - held.claimedAt).toBe(whole)
      await t.elapse(whole < 10 ? whole : 0)
    }
    const claimed = await backend.claimAvailableTasks({ workerId: WORKER, limit: 9, ttlMs: 10.5 })
    expect(claimed).toHaveLength(2)
    for (const { claim: won } of claimed) expect(won.expiresAt).toBe(won.claimedAt + 11)
  }),

  rule('C2', 'a worker whose own clock is wrong claims no sooner and no longer', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    const before = await storeTime(backend)
    // Not where this process's clock is the store's: one of its own, a moved one, the client's.
    const { clock, shared } = t.capabilities
    const mayShift = t.harness.elapse === undefined && clock === 'store' && shared
    for (const hours of [1, -1]) {
      const right = Date.now
      const shiftMs = mayShift ? hours * 3_600_000 : 0
      const spy = vi.spyOn(Date, 'now').mockImplementation(() => right.call(Date) + shiftMs)
      try {
        const held = await claim(other, 'i', 'a', { ttlMs: 60_000 })
        expect(held.claimedAt - before).toBeGreaterThanOrEqual(-slackMs(t))
        expect(held.claimedAt - before).toBeLessThan(600_000)
        expect(await tryClaim(other, 'w2')).toBeNull()
        expect(await found(other)).toEqual([])
        const renewed = await other.renewTaskClaim(held, SHORT_MS)
        expect(renewed.expiresAt as number).toBeLessThan(held.expiresAt as number)
        await t.elapse(SHORT_MS)
        expect(await found(other)).toEqual(['i/a'])
        const again = await claim(other, 'i')
        expect(again.claimedAt).toBeGreaterThanOrEqual(renewed.expiresAt as number)
        await other.releaseTaskClaim(again)
      } finally {
        spy.mockRestore()
      }
    }
  }),
]

/** Rule C3. */
const tokens: readonly ContractTest[] = [
  rule('C3', 'tokens grow through expiry, release, renewal, commits and deletion', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    const tokens: number[] = []
    const take = async (on: PersistentBackend, ttlMs: number | null = LONG_MS) => {
      const held = await claim(on, 'i', 'a', { ttlMs })
      tokens.push(held.token)
      return held
    }
    const expired = await take(backend, SHORT_MS)
    await t.elapse(SHORT_MS)
    const renewed = await take(other)
    expect(expired.token).toBeLessThan(renewed.token)
    expect(await other.renewTaskClaim(renewed, LONG_MS)).toMatchObject({ token: renewed.token })
    expect(await other.extendTaskClaim(renewed, LONG_MS)).toMatchObject({ token: renewed.token })
    await other.releaseTaskClaim(renewed)
    const retried = await take(backend)
    await backend.commitTask({
      claim: retried,
      outcome: { kind: 'retry', error: 'again', delayMs: 0 },
    })
    await commit(other, await take(other), 'out', toTask('a'))
    await take(backend)
    await backend.deleteSnapshot('i')
    await other.saveSnapshot(atTask('i'))
    await take(other)
    await backend.deleteSnapshot('i')
    await backend.saveSnapshot(atTask('i'))
    const [dispatched] = await other.claimAvailableTasks({
      workerId: WORKER,
      limit: 1,
      ttlMs: LONG_MS,
    })
    if (dispatched === undefined) expect.fail('the task should be available')
    tokens.push(dispatched.claim.token)
    const { next } = await commit(other, dispatched.claim, 'out', toTask('a'), CLAIM_NEXT)
    tokens.push(next?.claim.token ?? expect.fail('the next task should be claimed'))
    await backend.saveSnapshot(atTask('i', 'elsewhere'))
    await backend.saveSnapshot(atTask('i'))
    await take(other)
    expect(tokens).toHaveLength(9)
    expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b))
  }),

  rule('C3', 'tokens grow through closing and opening a durable store', async (t) => {
    const namespace = t.namespace()
    let last = -1
    for (const step of ['create', 'release', 'recreate', 'release', 'recreate'] as const) {
      const backend = await t.openOn(namespace)
      if (step === 'recreate' && t.capabilities.durable) await backend.deleteSnapshot('i')
      // A store that is not durable starts empty, and its tokens with it.
      if (step !== 'release' || !t.capabilities.durable) await backend.saveSnapshot(atTask('i'))
      const held = await claim(backend, 'i')
      if (t.capabilities.durable) expect(held.token).toBeGreaterThan(last)
      last = held.token
      await backend.releaseTaskClaim(held)
      expect((await claim(backend, 'i')).token).toBeGreaterThan(last)
      await backend.releaseTaskClaim({ instanceId: 'i', taskId: 'a', workerId: WORKER })
      await backend.close()
    }
  }),

  rule('C3', 'tokens of claims that many objects make at once all differ and grow', async (t) => {
    const backends = await t.openMany(4)
    await (backends[0] as PersistentBackend).saveSnapshot(atTask('i'))
    const tokens = await together(40, async (index) => {
      const backend = backends[index % 4] as PersistentBackend
      const won: number[] = []
      const held = await tryClaim(backend, `w${index}`)
      if (held !== null) {
        won.push(held.token)
        await backend.releaseTaskClaim(held)
      }
      return won
    })
    const all = tokens.flat()
    expect(all.length).toBeGreaterThan(0)
    expect(new Set(all).size).toBe(all.length)
    const last = await claim(backends[1] as PersistentBackend, 'i')
    for (const token of all) expect(token).toBeLessThan(last.token)
  }),
]

/** Rule C7. */
const concurrent: readonly ContractTest[] = [
  rule('C7', 'two workers hold different tasks of one instance at once', async (t) => {
    const [one, two] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await one.saveSnapshot(atFork('i', ['x', 'y', 'z']))
    const [x, y] = await Promise.all([
      claim(one, 'i', 'x', { workerId: 'w1' }),
      claim(two, 'i', 'y', { workerId: 'w2' }),
    ])
    expect(await found(one)).toEqual(['i/z'])
    // What happens to one is nothing to the other.
    const renewed = await one.renewTaskClaim(x, 2 * LONG_MS)
    await one.releaseTaskClaim(renewed)
    expect((await found(two)).toSorted()).toEqual(['i/x', 'i/z'])
    expect(await two.extendTaskClaim(y, 5)).toEqual({
      ...y,
      expiresAt: (y.expiresAt as number) + 5,
    })
    const again = await claim(two, 'i', 'x', { workerId: 'w2' })
    await commit(two, y, 'from y', { branch: null })
    await commit(two, again, 'from x', { branch: null })
    expect(await found(one)).toEqual(['i/z'])
  }),

  rule('C7', 'two hundred tasks of one instance are two hundred claims', async (t) => {
    const backend = await t.open()
    const ids = Array.from({ length: 200 }, (_, index) => `t${index}`)
    await backend.saveSnapshot(atFork('i', ids))
    const batches = await together(10, (index) =>
      backend.claimAvailableTasks({ workerId: `w${index}`, limit: 20, ttlMs: LONG_MS }),
    )
    const claimed = batches.flat().map(({ task }) => task.taskId)
    expect(claimed.toSorted()).toEqual(ids.toSorted())
    expect(await found(backend)).toEqual([])
  }),
]

/** Claims: who gets them, for how long, under which token. */
export const taskClaimStoreTests: readonly ContractTest[] = [
  ...racing,
  ...expiring,
  ...tokens,
  ...concurrent,
]
