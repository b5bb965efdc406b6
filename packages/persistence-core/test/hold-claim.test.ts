import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { BackendError, holdClaim, type TaskClaim, type TaskClaimStore } from '../src/index.ts'

const claim: TaskClaim = {
  instanceId: 'i',
  taskId: 'a',
  workerId: 'w',
  token: 7,
  claimedAt: 1_000,
  expiresAt: 4_000,
}
const forEver: TaskClaim = { ...claim, expiresAt: null }

type Renew = TaskClaimStore['renewTaskClaim']

/** A store whose renewals do what `renew` does, and when they started. */
function store(renew: (call: number, options: Parameters<Renew>[2]) => Promise<void> | void): {
  renewTaskClaim: Renew
  startedAt: number[]
} {
  const begin = performance.now()
  const startedAt: number[] = []
  return {
    startedAt,
    renewTaskClaim: async (ref, ttlMs, options) => {
      startedAt.push(performance.now() - begin)
      expect(ref.token).toBe(7)
      await renew(startedAt.length, options)
      return { ...claim, expiresAt: (ref as TaskClaim).expiresAt === null ? null : 1_000 + ttlMs }
    },
  }
}

/** Work that ends when it is told to, and what its signal said. */
function work(): {
  run: (signal: AbortSignal) => Promise<string>
  end: (value: string) => void
  reason: () => unknown
} {
  const { promise, resolve } = Promise.withResolvers<string>()
  let given: AbortSignal | undefined
  return {
    run: (signal) => {
      given = signal
      return promise
    },
    end: resolve,
    reason: () => given?.reason,
  }
}

/** A renewal that never answers, unless it is aborted. */
function hang(options: Parameters<Renew>[2]): Promise<never> {
  return new Promise((_, reject) => {
    options?.signal?.addEventListener('abort', () => reject(options.signal?.reason))
  })
}

