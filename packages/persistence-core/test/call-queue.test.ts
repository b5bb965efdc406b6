import { expect, test } from 'vitest'
import { CallFailure, CallQueue } from '../src/adapter.ts'

test('what is called in one go leaves at its end, and what one group writes before the next is made', async () => {
  const order: string[] = []
  const queue = new CallQueue<number, string>({
    maxCalls: 2,
    maxBytes: Number.POSITIVE_INFINITY,
    maxInFlight: 2,
    sizeOf: () => 1,
    send: async (calls) => {
      order.push(`made ${calls}`)
      // As drivers do, before they write.
      await Promise.resolve()
      await Promise.resolve()
      order.push(`written ${calls}`)
      return calls.map(String)
    },
  })
  const replies = [1, 2, 3].map((call) => queue.call(call))
  expect(order).toEqual([])
  expect(await Promise.all(replies)).toEqual(['1', '2', '3'])
  expect(order).toEqual(['made 1,2', 'written 1,2', 'made 3', 'written 3'])
})

test('a group waits while as many as may be are on their way', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const sent: (readonly number[])[] = []
  const queue = new CallQueue<number, number>({
    maxCalls: 2,
    maxBytes: Number.POSITIVE_INFINITY,
    maxInFlight: 1,
    sizeOf: () => 1,
    send: async (calls) => {
      sent.push(calls)
      await promise
      return calls
    },
  })
  const replies = [1, 2, 3, 4].map((call) => queue.call(call))
  for (let turns = 0; turns < 3; turns += 1) await new Promise(setImmediate)
  expect(sent).toEqual([[1, 2]])
  resolve()
  expect(await Promise.all(replies)).toEqual([1, 2, 3, 4])
  expect(sent).toEqual([
    [1, 2],
    [3, 4],
  ])
})

test('an eager one sends what is called in one go together, before the event loop turns', async () => {
  const sent: (readonly number[])[] = []
  const queue = new CallQueue<number, number>({
    maxCalls: 9,
    maxBytes: Number.POSITIVE_INFINITY,
    maxInFlight: 1,
    sizeOf: () => 1,
    eager: true,
    send: async (calls) => {
      sent.push(calls)
      return calls
    },
  })
  let turned = false
  setImmediate(() => {
    turned = true
  })
  // Also what is called after a promise of the same turn.
  const replies = [1, 2].map(async (call) => {
    await Promise.resolve()
    return queue.call(call)
  })
  expect(await Promise.all(replies)).toEqual([1, 2])
  expect(sent).toEqual([[1, 2]])
  expect(turned).toBe(false)
})

test('of calls that were sent together each fails alone, unless the sending fails', async () => {
  const queue = new CallQueue<number, number>({
    maxCalls: 9,
    maxBytes: Number.POSITIVE_INFINITY,
    maxInFlight: 1,
    sizeOf: () => 1,
    send: async (calls) => {
      if (calls.includes(0)) throw new Error('nothing was sent')
      return calls.map((call) => (call < 0 ? new CallFailure(new Error(`not ${call}`)) : call))
    },
  })
  const some = await Promise.allSettled([1, -1, 2].map((call) => queue.call(call)))
  expect(some).toEqual([
    { status: 'fulfilled', value: 1 },
    { status: 'rejected', reason: new Error('not -1') },
    { status: 'fulfilled', value: 2 },
  ])
  const none = await Promise.allSettled([0, 1].map((call) => queue.call(call)))
  const reason = new Error('nothing was sent')
  expect(none).toEqual([
    { status: 'rejected', reason },
    { status: 'rejected', reason },
  ])
})

test('calls that come one after the other leave at once, until there are others again', async () => {
  const sent: (readonly number[])[] = []
  const queue = new CallQueue<number, number>({
    maxCalls: 9,
    maxBytes: Number.POSITIVE_INFINITY,
    maxInFlight: 2,
    sizeOf: () => 1,
    aloneAtOnce: true,
    send: async (calls) => {
      sent.push(calls)
      return calls
    },
  })
  const first = queue.call(1)
  expect(sent).toEqual([])
  expect(await first).toBe(1)
  const second = queue.call(2)
  expect(sent).toEqual([[1], [2]])
  expect(await second).toBe(2)
  // The first of several can not know of the others.
  expect(await Promise.all([3, 4, 5].map((call) => queue.call(call)))).toEqual([3, 4, 5])
  expect(sent.slice(2)).toEqual([[3], [4, 5]])
  expect(await Promise.all([6, 7].map((call) => queue.call(call)))).toEqual([6, 7])
  expect(sent.slice(4)).toEqual([[6, 7]])
})
