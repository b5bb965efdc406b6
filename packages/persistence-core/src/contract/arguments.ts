import { getEventListeners } from 'node:events'
import { expect } from 'vitest'
import type { Abortable, PersistentBackend } from '../backend.ts'
import { completeTask, completeWorkflow } from '../transitions.ts'
import { bytes, type ContractTest, collect, failure, refused, rule } from './context.ts'
import { at, atTask, claim, completed, found, LONG_MS, toEnd, toTask } from './fixtures.ts'
import { type Argument, INSTANCE } from './malformed.ts'
import { argumentsOf, type Method, methods } from './methods.ts'
import { filled, unchanged } from './stored.ts'

type Kind = typeof TypeError | typeof RangeError | 'either'

function* wrongValues(argument: Argument): Generator<[unknown, Kind]> {
  for (const value of argument.mistyped) yield [value, TypeError]
  for (const value of argument.outOfRange) yield [value, RangeError]
  for (const value of argument.malformed) yield [value, 'either']
}

/** A call with one argument wrong. */
async function refuses(
  backend: PersistentBackend,
  method: Method,
  name: string,
  [value, kind]: [unknown, Kind],
  options?: Abortable,
): Promise<void> {
  const args = argumentsOf(method, { [name]: value })
  try {
    await refused(() => method.call(backend, args, options), kind)
  } catch (cause) {
    throw new Error(`${method.name} with ${name}: ${show(value)}`, { cause })
  }
}

function show(value: unknown): string {
  if (typeof value === 'object' && value !== null) return JSON.stringify(value).slice(0, 200)
  return String(value).slice(0, 200)
}

/** Some of the wrong values of each argument: for what does not depend on which. */
async function refusesEach(backend: PersistentBackend, options?: Abortable): Promise<void> {
  for (const method of methods) {
    for (const [name, argument] of Object.entries(method.takes)) {
      for (const wrong of [...wrongValues(argument)].slice(0, 3)) {
        await refuses(backend, method, name, wrong, options)
      }
    }
  }
}

/** Whether a promise settles before anything can come from outside of the process. */
async function isOverSoon(promise: Promise<unknown>): Promise<boolean> {
  let isOver = false
  const over = (): void => {
    isOver = true
  }
  promise.then(over, over)
  for (let turns = 0; turns < 100 && !isOver; turns += 1) await null
  return isOver
}

