import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterEach, expect, test, vi } from 'vitest'
import { InMemoryBackend } from '../src/index.ts'
import { at, atTask, bytes, completed, forkOf } from './fixtures.ts'

const LONG = { timeoutMs: 20_000 }

afterEach(() => {
  vi.useRealTimers()
})

test('a wait ends with whatever makes a task available', async () => {
  await using backend = new InMemoryBackend()
  const claim = { workerId: 'w', limit: 10, ttlMs: 60_000 }
  const hint = { instanceId: 'i', taskId: 'a', definitionHash: 'd' }

  let waiting = backend.waitForWakeup(LONG)
  await backend.saveSnapshot(atTask('i'))
  expect(await waiting, 'a save').toEqual(hint)

  const [first] = await backend.claimAvailableTasks(claim)
  waiting = backend.waitForWakeup(LONG)
  await backend.releaseTaskClaim(first!.claim)
  expect(await waiting, 'a release').toEqual(hint)

  const [second] = await backend.claimAvailableTasks(claim)
  waiting = backend.waitForWakeup(LONG)
  await backend.commitTask({
    claim: second!.claim,
    outcome: { kind: 'retry', error: 'e', delayMs: 20 },
  })
  expect(await waiting, 'a retry, once it is due').toEqual(hint)

  const [third] = await backend.claimAvailableTasks({ ...claim, ttlMs: 20 })
  expect(third?.task.attempt).toBe(2)
  expect(await backend.waitForWakeup(LONG), 'an expiry').toEqual(hint)

  await backend.saveSnapshot(
    at('i', {
      kind: 'at-signal',
      signalId: 's',
      signalName: 'n',
      wakeAt: null,
      nextTaskId: 'b',
    }),
  )
  waiting = backend.waitForWakeup(LONG)
  await backend.sendEvent('i', 'n', bytes('e'))
  expect(await waiting, 'an event').toEqual({ ...hint, taskId: 'b' })

  await backend.storeSignal('i', 'pause')
  await backend.checkAndPause('i')
  waiting = backend.waitForWakeup(LONG)
  await backend.unpause('i')
  expect(await waiting, 'an unpause').toEqual({ ...hint, taskId: 'b' })

  await backend.saveSnapshot(at('i', forkOf([{ taskId: 'x' }, { taskId: 'y' }])))
  await backend.claimTask({ instanceId: 'i', taskId: 'x', workerId: 'w', ttlMs: 60_000 })
  await backend.storeSignal('i', 'pause')
  waiting = backend.waitForWakeup(LONG)
  await backend.clearSignal('i', 'pause')
  expect(await waiting, 'a signal taken back').toEqual({ ...hint, taskId: 'y' })
})

test('a wait is for the worker that waits', async () => {
  await using backend = new InMemoryBackend()
  const controller = new AbortController()
  let woken = 0
  const waiting = backend
    .waitForWakeup({ ...LONG, tags: ['gpu'], definitionHashes: ['d'] }, controller)
    .then((wakeup) => {
      woken += 1
      return wakeup
    })
  await backend.saveSnapshot(atTask('other definition', 'a', { definitionHash: 'e' }))
  await backend.saveSnapshot(atTask('other tags', 'a', { tags: ['cpu'] }))
  await backend.saveSnapshot(atTask('more tags', 'a', { tags: ['gpu', 'cpu'] }))
  expect(woken).toBe(0)
  await backend.saveSnapshot(atTask('i', 'a', { tags: ['gpu'] }))
  expect(await waiting).toMatchObject({ instanceId: 'i' })
})

test('G4 a wait applies a signal that comes while nobody works on the instance', async () => {
  await using backend = new InMemoryBackend()
  await backend.saveSnapshot(at('i', { kind: 'not-started' }))
  const waiting = backend.waitForWakeup(LONG)
  await backend.storeSignal('i', 'cancel')
  await expect.poll(async () => (await backend.loadSnapshot('i')).state.status).toBe('cancelled')
  await backend.saveSnapshot(atTask('j'))
  expect(await waiting).toMatchObject({ instanceId: 'j' })
})

