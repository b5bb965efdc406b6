import { afterEach, expect, test, vi } from 'vitest'
import { InMemoryBackend } from '../src/index.ts'
import { at, atTask } from './fixtures.ts'

const W1 = { workerId: 'w1', limit: 10, ttlMs: 1000 }
const W2 = { workerId: 'w2', limit: 10, ttlMs: 1000 }

afterEach(() => {
  vi.useRealTimers()
})

test('every time is by the given clock', async () => {
  let now = 5000
  await using backend = new InMemoryBackend({ now: () => now })
  const saved = await backend.saveSnapshot(atTask('i'))
  expect(saved).toMatchObject({ createdAt: 5000, updatedAt: 5000 })
  now = 6000
  const [claimed] = await backend.claimAvailableTasks(W1)
  expect(claimed).toMatchObject({
    task: { availableSince: 5000 },
    claim: { claimedAt: 6000, expiresAt: 7000 },
  })
  now = 6999
  expect(await backend.claimAvailableTasks(W2)).toEqual([])
  now = 7000
  expect(await backend.claimAvailableTasks(W2)).toHaveLength(1)
  await backend.storeSignal('i', 'pause')
  expect(await backend.getSignal('i', 'pause')).toMatchObject({ requestedAt: 7000 })
})

test('fractions of a millisecond are dropped', async () => {
  await using backend = new InMemoryBackend({ now: () => 1000.75 })
  expect(await backend.saveSnapshot(atTask('i'))).toMatchObject({ createdAt: 1000 })
})

test.each([
  ['no number', () => Number.NaN],
  ['before the epoch', () => -1],
  ['not a number at all', () => 'now' as unknown as number],
])('a clock that gives %s is told so, and nothing is changed', async (_, wrong) => {
  let now: () => number = () => 1
  await using backend = new InMemoryBackend({ now: () => now() })
  await backend.saveSnapshot(atTask('i'))
  now = wrong
  await expect(backend.saveSnapshot(atTask('i', 'b'))).rejects.toThrow('now()')
  await expect(backend.saveSnapshot(atTask('new'))).rejects.toThrow('now()')
  now = () => 2
  expect(await backend.loadSnapshot('i')).toMatchObject({ revision: 1, updatedAt: 1 })
  await expect(backend.loadSnapshot('new')).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

test('wrong options are refused', () => {
  expect(() => new InMemoryBackend({ now: 5 as unknown as () => number })).toThrow(TypeError)
  expect(() => new InMemoryBackend(5 as unknown as object)).toThrow(TypeError)
  expect(() => new InMemoryBackend({ agingIntervalMs: 0 })).toThrow(RangeError)
  expect(() => new InMemoryBackend({ maxPayloadBytes: 0.5 })).toThrow(RangeError)
})

test('a wait looks again when told that the clock was moved', async () => {
  let now = 0
  await using backend = new InMemoryBackend({ now: () => now })
  await backend.saveSnapshot(
    at('i', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt: 3_600_000, nextTaskId: 'a' }),
  )
  const waiting = backend.waitForWakeup({ timeoutMs: 20_000 })
  now = 3_600_000
  backend.clockMoved()
  expect(await waiting).toEqual({ instanceId: 'i', taskId: 'a', definitionHash: 'd' })
})

test('a clock that stands still is not asked again and again', async () => {
  vi.useFakeTimers()
  let asked = 0
  await using backend = new InMemoryBackend({
    now() {
      asked += 1
      return 0
    },
  })
  await backend.saveSnapshot(
    at('i', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt: 1, nextTaskId: 'a' }),
  )
  asked = 0
  const waiting = backend.waitForWakeup({ timeoutMs: 60_000 })
  await vi.advanceTimersByTimeAsync(60_000)
  expect(await waiting).toBeNull()
  // Ten looks until a second lies between two, then one each second.
  expect(asked).toBeLessThan(75)
})

test("fake timers move the default clock and the waits' own timers", async () => {
  vi.useFakeTimers({ now: 1_000_000 })
  await using backend = new InMemoryBackend()
  await backend.saveSnapshot(atTask('i'))
  await backend.claimAvailableTasks(W1)
  const waiting = backend.waitForWakeup({ timeoutMs: 5000 })
  await vi.advanceTimersByTimeAsync(1000)
  expect(await waiting).toMatchObject({ instanceId: 'i' })
  expect(vi.getTimerCount()).toBe(0)
})

test('after the clock was put back, what is not due is not handed out', async () => {
  let now = 8000
  await using backend = new InMemoryBackend({ now: () => now })
  const delay = { kind: 'at-delay', delayId: 'd', enteredAt: 0, nextTaskId: 'a' } as const
  await backend.saveSnapshot(at('delay', { ...delay, wakeAt: 9000 }))
  await backend.saveSnapshot(at('other', { ...delay, wakeAt: 9000 }))
  now = 10_000
  await backend.saveSnapshot(atTask('task'))
  const find = async () =>
    (await backend.findAvailableTasks({ workerId: 'w', limit: 9 })).map((task) => task.instanceId)
  expect(await find()).toEqual(['delay', 'other', 'task'])
  await backend.saveSnapshot(at('late', { ...delay, wakeAt: 10_000 }))
  now = 5000
  expect(await find()).toEqual([])
  expect(
    await backend.claimTask({ instanceId: 'late', taskId: 'a', workerId: 'w', ttlMs: 1 }),
  ).toBeNull()
  now = 9500
  expect(await find()).toEqual(['delay', 'other'])
  now = 10_000
  expect(await find()).toEqual(['delay', 'other', 'late', 'task'])
})
