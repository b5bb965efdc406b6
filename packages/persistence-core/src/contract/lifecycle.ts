import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { MAX_TIME } from '../check.ts'
import {
  bytes,
  type ContractContext,
  type ContractTest,
  collect,
  failure,
  rule,
  text,
} from './context.ts'
import { at, atTask, claim, completed, found, LONG_MS, SHORT_MS, toTask } from './fixtures.ts'
import { argumentsOf, methods } from './methods.ts'
import { contentOf, plain } from './stored.ts'

/** The data of a backend that was closed, if it is still there: what `durable` and `shared` promise. */
async function reopen(
  t: ContractContext,
  backend: PersistentBackend,
  namespace: string,
): Promise<PersistentBackend> {
  await backend.close()
  return t.openOn(namespace)
}

function staysAfterClose({ capabilities }: ContractContext): boolean {
  return capabilities.durable || capabilities.shared
}

/** Rules M2 to M4: opening and closing, and what is apart. */
export const lifecycleTests: readonly ContractTest[] = [
  rule('M2', 'after close every call is CLOSED, and close may be called again', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    await Promise.all([backend.close(), backend.close()])
    await backend.close()
    for (const method of methods) {
      await failure(method.call(backend, argumentsOf(method)), 'CLOSED')
    }
    await backend.close()
    await backend[Symbol.asyncDispose]()
  }),

  rule('M2', '`await using` closes', async (t) => {
    const backend = await t.open()
    {
      await using scoped = backend
      await scoped.checkHealth()
    }
    await failure(backend.checkHealth(), 'CLOSED')
  }),

  rule('M2', 'close ends waits with null at once', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('later'))
    await claim(backend, 'later')
    const waits = [
      backend.waitForWakeup({ timeoutMs: LONG_MS }),
      backend.waitForWakeup({ timeoutMs: LONG_MS, tags: ['gpu'], definitionHashes: ['d'] }),
      backend.waitForWakeup({ timeoutMs: LONG_MS }, { signal: new AbortController().signal }),
    ]
    // The waits have begun, and found nothing.
    await backend.checkHealth()
    await backend.close()
    expect(await Promise.all(waits)).toEqual([null, null, null])
  }),

  rule('M2', 'close ends open listings with CLOSED', async (t) => {
    const backend = await t.open()
    for (const id of ['a', 'b', 'c']) await backend.saveSnapshot(atTask(id))
    const begun = backend.listSnapshots()[Symbol.asyncIterator]()
    const fresh = backend.listSnapshots()
    expect((await begun.next()).value?.instanceId).toBe('a')
    await backend.close()
    await failure(begun.next(), 'CLOSED')
    await failure(collect(fresh), 'CLOSED')
  }),

  rule('M2', 'close lets running calls finish', async (t) => {
    const namespace = t.namespace()
    const backend = await t.openOn(namespace)
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const calls = [
      ...Array.from({ length: 20 }, (_, index) => backend.saveSnapshot(atTask(`s-${index}`))),
      backend.commitTask({ claim: held, outcome: completed('x', toTask('b')) }),
      backend.loadSnapshot('i'),
      backend.findAvailableTasks({ workerId: 'w', limit: 10 }),
      backend.sendEvent('i', 'go', bytes('x')),
    ]
    const closing = backend.close()
    await failure(backend.loadSnapshot('i'), 'CLOSED')
    const outcomes = await Promise.allSettled(calls)
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([])
    await closing
    if (staysAfterClose(t)) {
      const again = await t.openOn(namespace)
      expect(await collect(again.listSnapshots())).toHaveLength(21)
      expect((await again.loadSnapshot('i')).revision).toBe(2)
    }
  }),

  rule('M2', 'a borrowed client stays open, one’s own is closed', async (t) => {
    const namespace = t.namespace()
    const { borrow } = t.harness
    if (borrow === undefined) {
      // Nothing to borrow: `connect` is the one way in, and closing is final.
      const backend = await t.openOn(namespace)
      await backend.close()
      await failure(backend.checkHealth(), 'CLOSED')
      return
    }
    const owner = await t.openOn(namespace)
    await owner.saveSnapshot(atTask('i'))
    const borrowed = await borrow.call(t.harness, namespace)
    try {
      const { backend } = borrowed
      expect((await backend.loadSnapshot('i')).instanceId).toBe('i')
      await backend.saveSnapshot(atTask('j'))
      const wait = backend.waitForWakeup({ timeoutMs: LONG_MS, tags: [], definitionHashes: [] })
      await backend.close()
      expect(await wait).toBeNull()
      await failure(backend.loadSnapshot('i'), 'CLOSED')
      expect(await borrowed.isOpen()).toBe(true)
      expect(await found(owner)).toEqual(['i/a', 'j/a'])
    } finally {
      await borrowed.close()
    }
    await owner.checkHealth()
  }),

  rule('M2', 'closing one object leaves the others on the store working', async (t) => {
    const [one, two] = (await t.openMany(2)) as [PersistentBackend, PersistentBackend]
    await one.saveSnapshot(atTask('i'))
    const held = await claim(one, 'i')
    const alone = one === two
    await one.close()
    if (alone) return failure(two.loadSnapshot('i'), 'CLOSED').then(() => undefined)
    await two.renewTaskClaim(held, LONG_MS)
    expect((await two.loadSnapshot('i')).revision).toBe(1)
  }),

  rule('M2', 'what was stored is there for the next to open it, if that is promised', async (t) => {
    const namespace = t.namespace()
    const backend = await t.openOn(namespace)
    await backend.saveSnapshot(atTask('i'))
    const commit = { claim: await claim(backend, 'i'), outcome: completed('out', toTask('b')) }
    const receipt = await backend.commitTask(commit)
    const held = await claim(backend, 'i', 'b')
    await backend.sendEvent('i', 'go', bytes('first'), { eventId: 'e' })
    await backend.storeSignal('i', 'pause', { reason: 'r' })
    await backend.saveSnapshot(
      at('timer', { kind: 'at-delay', delayId: 'd', enteredAt: 0, wakeAt: 1, nextTaskId: 'a' }),
    )
    await backend.saveSnapshot(atTask('expiring'))
    const expiring = await claim(backend, 'expiring', 'a', { ttlMs: SHORT_MS })
    const before = await backend.loadSnapshot('i')
    const listed = await collect(backend.listSnapshots())
    const again = await reopen(t, backend, namespace)
    if (!staysAfterClose(t)) {
      expect(await collect(again.listSnapshots())).toEqual([])
      await failure(again.loadSnapshot('i'), 'NOT_FOUND')
      expect(await found(again)).toEqual([])
      return
    }
    expect(await collect(again.listSnapshots())).toEqual(listed)
    const loaded = await again.loadSnapshot('i')
    expect(plain(loaded)).toEqual(plain(before))
    expect(contentOf(loaded)).toEqual(contentOf(before))
    expect(text(await again.loadTaskResult('i', 'a'))).toBe('out')
    expect(await again.commitTask(commit)).toEqual(receipt)
    expect((await again.getSignal('i', 'pause'))?.reason).toBe('r')
    await again.sendEvent('i', 'go', bytes('repeated'), { eventId: 'e' })
    expect(text(await again.consumeEvent('i', 'go'))).toBe('first')
    expect(await again.consumeEvent('i', 'go')).toBeNull()
    await again.clearSignal('i', 'pause')
    expect(await again.claimTask({ ...held, workerId: 'other', ttlMs: LONG_MS })).toBeNull()
    expect(await again.renewTaskClaim(held, LONG_MS)).toMatchObject({ token: held.token })
    await t.elapse(SHORT_MS)
    expect((await found(again)).sort()).toEqual(['expiring/a', 'timer/a'])
    const taken = await claim(again, 'expiring')
    expect(taken.token).toBeGreaterThan(expiring.token)
  }),

  rule('M3', 'namespaces never see each other, however alike their names', async (t) => {
    const base = t.namespace()
    const names = [base, `${base}_`, `${base}1`, base.replaceAll('_', 'x'), `x${base}`]
    const backends = await Promise.all(names.map((name) => t.openOn(name)))
    for (const [index, backend] of backends.entries()) {
      await backend.saveSnapshot(atTask('same', `task-${index}`))
      await backend.saveSnapshot(atTask(`own-${index}`, 'a', { tags: ['nobody'] }))
      await backend.sendEvent('same', 'go', bytes(`${index}`), { eventId: 'e' })
    }
    for (const [index, backend] of backends.entries()) {
      const listed = await collect(backend.listSnapshots())
      expect(listed.map(({ instanceId }) => instanceId)).toEqual([`own-${index}`, 'same'])
      expect(await found(backend, { tags: [] })).toEqual([`same/task-${index}`])
      expect(await backend.stats()).toMatchObject({ available: 2, claimed: 0 })
    }
    const [first, ...others] = backends as [PersistentBackend, ...PersistentBackend[]]
    await first.storeSignal('same', 'cancel')
    expect(await first.checkAndCancel('same')).toBe(true)
    await first.prune({ endedBefore: MAX_TIME })
    await first.deleteSnapshot('own-0')
    expect(await collect(first.listSnapshots())).toEqual([])
    expect(await first.waitForWakeup({ timeoutMs: 0 })).toBeNull()
    for (const [index, backend] of others.entries()) {
      expect(await backend.getSignal('same', 'cancel')).toBeNull()
      expect(text(await backend.consumeEvent('same', 'go'))).toBe(`${index + 1}`)
      const held = await claim(backend, 'same', `task-${index + 1}`)
      await failure(first.renewTaskClaim(held, LONG_MS), 'NOT_FOUND')
      expect((await backend.loadSnapshot('same')).revision).toBe(1)
    }
  }),

  rule('M4', 'objects that are opened at once on an empty store set it up once', async (t) => {
    const namespace = t.namespace()
    const count = t.capabilities.shared ? 8 : 1
    const backends = await Promise.all(Array.from({ length: count }, () => t.openOn(namespace)))
    await Promise.all(backends.map((backend, index) => backend.saveSnapshot(atTask(`i-${index}`))))
    const own = backends.map((_, index) => `i-${index}`)
    for (const backend of backends) {
      await backend.checkHealth()
      const listed = await collect(backend.listSnapshots())
      expect(listed.map(({ instanceId }) => instanceId)).toEqual(own)
    }
  }),

  rule('M4', 'opening a store that is set up changes nothing in it', async (t) => {
    const namespace = t.namespace()
    const first = await t.openOn(namespace)
    const saved = await first.saveSnapshot(atTask('i'))
    const held = await claim(first, 'i')
    for (let round = 0; round < 3; round += 1) {
      const other = t.capabilities.shared ? await t.openOn(namespace) : first
      expect(plain(await other.loadSnapshot('i'))).toEqual(plain(saved))
      expect(await found(other)).toEqual([])
    }
    await first.renewTaskClaim(held, LONG_MS)
  }),
]
