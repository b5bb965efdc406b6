import { describe, expect, inject, test, vi } from 'vitest'
import { MAX_CLOCK_ERROR_MS, ServiceClock } from '../src/clock.ts'
import { atTask, namespace, open } from './namespace.ts'
import { place } from './process.ts'

const HOUR_MS = 3_600_000

/** Shows a clock what a service whose clock is right would have replied, at many moments. */
function reply(clock: ServiceClock, serviceNow: () => number, count: number): void {
  for (let index = 0; index < count; index += 1) {
    const received = performance.now() - index * 37
    const at = serviceNow() - index * 37
    clock.observe(new Date(Math.floor(at / 1000) * 1000).toUTCString(), received - 5, received)
  }
}

describe('the service’s clock', () => {
  test.each([0, 10 * 60_000, -10 * 60_000, HOUR_MS])(
    'with a process’s clock off by %i ms',
    (off) => {
      const truth = (): number => performance.timeOrigin + performance.now()
      const clock = new ServiceClock(() => truth() + off)
      reply(clock, truth, 1)
      expect(Math.abs(clock.now() - truth())).toBeLessThanOrEqual(MAX_CLOCK_ERROR_MS + 10)
      reply(clock, truth, 60)
      expect(Math.abs(clock.now() - truth())).toBeLessThanOrEqual(60)
    },
  )

  test('a clock that is set while we run does not matter', () => {
    const truth = (): number => performance.timeOrigin + performance.now()
    let off = 0
    const clock = new ServiceClock(() => truth() + off)
    reply(clock, truth, 60)
    off = HOUR_MS
    expect(Math.abs(clock.now() - truth())).toBeLessThanOrEqual(60)
    off = -HOUR_MS
    expect(Math.abs(clock.now() - truth())).toBeLessThanOrEqual(60)
  })

  test('replies that contradict what was known are believed', () => {
    const truth = (): number => performance.timeOrigin + performance.now()
    const clock = new ServiceClock(truth)
    reply(clock, truth, 60)
    reply(clock, () => truth() + HOUR_MS, 1)
    expect(Math.abs(clock.now() - truth() - HOUR_MS)).toBeLessThanOrEqual(MAX_CLOCK_ERROR_MS + 10)
  })

  test('nonsense is not believed', () => {
    const clock = new ServiceClock(() => 42)
    for (const date of [undefined, '', 'yesterday']) clock.observe(date, 0, 1)
    expect(clock.isKnown).toBe(false)
    expect(clock.now()).toBe(42)
  })
})

test.each([10 * 60_000, -10 * 60_000])(
  'C2 a worker whose clock is off by %i ms judges claims as others do',
  async (off) => {
    const keyPrefix = namespace()
    const right = await open({ keyPrefix })
    const realNow = Date.now
    const wrongClock = vi.spyOn(Date, 'now').mockImplementation(() => realNow() + off)
    try {
      const wrong = await open({ ...place(inject('dynamodb').url), keyPrefix })
      await right.saveSnapshot(atTask('i'))
      const params = { instanceId: 'i', taskId: 'a', workerId: 'w' }
      const held = await right.claimTask({ ...params, ttlMs: 60_000 })
      expect(await wrong.claimTask({ ...params, ttlMs: 1000 })).toBeNull()
      expect(await wrong.claimAvailableTasks({ workerId: 'w', limit: 9, ttlMs: 1 })).toEqual([])
      await right.releaseTaskClaim(held ?? expect.fail())
      // What became due by one clock may be in the future by the other, but by the bound at most.
      const taken = await vi.waitFor(
        async () => (await wrong.claimTask({ ...params, ttlMs: 60_000 })) ?? expect.fail(),
        { timeout: MAX_CLOCK_ERROR_MS + 500 },
      )
      expect(taken.token).toBeGreaterThan(held?.token ?? 0)
      expect(Math.abs(taken.claimedAt - realNow())).toBeLessThanOrEqual(MAX_CLOCK_ERROR_MS)
      expect(await right.claimTask({ ...params, ttlMs: 1000 })).toBeNull()
      // Short enough for the test, and past by more than both clocks may be off.
      const short = await wrong.renewTaskClaim(taken, 1)
      await new Promise((resolve) => setTimeout(resolve, MAX_CLOCK_ERROR_MS + 50))
      const again = (await right.claimTask({ ...params, ttlMs: 1000 })) ?? expect.fail()
      expect(again.token).toBeGreaterThan(short.token)
    } finally {
      wrongClock.mockRestore()
    }
  },
)