function unavailable(): BackendError {
  return new BackendError('UNAVAILABLE', 'the store can not be reached')
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

test('renews every third of the time to live, until work ends', async () => {
  const backend = store(() => {})
  const { run, end, reason } = work()
  const held = holdClaim(backend, claim, { ttlMs: 3_000 }, run)
  await vi.advanceTimersByTimeAsync(999)
  expect(backend.startedAt).toEqual([])
  await vi.advanceTimersByTimeAsync(9_000)
  expect(backend.startedAt).toEqual([1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000])
  expect(reason()).toBeUndefined()
  end('done')
  expect(await held).toBe('done')
  await vi.advanceTimersByTimeAsync(60_000)
  expect(backend.startedAt).toHaveLength(9)
})

test('passes on what work throws, also at once, and leaves nothing behind', async () => {
  const backend = store(() => {})
  const thrown = new Error('no')
  await expect(
    holdClaim(backend, claim, { ttlMs: 3_000 }, () => {
      throw thrown
    }),
  ).rejects.toBe(thrown)
  await expect(
    holdClaim(backend, claim, { ttlMs: 3_000 }, () => Promise.reject(thrown)),
  ).rejects.toBe(thrown)
  await vi.advanceTimersByTimeAsync(60_000)
  expect(backend.startedAt).toEqual([])
})

test.each(['CLAIM_LOST', 'TERMINAL'] as const)(
  'aborts work with the %s that a renewal gets, and renews no more',
  async (code) => {
    const lost = new BackendError(code, 'lost')
    const backend = store((call) => (call === 2 ? Promise.reject(lost) : undefined))
    const { run, end, reason } = work()
    const held = holdClaim(backend, claim, { ttlMs: 3_000 }, run)
    await vi.advanceTimersByTimeAsync(1_999)
    expect(reason()).toBeUndefined()
    await vi.advanceTimersByTimeAsync(1)
    expect(reason()).toBe(lost)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(backend.startedAt).toEqual([1_000, 2_000])
    end('late')
    expect(await held).toBe('late')
  },
)

test.each(['NOT_FOUND', 'CLOSED'] as const)(
  'aborts work with CLAIM_LOST where renewing is over with %s',
  async (code) => {
    const cause = new BackendError(code, 'gone')
    const { run, end, reason } = work()
    const held = holdClaim(
      store(() => Promise.reject(cause)),
      claim,
      { ttlMs: 3_000 },
      run,
    )
    await vi.advanceTimersByTimeAsync(1_000)
    expect(reason()).toMatchObject({ code: 'CLAIM_LOST', instanceId: 'i', taskId: 'a', cause })
    end('late')
    await held
  },
)

test.each([['UNAVAILABLE', unavailable()] as const, ['an unknown error', new Error('?')] as const])(
  'survives %s while time remains',
  async (_, error) => {
    const backend = store((call) => (call === 1 || call === 2 ? Promise.reject(error) : undefined))
    const { run, end, reason } = work()
    const held = holdClaim(backend, claim, { ttlMs: 3_000 }, run)
    await vi.advanceTimersByTimeAsync(5_000)
    expect(backend.startedAt).toEqual([1_000, 1_300, 1_600, 2_600, 3_600, 4_600])
    expect(reason()).toBeUndefined()
    end('done')
    await held
  },
)

test('aborts work with CLAIM_LOST once the last renewal has run out', async () => {
  const cause = unavailable()
  const backend = store((call) => (call > 1 ? Promise.reject(cause) : undefined))
  const { run, end, reason } = work()
  const held = holdClaim(backend, claim, { ttlMs: 3_000 }, run)
  await vi.advanceTimersByTimeAsync(3_999)
  expect(reason()).toBeUndefined()
  await vi.advanceTimersByTimeAsync(1)
  expect(reason()).toMatchObject({ code: 'CLAIM_LOST', cause })
  end('late')
  await held
})

test('counts a renewal from when it was sent, not from when it was answered', async () => {
  const backend = store(async (call, options) => {
    if (call > 1) return hang(options)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
  })
  const { run, end, reason } = work()
  const held = holdClaim(backend, claim, { ttlMs: 3_000 }, run)
  // Sent at 1,000: good until 4,000.
  await vi.advanceTimersByTimeAsync(3_999)
  expect(reason()).toBeUndefined()
  await vi.advanceTimersByTimeAsync(1)
  expect(reason()).toMatchObject({ code: 'CLAIM_LOST' })
  end('late')
  await held
})

test('aborts work while a renewal hangs, also where the call can not be aborted', async () => {
  const { promise, resolve: answer } = Promise.withResolvers<void>()
  const backend = store(() => promise)
  const { run, end, reason } = work()
  const held = holdClaim(backend, claim, { ttlMs: 3_000 }, run)
  await vi.advanceTimersByTimeAsync(3_000)
  expect(reason()).toMatchObject({ code: 'CLAIM_LOST' })
  end('late')
  answer()
  expect(await held).toBe('late')
  expect(backend.startedAt).toEqual([1_000])
})

test('gives a renewal up that is in flight when work ends', async () => {
  let given: AbortSignal | undefined
  const backend = store((_, options) => {
    given = options?.signal
    return hang(options)
  })
  const { run, end } = work()
  const held = holdClaim(backend, claim, { ttlMs: 3_000 }, run)
  await vi.advanceTimersByTimeAsync(1_500)
  expect(given?.aborted).toBe(false)
  end('done')
  expect(await held).toBe('done')
  expect(given?.aborted).toBe(true)
})

test('reckons by the shorter of the claim and the time to live', async () => {
  const hanging = store((_, options) => hang(options))
  const short = work()
  const first = holdClaim(hanging, { ...claim, expiresAt: 1_900 }, { ttlMs: 3_000 }, short.run)
  await vi.advanceTimersByTimeAsync(899)
  expect(hanging.startedAt).toEqual([300])
  expect(short.reason()).toBeUndefined()
  await vi.advanceTimersByTimeAsync(1)
  expect(short.reason()).toMatchObject({ code: 'CLAIM_LOST' })
  short.end('')
  await first
  // Renewed long ago: its age is no time that it has left.
  const old = work()
  const second = holdClaim(hanging, { ...claim, expiresAt: 900_000 }, { ttlMs: 3_000 }, old.run)
  await vi.advanceTimersByTimeAsync(3_000)
  expect(old.reason()).toMatchObject({ code: 'CLAIM_LOST' })
  old.end('')
  await second
})

test('a claim that never expires is only checked: no failed renewal loses it, a lost claim does', async () => {
  const lost = new BackendError('CLAIM_LOST', 'lost')
  const backend = store((call) => Promise.reject(call < 50 ? unavailable() : lost))
  const { run, end, reason } = work()
  const held = holdClaim(backend, forEver, { ttlMs: 3_000 }, run)
  await vi.advanceTimersByTimeAsync(1_000 + 48 * 300)
  expect(backend.startedAt).toHaveLength(49)
  expect(reason()).toBeUndefined()
  await vi.advanceTimersByTimeAsync(300)
  expect(reason()).toBe(lost)
  end('late')
  await held
})

test("passes the caller's signal on, and renews until work has ended", async () => {
  const caller = new AbortController()
  const backend = store(() => {})
  const { run, end, reason } = work()
  const held = holdClaim(backend, claim, { ttlMs: 3_000, signal: caller.signal }, run)
  const stop = new Error('draining')
  caller.abort(stop)
  expect(reason()).toBe(stop)
  await vi.advanceTimersByTimeAsync(2_000)
  expect(backend.startedAt).toEqual([1_000, 2_000])
  end('done')
  expect(await held).toBe('done')
})

test('does not start work under a signal that has aborted, or with wrong arguments', async () => {
  const backend = store(() => {})
  const run = vi.fn(() => 'never')
  const stop = new Error('stop')
  const signal = AbortSignal.abort(stop)
  await expect(holdClaim(backend, claim, { ttlMs: 3_000, signal }, run)).rejects.toBe(stop)
  for (const ttlMs of [0, -1, Number.NaN, Infinity]) {
    await expect(holdClaim(backend, claim, { ttlMs }, run)).rejects.toThrow(RangeError)
  }
  await expect(
    holdClaim(backend, claim, { ttlMs: '3000' as unknown as number }, run),
  ).rejects.toThrow(TypeError)
  expect(run).not.toHaveBeenCalled()
})

test('does not keep the process alive', async () => {
  vi.useRealTimers()
  const setTimeout = vi.spyOn(globalThis, 'setTimeout')
  const asked = Promise.withResolvers<void>()
  const backend = store((_, options) => {
    asked.resolve()
    return hang(options)
  })
  const { run, end } = work()
  const held = holdClaim(backend, claim, { ttlMs: 60 }, run)
  await asked.promise
  const timers = setTimeout.mock.results.map(({ value }) => value as NodeJS.Timeout)
  expect(timers.length).toBeGreaterThan(0)
  expect(timers.filter((timer) => timer.hasRef())).toEqual([])
  setTimeout.mockRestore()
  end('done')
  await held
  vi.useFakeTimers()
})
