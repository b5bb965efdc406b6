import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { failWorkflow } from '../transitions.ts'
import { bytes, type ContractTest, failure, rule, text } from './context.ts'
import { at, atTask, claim } from './fixtures.ts'
import { commit, run, together } from './steps.ts'

/** Everything that is queued, in order. */
export async function drain(
  backend: PersistentBackend,
  instanceId: string,
  signalName: string,
): Promise<(string | null)[]> {
  const events: (string | null)[] = []
  for (;;) {
    const event = await backend.consumeEvent(instanceId, signalName)
    if (event === null) return events
    events.push(text(event))
    if (events.length > 1000) expect.fail('the queue never gets empty')
  }
}

/** Rule E2: queued events. */
export const eventTests: readonly ContractTest[] = [
  rule('E2', 'events come first in, first out', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const sent = Array.from({ length: 30 }, (_, index) => `event ${index}`)
    for (const event of sent) await backend.sendEvent('i', 'go', bytes(event))
    expect(text(await backend.consumeEvent('i', 'go'))).toBe('event 0')
    // What is sent while others wait comes after them.
    await backend.sendEvent('i', 'go', bytes('last'))
    expect(await drain(backend, 'i', 'go')).toEqual([...sent.slice(1), 'last'])
    await backend.sendEvent('i', 'go', bytes('new'))
    expect(await drain(backend, 'i', 'go')).toEqual(['new'])
  }),

  rule('E2', 'each instance and each signal name has a queue of its own', async (t) => {
    const backend = await t.open()
    const queues: readonly (readonly [string, string])[] = [
      ['i', 'a'],
      ['i', 'a:b'],
      ['i', 'A'],
      ['i', 'a%'],
      ['i', '__proto__'],
      ['i:a', 'b'],
      ['i:a', 'a'],
    ]
    for (const instanceId of new Set(queues.map(([id]) => id))) {
      await backend.saveSnapshot(atTask(instanceId))
    }
    for (const queue of queues) await backend.sendEvent(...queue, bytes(queue.join(' / ')))
    expect(await backend.consumeEvent('i', 'b')).toBeNull()
    expect(await backend.consumeEvent('i', 'a_')).toBeNull()
    for (const queue of queues) expect(await drain(backend, ...queue)).toEqual([queue.join(' / ')])
  }),

  rule('E2', 'racing consumers get each event once, and none is left', async (t) => {
    const backends = await t.openMany(4)
    const of = (index: number) => backends[index % backends.length] as PersistentBackend
    await of(0).saveSnapshot(atTask('i'))
    const sent = Array.from({ length: 20 }, (_, index) => `event ${index}`)
    await Promise.all(sent.map((event, index) => of(index).sendEvent('i', 'go', bytes(event))))
    const got = await together(30, (index) => of(index).consumeEvent('i', 'go'))
    expect(got.filter((event) => event === null)).toHaveLength(10)
    expect(
      got
        .flatMap((event) => (event === null ? [] : text(event)))
        .toSorted((a, b) => String(a).localeCompare(String(b))),
    ).toEqual(sent.toSorted((a, b) => a.localeCompare(b)))
  }),

  rule('E2', 'racing senders and consumers lose nothing', async (t) => {
    const backends = await t.openMany(3)
    const of = (index: number) => backends[index % backends.length] as PersistentBackend
    await of(0).saveSnapshot(atTask('i'))
    const got = await together(40, async (index) => {
      if (index % 2 === 1) return of(index).consumeEvent('i', 'go')
      await of(index).sendEvent('i', 'go', bytes(`event ${index}`))
      return null
    })
    const taken = got.flatMap((event) => (event === null ? [] : text(event)))
    const all = [...taken, ...(await drain(of(0), 'i', 'go'))]
    expect(all).toHaveLength(20)
    expect(new Set(all).size).toBe(20)
  }),

  rule('E2', 'a repeated event id is stored once', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.saveSnapshot(atTask('j'))
    const once = { eventId: 'e-1' }
    await backend.sendEvent('i', 'go', bytes('first'), once)
    await backend.sendEvent('i', 'go', bytes('again'), once)
    await backend.sendEvent('i', 'go', bytes('other'), { eventId: 'e-2' })
    await backend.sendEvent('i', 'stop', bytes('first'), once)
    await backend.sendEvent('j', 'go', bytes('first'), once)
    expect(await drain(backend, 'i', 'go')).toEqual(['first', 'other'])
    expect(await drain(backend, 'i', 'stop')).toEqual(['first'])
    expect(await drain(backend, 'j', 'go')).toEqual(['first'])
    // A sender may still retry when the event has been consumed.
    await backend.sendEvent('i', 'go', bytes('late'), once)
    await backend.sendEvent('i', 'stop', bytes('late'), once)
    expect(await drain(backend, 'i', 'go')).toEqual([])
    expect(await drain(backend, 'i', 'stop')).toEqual([])
  }),

  rule('E2', 'events without an id are all different', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.sendEvent('i', 'go', bytes('same'))
    await backend.sendEvent('i', 'go', bytes('same'), {})
    expect(await drain(backend, 'i', 'go')).toEqual(['same', 'same'])
  }),

  rule('E2', 'of racing sends with one event id, one is stored', async (t) => {
    const backends = await t.openMany(4)
    const of = (index: number) => backends[index % backends.length] as PersistentBackend
    await of(0).saveSnapshot(atTask('i'))
    await together(12, (index) =>
      of(index).sendEvent('i', 'go', bytes('same'), { eventId: `e-${index % 3}` }),
    )
    expect(await drain(of(1), 'i', 'go')).toEqual(['same', 'same', 'same'])
  }),

  rule('E2', 'an event id that a parked instance took is not stored again', async (t) => {
    const backend = await t.open()
    const signal = {
      kind: 'at-signal',
      signalId: 's',
      signalName: 'go',
      wakeAt: null,
      nextTaskId: 'b',
    } as const
    await backend.saveSnapshot(at('i', signal))
    await backend.sendEvent('i', 'go', bytes('once'), { eventId: 'e-1' })
    await backend.sendEvent('i', 'go', bytes('twice'), { eventId: 'e-1' })
    expect(await drain(backend, 'i', 'go')).toEqual([])
    await run(backend, 'i', 'b', '', { position: { ...signal, timeoutMs: null } })
    await backend.sendEvent('i', 'go', bytes('thrice'), { eventId: 'e-1' })
    expect((await backend.loadSnapshot('i')).state).toMatchObject({ position: signal })
  }),

  rule('E2', 'ids and queues go with their instance', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await backend.sendEvent('i', 'go', bytes('seen'), { eventId: 'e-1' })
    await backend.consumeEvent('i', 'go')
    await backend.sendEvent('i', 'go', bytes('old'))
    await backend.deleteSnapshot('i')
    await failure(backend.sendEvent('i', 'go', bytes('x')), 'NOT_FOUND')
    expect(await backend.consumeEvent('i', 'go')).toBeNull()
    await backend.saveSnapshot(atTask('i'))
    expect(await backend.consumeEvent('i', 'go')).toBeNull()
    await backend.sendEvent('i', 'go', bytes('new'), { eventId: 'e-1' })
    expect(await drain(backend, 'i', 'go')).toEqual(['new'])
  }),

  rule('E2', 'an event to an unknown instance is NOT_FOUND', async (t) => {
    const backend = await t.open()
    const error = await failure(backend.sendEvent('nobody', 'go', bytes('x')), 'NOT_FOUND')
    expect(error.instanceId).toBe('nobody')
    expect(await backend.consumeEvent('nobody', 'go')).toBeNull()
    await backend.saveSnapshot(atTask('nobody'))
    expect(await backend.consumeEvent('nobody', 'go')).toBeNull()
  }),

  rule('E2', 'an event to an ended instance is TERMINAL, and queued ones are gone', async (t) => {
    const backend = await t.open()
    for (const instanceId of ['completed', 'failed', 'cancelled', 'saved']) {
      await backend.saveSnapshot(atTask(instanceId))
      await backend.sendEvent(instanceId, 'go', bytes('early'), { eventId: 'e-1' })
      await backend.sendEvent(instanceId, 'go', bytes('more'))
    }
    await run(backend, 'completed', 'a', '', { finalOutput: bytes('') })
    await backend.commitTask({
      claim: await claim(backend, 'failed'),
      outcome: { kind: 'failed', error: 'boom' },
    })
    await backend.storeSignal('cancelled', 'cancel')
    await backend.checkAndCancel('cancelled')
    await backend.saveSnapshot(failWorkflow(atTask('saved'), 'boom'))
    for (const instanceId of ['completed', 'failed', 'cancelled', 'saved']) {
      await failure(backend.sendEvent(instanceId, 'go', bytes('late')), 'TERMINAL')
      await failure(
        backend.sendEvent(instanceId, 'go', bytes('early'), { eventId: 'e-1' }),
        'TERMINAL',
      )
      expect(await backend.consumeEvent(instanceId, 'go')).toBeNull()
    }
  }),

  rule('E2', 'payloads of every size come as they were sent', async (t) => {
    const backend = await t.open({ maxPayloadBytes: 1_048_576 })
    await backend.saveSnapshot(atTask('i'))
    const every = Uint8Array.from({ length: 256 }, (_, index) => index)
    const large = new Uint8Array(1_048_576).fill(7)
    const mine = bytes('mine')
    const sending = backend.sendEvent('i', 'go', mine)
    mine.fill(0)
    await sending
    await backend.sendEvent('i', 'go', new Uint8Array(0))
    await backend.sendEvent('i', 'go', every)
    await backend.sendEvent('i', 'go', large)
    await failure(backend.sendEvent('i', 'go', new Uint8Array(1_048_577)), 'PAYLOAD_TOO_LARGE')
    expect(text(await backend.consumeEvent('i', 'go'))).toBe('mine')
    expect(await backend.consumeEvent('i', 'go')).toEqual(new Uint8Array(0))
    expect(await backend.consumeEvent('i', 'go')).toEqual(every)
    const got = await backend.consumeEvent('i', 'go')
    expect(got === null ? -1 : Buffer.compare(got, large)).toBe(0)
    expect(await backend.consumeEvent('i', 'go')).toBeNull()
  }),

  rule('E2', 'events that nobody waits for change nothing of the instance', async (t) => {
    const backend = await t.open()
    const before = await backend.saveSnapshot(atTask('i'))
    await backend.sendEvent('i', 'go', bytes('x'))
    const held = await claim(backend, 'i')
    await backend.sendEvent('i', 'go', bytes('y'))
    await backend.consumeEvent('i', 'go')
    expect(await backend.loadSnapshot('i')).toEqual(before)
    expect(await commit(backend, held, '', { position: { kind: 'not-started' } })).toMatchObject({
      revision: 2,
    })
    expect(await drain(backend, 'i', 'go')).toEqual(['y'])
  }),
]
