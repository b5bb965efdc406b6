import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { bytes, type ContractTest, failure, rule } from './context.ts'
import { at, atFork, atTask, claim, found, LONG_MS, SHORT_MS, toEnd, toTask } from './fixtures.ts'
import { commit, storeTime } from './steps.ts'
import { endsWith, wait } from './waiting.ts'

/**
 * Each starts with no work, and brings some: task `a` of instance `i`, by what it returns, or when
 * the store's clock comes to the time that it returns.
 */
const ways: Readonly<
  Record<string, (backend: PersistentBackend) => Promise<number | (() => Promise<unknown>)>>
> = {
  'a save': async (backend) => () => backend.saveSnapshot(atTask('i')),
  'a save that moves on': async (backend) => {
    await backend.saveSnapshot(at('i', { kind: 'not-started' }))
    return () => backend.saveSnapshot(atTask('i'))
  },
  'a commit': async (backend) => {
    await backend.saveSnapshot(atTask('i', 'before'))
    const held = await claim(backend, 'i', 'before')
    return () => commit(backend, held, 'out', toTask('a'))
  },
  'the last branch of a fork': async (backend) => {
    const fork = atFork('i', ['x'])
    if (fork.state.status !== 'in-progress' || fork.state.position.kind !== 'at-fork') expect.fail()
    const position = { ...fork.state.position, join: { taskId: 'a' } }
    await backend.saveSnapshot({ ...fork, state: { ...fork.state, position } })
    const held = await claim(backend, 'i', 'x')
    return () => commit(backend, held, 'out', { branch: null })
  },
  'a retry': async (backend) => {
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const outcome = { kind: 'retry', error: 'e', delayMs: 0 } as const
    return () => backend.commitTask({ claim: held, outcome })
  },
  'a release': async (backend) => {
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    return () => backend.releaseTaskClaim(held)
  },
  'a save that releases': async (backend) => {
    const saved = await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    return () => backend.saveSnapshot(saved, { claim: held, release: true })
  },
  'an expired claim': async (backend) => {
    await backend.saveSnapshot(atTask('i'))
    return (await claim(backend, 'i', 'a', { ttlMs: SHORT_MS })).expiresAt as number
  },
  'the end of a renewal': async (backend) => {
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    return (await backend.renewTaskClaim(held, SHORT_MS)).expiresAt as number
  },
  'a delay that is over': async (backend) => {
    const wakeAt = (await storeTime(backend)) + SHORT_MS
    await backend.saveSnapshot(
      at('i', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt, nextTaskId: 'a' }),
    )
    return wakeAt
  },
  'a pending task that falls due': async (backend) => {
    const availableAt = (await storeTime(backend)) + SHORT_MS
    await backend.saveSnapshot(atFork('i', [{ taskId: 'a', availableAt }]))
    return availableAt
  },
  'a backoff that is over': async (backend) => {
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const outcome = { kind: 'retry', error: 'e', delayMs: SHORT_MS } as const
    await backend.commitTask({ claim: held, outcome })
    return (await backend.loadSnapshot('i')).retries.get('a')?.nextRetryAt as number
  },
  'an event': async (backend) => {
    await backend.saveSnapshot(
      at('i', {
        kind: 'at-signal',
        signalId: 's',
        signalName: 'paid',
        wakeAt: null,
        nextTaskId: 'a',
      }),
    )
    return () => backend.sendEvent('i', 'paid', bytes('yes'))
  },
  'a signal whose time is up': async (backend) => {
    const wakeAt = (await storeTime(backend)) + SHORT_MS
    await backend.saveSnapshot(
      at('i', { kind: 'at-signal', signalId: 's', signalName: 's', wakeAt, nextTaskId: 'a' }),
    )
    return wakeAt
  },
  unpausing: async (backend) => {
    await backend.saveSnapshot(atTask('i'))
    await backend.storeSignal('i', 'pause')
    await backend.checkAndPause('i')
    return () => backend.unpause('i')
  },
  'a signal taken back': async (backend) => {
    await backend.saveSnapshot(atTask('i'))
    // While it is claimed nothing applies the signal; then it is free, and the signal is gone.
    const held = await claim(backend, 'i')
    await backend.storeSignal('i', 'pause')
    return async () => {
      await backend.clearSignal('i', 'pause')
      await backend.releaseTaskClaim(held)
    }
  },
}