test('E1 a wait completes a workflow whose last delay is over', async () => {
  await using backend = new InMemoryBackend()
  const wakeAt = Date.now() + 20
  await backend.saveSnapshot(
    at('i', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt, nextTaskId: null }),
  )
  const waiting = backend.waitForWakeup(LONG)
  await expect.poll(async () => (await backend.loadSnapshot('i')).state.status).toBe('completed')
  await backend.saveSnapshot(atTask('j'))
  expect(await waiting).toMatchObject({ instanceId: 'j' })
})

test('waits leave no timer, listener or warning behind, however they end', async () => {
  const warned = vi.fn()
  process.on('warning', warned)
  vi.useFakeTimers()
  const timers = (): number => vi.getTimerCount()
  const backend = new InMemoryBackend()
  // Something is due later, so that each wait has a timer for it.
  await backend.saveSnapshot(
    at('later', {
      kind: 'at-delay',
      delayId: 'd',
      enteredAt: 0,
      wakeAt: Date.now() + 60_000,
      nextTaskId: 'a',
    }),
  )
  expect(timers(), 'nobody waits').toBe(0)

  const timedOut = backend.waitForWakeup({ timeoutMs: 5 })
  await vi.advanceTimersByTimeAsync(5)
  expect(await timedOut).toBeNull()
  expect(timers(), 'after a timeout').toBe(0)

  const controller = new AbortController()
  const aborted = Array.from({ length: 50 }, () => backend.waitForWakeup(LONG, controller))
  await vi.advanceTimersByTimeAsync(0)
  expect(timers(), 'fifty wait').toBe(50)
  const reason = new Error('enough')
  controller.abort(reason)
  for (const result of await Promise.allSettled(aborted)) {
    expect(result).toMatchObject({ status: 'rejected', reason })
  }
  await vi.advanceTimersByTimeAsync(0)
  expect(timers(), 'after an abort').toBe(0)

  const woken = Array.from({ length: 50 }, () => backend.waitForWakeup(LONG))
  await backend.saveSnapshot(atTask('i'))
  expect((await Promise.all(woken)).every((wakeup) => wakeup?.instanceId === 'i')).toBe(true)
  expect(timers(), 'after a wakeup').toBe(0)
  await backend.deleteSnapshot('i')

  const closed = Array.from({ length: 50 }, () => backend.waitForWakeup(LONG))
  await backend.close()
  expect(new Set(await Promise.all(closed))).toEqual(new Set([null]))
  expect(timers(), 'after closing').toBe(0)
  // Warnings come a tick after their cause.
  vi.useRealTimers()
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', warned)
  expect(warned).not.toHaveBeenCalled()
})

test('a wait does not keep a process alive', async () => {
  const program = `
    import { InMemoryBackend } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)}
    void new InMemoryBackend().waitForWakeup({ timeoutMs: 600_000 })
    process.on('exit', () => console.log('over'))`
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...process.execArgv, '--input-type=module', '--eval', program],
    { timeout: 15_000 },
  )
  expect(stdout).toBe('over\n')
})

test('heartbeats wake nobody', async () => {
  let asked = 0
  await using backend = new InMemoryBackend({ now: () => (asked += 1) })
  await backend.saveSnapshot(atTask('i'))
  const claim = await backend.claimTask({
    instanceId: 'i',
    taskId: 'a',
    workerId: 'w',
    ttlMs: 60_000,
  })
  const waiting = backend.waitForWakeup(LONG)
  const before = asked
  for (let beat = 0; beat < 100; beat += 1) await backend.renewTaskClaim(claim!, 60_000)
  expect(asked - before).toBe(100)
  await backend.commitTask({
    claim: claim!,
    outcome: completed({ position: { kind: 'at-task', taskId: 'b' } }),
  })
  expect(await waiting).toMatchObject({ taskId: 'b' })
})