/** What arguments are refused, and in which order a call is checked: section 1 of the contract. */
export const argumentTests: readonly ContractTest[] = [
  ...methods.map((method) =>
    rule('A1', `${method.name} refuses wrong arguments and changes nothing`, async (t) => {
      const backend = await t.open()
      const before = await backend.saveSnapshot(completeTask(atTask(INSTANCE), 'x', bytes('x')))
      for (const [name, argument] of Object.entries(method.takes)) {
        for (const wrong of wrongValues(argument)) await refuses(backend, method, name, wrong)
      }
      for (const signal of ['now', {}, null, 5]) {
        const options = { signal } as unknown as Abortable
        await refused(() => method.call(backend, argumentsOf(method), options), TypeError)
      }
      await unchanged(backend, before)
      expect(await collect(backend.listSnapshots())).toHaveLength(1)
      expect(await backend.getSignal(INSTANCE, 'pause')).toBeNull()
      expect(await backend.getSignal(INSTANCE, 'cancel')).toBeNull()
      expect(await backend.consumeEvent(INSTANCE, 'go')).toBeNull()
      expect(await found(backend)).toEqual([`${INSTANCE}/a`])
      const [task] = await backend.findAvailableTasks({ workerId: 'w', limit: 1 })
      expect(task?.deliveries).toBe(0)
    }),
  ),

  rule(
    'A1',
    'fractions of a millisecond are rounded up, and a huge duration never overflows',
    async (t) => {
      const backend = await t.open()
      await backend.saveSnapshot(atTask('i'))
      const fraction = await claim(backend, 'i', 'a', { ttlMs: 0.001 })
      expect((fraction.expiresAt ?? 0) - fraction.claimedAt).toBe(1)
      await t.elapse(1)
      const whole = await claim(backend, 'i', 'a', { ttlMs: 59_999.5 })
      expect((whole.expiresAt ?? 0) - whole.claimedAt).toBe(60_000)
      const renewed = await backend.renewTaskClaim(whole, Number.MAX_VALUE)
      const extended = await backend.extendTaskClaim(renewed, Number.MAX_VALUE)
      expect(Number.isSafeInteger(extended.expiresAt)).toBe(true)
      expect(extended.expiresAt).toBeGreaterThan(whole.claimedAt + 1e14)
      expect(await found(backend)).toEqual([])
    },
  ),

  rule('A1', 'the longest id, text, tags and limits that are allowed are taken', async (t) => {
    const backend = await t.open()
    const id = '\u{1f600}'.repeat(64)
    const text = `${'\u00e9'.repeat(32_767)}\0x`
    const tags = Array.from({ length: 32 }, (_, index) => `${index}`.padEnd(256, 't'))
    await backend.saveSnapshot(atTask(id, id, { tags }))
    const held = await claim(backend, id, id, { workerId: id, ttlMs: null })
    expect(held.expiresAt).toBeNull()
    await backend.storeSignal(id, 'pause', { reason: text, requestedBy: text })
    expect((await backend.getSignal(id, 'pause'))?.reason).toBe(text)
    expect(await backend.checkAndPause(id)).toBe(true)
    await backend.unpause(id)
    expect(await found(backend, { limit: 1000, tags: [...tags, 'more'] })).toEqual([])
    await backend.commitTask({ claim: held, outcome: { kind: 'failed', error: text } })
    const { state } = await backend.loadSnapshot(id)
    expect(state).toMatchObject({ status: 'failed', error: text })
    expect(await backend.prune({ endedBefore: 0, limit: 1_000_000 })).toMatchObject({ deleted: 0 })
    expect(await collect(backend.listSnapshots({ limit: Number.MAX_SAFE_INTEGER }))).toHaveLength(1)
  }),

  rule(
    'A1',
    'a payload of maxPayloadBytes is taken, one byte more is PAYLOAD_TOO_LARGE and changes nothing',
    async (t) => {
      const backend = await t.open({ maxPayloadBytes: 1000 })
      const [fits, large] = [filled(1000, 1), filled(1001, 2)]
      const open = atTask('i')
      const joined = (output: Uint8Array): typeof open =>
        at('i', {
          kind: 'at-join',
          joinId: 'a',
          completedBranches: new Map([['b', { taskId: 'b', output }]]),
        })
      const snapshots = [
        (payload: Uint8Array) => ({ ...open, initialInput: payload }),
        (payload: Uint8Array) => completeTask(open, 'x', payload),
        joined,
        (payload: Uint8Array) => completeWorkflow(open, payload),
      ]
      for (const make of snapshots) {
        await failure(backend.saveSnapshot(make(large)), 'PAYLOAD_TOO_LARGE')
        await failure(backend.loadSnapshot('i'), 'NOT_FOUND')
        await backend.saveSnapshot(make(fits))
        await backend.deleteSnapshot('i')
      }
      const before = await backend.saveSnapshot(open)
      const held = await claim(backend, 'i')
      const outcomes = [
        completed('', { finalOutput: large }),
        { kind: 'completed', output: large, next: toTask('b') } as const,
        { kind: 'completed', output: fits, next: toTask('a') } as const,
      ]
      for (const outcome of outcomes.slice(0, 2)) {
        await failure(backend.commitTask({ claim: held, outcome }), 'PAYLOAD_TOO_LARGE')
      }
      const result = { instanceId: 'i', taskId: 'x' }
      await failure(backend.saveTaskResult({ ...result, output: large }), 'PAYLOAD_TOO_LARGE')
      await failure(backend.sendEvent('i', 'go', large, { eventId: 'e' }), 'PAYLOAD_TOO_LARGE')
      await unchanged(backend, before)
      expect(await backend.consumeEvent('i', 'go')).toBeNull()
      await backend.saveTaskResult({ ...result, output: fits })
      // The refused one did not use its id up.
      await backend.sendEvent('i', 'go', fits, { eventId: 'e' })
      expect(await backend.consumeEvent('i', 'go')).toHaveLength(1000)
      await backend.commitTask({ claim: held, outcome: outcomes[2] as (typeof outcomes)[number] })
    },
  ),

  rule('A1', 'wrong options of the backend itself are refused', async (t) => {
    for (const agingIntervalMs of [0, -1, NaN, Infinity, '1' as never, null as never]) {
      await refused(async () => t.open({ agingIntervalMs }))
    }
    for (const maxPayloadBytes of [0, -1, 1.5, NaN, Infinity, '1' as never, null as never]) {
      await refused(async () => t.open({ maxPayloadBytes }))
    }
  }),

  rule('A2', 'arguments come before CLOSED and before an abort: they need no store', async (t) => {
    const backend = await t.open()
    const signal = AbortSignal.abort(new Error('aborted'))
    await refusesEach(backend, { signal })
    await backend.close()
    await refusesEach(backend)
    await refusesEach(backend, { signal })
  }),

  rule('A2', 'CLOSED comes before an abort, and both before NOT_FOUND', async (t) => {
    const backend = await t.open()
    const reason = new Error('aborted')
    const signal = AbortSignal.abort(reason)
    for (const method of methods) {
      const args = argumentsOf(method)
      if (method.needsInstance) {
        const error = await failure(method.call(backend, args), 'NOT_FOUND')
        expect(error.instanceId).toBe(INSTANCE)
      }
      await expect(method.call(backend, args, { signal }), method.name).rejects.toBe(reason)
    }
    expect(await collect(backend.listSnapshots())).toEqual([])
    await backend.close()
    for (const method of methods) {
      await failure(method.call(backend, argumentsOf(method), { signal }), 'CLOSED')
    }
  }),

  rule('A2', 'TERMINAL comes before CLAIM_LOST, and that before CONFLICT', async (t) => {
    const backend = await t.open()
    const open = await backend.saveSnapshot(atTask('i'))
    const lost = await claim(backend, 'i')
    await backend.releaseTaskClaim(lost)
    const output = bytes('x')
    const save = (options: object): Promise<unknown> =>
      backend.saveSnapshot(open, { claim: lost, ...options })
    const result = { instanceId: 'i', taskId: 'a', output, claim: lost }
    const commit = { claim: lost, outcome: completed('x', toTask('b')) }
    await failure(save({ expectedRevision: 9 }), 'CLAIM_LOST')
    await failure(save({}), 'CLAIM_LOST')
    await failure(backend.saveTaskResult(result), 'CLAIM_LOST')
    await failure(backend.commitTask(commit), 'CLAIM_LOST')
    await failure(backend.renewTaskClaim(lost, LONG_MS), 'CLAIM_LOST')
    await failure(backend.extendTaskClaim(lost, LONG_MS), 'CLAIM_LOST')
    const held = await claim(backend, 'i')
    await backend.commitTask({ claim: held, outcome: completed('x', toEnd('end')) })
    await failure(save({ expectedRevision: 9 }), 'TERMINAL')
    await failure(backend.saveSnapshot(open, { expectedRevision: 9 }), 'TERMINAL')
    await failure(backend.saveTaskResult(result), 'TERMINAL')
    await failure(backend.commitTask(commit), 'TERMINAL')
    await failure(backend.renewTaskClaim(lost, LONG_MS), 'TERMINAL')
    await failure(backend.extendTaskClaim(lost, LONG_MS), 'TERMINAL')
  }),

  rule(
    'A3',
    'a call that is aborted beforehand rejects with the reason and does nothing',
    async (t) => {
      const backend = await t.open()
      const before = await backend.saveSnapshot(atTask(INSTANCE))
      for (const reason of [new Error('mine'), 'a string', undefined]) {
        const signal = AbortSignal.abort(reason)
        for (const method of methods) {
          const rejection = await method.call(backend, argumentsOf(method), { signal }).then(
            () => expect.fail(`${method.name} should honour its signal`),
            (error: unknown) => error,
          )
          expect(rejection, method.name).toBe(signal.reason)
        }
      }
      await unchanged(backend, before)
      expect(await backend.getSignal(INSTANCE, 'pause')).toBeNull()
      expect(await backend.consumeEvent(INSTANCE, 'go')).toBeNull()
      expect(await found(backend)).toEqual([`${INSTANCE}/a`])
    },
  ),

  rule(
    'A3',
    'a call that is aborted in flight rejects with the reason, or had its answer already',
    async (t) => {
      const backend = await t.open()
      for (const method of methods) {
        await backend.saveSnapshot({ ...atTask(INSTANCE), revision: 0 }).catch(() => undefined)
        const controller = new AbortController()
        const reason = new Error('given up')
        const call = method.call(backend, argumentsOf(method), { signal: controller.signal })
        const settled = call.then(
          () => undefined,
          (error: unknown) => error,
        )
        controller.abort(reason)
        const error = await settled
        if (error !== undefined && error !== reason) {
          // Arguments are valid, but the claim is nobody's and nothing is paused.
          expect(['CLAIM_LOST', 'CANNOT_PAUSE', 'NOT_FOUND']).toContain(
            (error as { code?: string }).code,
          )
        }
      }
      // A signal that aborts after the call is over does nothing.
      const controller = new AbortController()
      await backend.saveSnapshot(atTask('after'), { signal: controller.signal })
      controller.abort(new Error('too late'))
      expect((await backend.loadSnapshot('after')).revision).toBe(1)
    },
  ),

  rule('A3', 'a call that is over has left nothing on its signal', async (t) => {
    const backend = await t.open()
    // One signal for as long as a worker runs: what each call left would add up.
    const { signal } = new AbortController()
    for (const method of methods) {
      await method.call(backend, argumentsOf(method), { signal }).catch(() => undefined)
      expect(getEventListeners(signal, 'abort'), method.name).toHaveLength(0)
    }
    const tags = ['nobody']
    expect(await backend.waitForWakeup({ timeoutMs: 50, tags }, { signal })).toBeNull()
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  }),

  rule('A3', 'a call that the store takes its time for is given up at once', async (t) => {
    const backend = await t.open()
    const snapshot = atTask(INSTANCE)
    await backend.saveSnapshot(snapshot)
    const calls: readonly ((options: Abortable) => Promise<unknown>)[] = [
      (options) => backend.loadSnapshot(INSTANCE, options),
      (options) => backend.saveSnapshot(snapshot, options),
      (options) => backend.findAvailableTasks({ workerId: 'w', limit: 1 }, options),
    ]
    for (const call of calls) {
      const answered = call({})
      // One that is in the process's own memory may have answered by then.
      const isSlow = !(await isOverSoon(answered))
      await answered
      const controller = new AbortController()
      const reason = new Error('given up')
      const outcome = call({ signal: controller.signal }).then(
        () => null,
        (error: unknown) => error,
      )
      controller.abort(reason)
      if (!isSlow) continue
      expect(await isOverSoon(outcome), 'it is waited for').toBe(true)
      expect(await outcome).toBe(reason)
    }
  }),
]