/** Rule D9: waiting for work. */
export const wakeupTests: readonly ContractTest[] = [
  ...Object.entries(ways).map(([way, prepare]) =>
    rule('D9', `${way} ends a wait, and nothing before it does`, async (t) => {
      const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
      const work = await prepare(backend)
      const near = wait(t, backend)
      const far = wait(t, other)
      if (typeof work === 'number') {
        await near.goesOnUntil(work)
        await far.goesOnUntil(work)
      } else {
        await Promise.all([near.goesOn(), far.goesOn()])
        expect(await found(other)).toEqual([])
        await work()
      }
      await endsWith(near, { instanceId: 'i', taskId: 'a' })
      await endsWith(far, { instanceId: 'i', taskId: 'a' })
      // A hint only: the task is there to be taken.
      expect(await found(other)).toEqual(['i/a'])
      await claim(backend, 'i')
    }),
  ),

  rule('D9', 'a wait ends at once if there is work', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await backend.saveSnapshot(atTask('i'))
    for (const one of [backend, other]) {
      await endsWith(wait(t, one, { timeoutMs: 0 }), { instanceId: 'i', taskId: 'a' })
      await endsWith(wait(t, one), { instanceId: 'i', taskId: 'a' })
    }
    // Work that came while nobody waited is not lost, and asking for it takes nothing.
    expect(await found(backend)).toEqual(['i/a'])
    expect(await backend.loadSnapshot('i')).toMatchObject({ revision: 1 })
  }),

  rule('D9', 'at the timeout a wait ends with null', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await claim(backend, 'i')
    expect(await backend.waitForWakeup({ timeoutMs: 0 })).toBeNull()
    const startedAt = performance.now()
    const waiting = wait(t, backend, { timeoutMs: SHORT_MS })
    await t.elapse(SHORT_MS)
    expect(await waiting.ends()).toBeNull()
    // By its own clock, if not by ours: timers fire up to a millisecond early.
    if (t.harness.elapse === undefined) {
      expect(performance.now() - startedAt).toBeGreaterThan(SHORT_MS - 2)
    }
  }),

  rule('D9', 'work that the worker does not take does not end its wait', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    const untagged = wait(t, other, { tags: [] })
    const gpu = wait(t, other, { tags: ['gpu', 'big'] })
    const second = wait(t, other, { definitionHashes: ['definition-2'] })
    const none = wait(t, other, { definitionHashes: [] })
    await backend.saveSnapshot(atTask('gpu', 'a', { tags: ['gpu'] }))
    await endsWith(gpu, { instanceId: 'gpu', taskId: 'a' })
    await Promise.all([untagged.goesOn(), second.goesOn()])
    await backend.saveSnapshot(atTask('plain'))
    await endsWith(untagged, { instanceId: 'plain', taskId: 'a' })
    await second.goesOn()
    const definitionHash = 'definition-2'
    await backend.saveSnapshot(atTask('second', 'a', { tags: ['x'], definitionHash }))
    await endsWith(second, { instanceId: 'second', taskId: 'a', definitionHash })
    await none.goesOn()
    expect(
      await backend.waitForWakeup({
        timeoutMs: 0,
        tags: ['y'],
        definitionHashes: [definitionHash],
      }),
    ).toBeNull()
  }),

  rule('D9', 'what makes nothing available ends no wait', async (t) => {
    const backend = await t.open()
    const waiting = wait(t, backend)
    const wakeAt = (await storeTime(backend)) + LONG_MS
    await backend.saveSnapshot(at('idle', { kind: 'not-started' }))
    await backend.saveSnapshot(
      at('delay', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt, nextTaskId: 'a' }),
    )
    await backend.saveSnapshot(
      at('ends', { kind: 'in-loop', loopId: 'l', iteration: 1, nextTaskId: null }),
    )
    await backend.sendEvent('idle', 'paid', bytes('yes'))
    await backend.saveTaskResult({ instanceId: 'idle', taskId: 'z', output: bytes('z') })
    await backend.storeSignal('ends', 'cancel')
    await waiting.goesOn()
    await backend.saveSnapshot(atTask('i'))
    await endsWith(waiting, { instanceId: 'i', taskId: 'a' })
  }),

  rule('D9', 'a delay with nothing after it completes its workflow and ends no wait', async (t) => {
    const backend = await t.open()
    const wakeAt = (await storeTime(backend)) + SHORT_MS
    await backend.saveSnapshot(
      at('i', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt, nextTaskId: null }),
    )
    const waiting = wait(t, backend, { timeoutMs: LONG_MS })
    await t.elapse(SHORT_MS)
    await waiting.goesOn()
    expect(await backend.waitForWakeup({ timeoutMs: 0 })).toBeNull()
    expect((await backend.loadSnapshot('i')).state.status).toBe('completed')
  }),

  rule('D9', 'everyone who waits is woken', async (t) => {
    const backends = await t.openMany(4)
    const [backend] = backends as [PersistentBackend]
    const waits = Array.from({ length: 20 }, (_, index) =>
      wait(t, backends[index % 4] as PersistentBackend),
    )
    await Promise.all(waits.map((waiting) => waiting.goesOn()))
    await backend.saveSnapshot(atTask('i'))
    for (const waiting of waits) await endsWith(waiting, { instanceId: 'i', taskId: 'a' })
    // And again: a wait is no subscription that is used up.
    const held = await claim(backend, 'i')
    const again = backends.map((one) => wait(t, one))
    await again[3]?.goesOn()
    await commit(backend, held, 'out', toTask('b'))
    for (const waiting of again) await endsWith(waiting, { instanceId: 'i', taskId: 'b' })
  }),

  rule('D9', 'a worker that waits and claims by turns misses nothing', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    const ids = Array.from({ length: 20 }, (_, index) => `i${index}`)
    const worker = async (): Promise<string[]> => {
      const done: string[] = []
      while (done.length < ids.length) {
        await wait(t, other).ends()
        const claimed = await other.claimAvailableTasks({ workerId: 'w', limit: 3, ttlMs: LONG_MS })
        for (const { claim: held } of claimed) {
          await commit(other, held, 'out', toEnd('end'))
          done.push(held.instanceId)
        }
      }
      return done
    }
    const done = worker()
    for (const instanceId of ids) await backend.saveSnapshot(atTask(instanceId))
    expect((await done).toSorted()).toEqual(ids.toSorted())
  }),

  rule('D9', 'an aborted wait rejects with the reason, the others go on', async (t) => {
    const backend = await t.open()
    const abort = new AbortController()
    const reason = new Error('the worker stops')
    const waiting = wait(t, backend, { signal: abort.signal })
    const others = wait(t, backend)
    await waiting.goesOn()
    abort.abort(reason)
    await expect(waiting.ends()).rejects.toBe(reason)
    await expect(
      backend.waitForWakeup({ timeoutMs: LONG_MS }, { signal: abort.signal }),
    ).rejects.toBe(reason)
    await others.goesOn()
    await backend.saveSnapshot(atTask('i'))
    await endsWith(others, { instanceId: 'i', taskId: 'a' })
  }),

  rule('D9', 'closing ends waits with null, those of other objects go on', async (t) => {
    const [backend, other] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    const waits = [wait(t, backend), wait(t, backend, { timeoutMs: LONG_MS, tags: [] })]
    const elsewhere = wait(t, other)
    await waits[0]?.goesOn()
    await backend.close()
    for (const waiting of waits) expect(await waiting.ends()).toBeNull()
    await failure(backend.waitForWakeup({ timeoutMs: LONG_MS }), 'CLOSED')
    if (t.capabilities.shared) {
      await elsewhere.goesOn()
      await other.saveSnapshot(atTask('i'))
      await endsWith(elsewhere, { instanceId: 'i', taskId: 'a' })
    } else {
      // One object under two names.
      expect(await elsewhere.ends()).toBeNull()
    }
  }),
]
