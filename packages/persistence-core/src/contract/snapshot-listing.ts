import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import type { WorkflowSnapshot } from '../snapshot.ts'
import type { ListFilter } from '../snapshot-store.ts'
import { cancelWorkflow, completeWorkflow, failWorkflow, pauseWorkflow } from '../transitions.ts'
import { bytes, type ContractTest, collect, rule } from './context.ts'
import { atTask } from './fixtures.ts'
import { AWKWARD_IDS, byUtf8 } from './stored.ts'

async function ids(backend: PersistentBackend, filter?: ListFilter): Promise<string[]> {
  return (await collect(backend.listSnapshots(filter))).map(({ instanceId }) => instanceId)
}

/** Saves many at once, in batches that no connection pool minds. */
async function saveAll(
  backend: PersistentBackend,
  snapshots: readonly WorkflowSnapshot[],
): Promise<void> {
  for (let from = 0; from < snapshots.length; from += 100) {
    await Promise.all(snapshots.slice(from, from + 100).map((one) => backend.saveSnapshot(one)))
  }
}

/** More than any page. */
const MANY = Array.from({ length: 1200 }, (_, index) => `i-${String(index).padStart(4, '0')}`)

/** Rule S9: listings. */
export const snapshotListingTests: readonly ContractTest[] = [
  rule('S9', 'an empty store lists nothing', async (t) => {
    const backend = await t.open()
    expect(await ids(backend)).toEqual([])
    expect(await ids(backend, { prefix: 'a', after: 'a', limit: 1 })).toEqual([])
  }),

  rule('S9', 'summaries say what the snapshots say', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('b', 'a', { definitionHash: 'd-2' }))
    const completed = await backend.saveSnapshot(completeWorkflow(atTask('a'), bytes('out')))
    await t.elapse(5)
    const saved = await backend.saveSnapshot(pauseWorkflow(atTask('b'), { at: 1 }))
    const expected = [completed, saved].map((snapshot) => {
      const { instanceId, definitionHash, revision, createdAt, updatedAt, state } = snapshot
      return { instanceId, definitionHash, status: state.status, revision, createdAt, updatedAt }
    })
    expect(await collect(backend.listSnapshots())).toEqual(expected)
    await backend.saveTaskResult({ instanceId: 'b', taskId: 'x', output: bytes('x') })
    const [, listed] = await collect(backend.listSnapshots())
    expect(listed?.revision).toBe(3)
  }),

  rule('S9', 'the order is that of the UTF-8 bytes of the ids', async (t) => {
    const backend = await t.open()
    await saveAll(
      backend,
      AWKWARD_IDS.map((id) => atTask(id)),
    )
    const sorted = byUtf8(AWKWARD_IDS)
    expect(await ids(backend)).toEqual(sorted)
    for (const [index, after] of sorted.entries()) {
      expect(await ids(backend, { after, limit: 2 })).toEqual(sorted.slice(index + 1, index + 3))
    }
  }),

  rule(
    'S9',
    'a prefix is text: no character of it is a pattern, folded or normalised',
    async (t) => {
      const backend = await t.open()
      await saveAll(
        backend,
        AWKWARD_IDS.map((id) => atTask(id)),
      )
      const sorted = byUtf8(AWKWARD_IDS)
      for (const prefix of AWKWARD_IDS) {
        const matching = sorted.filter((id) => id.startsWith(prefix))
        expect(await ids(backend, { prefix }), `prefix ${JSON.stringify(prefix)}`).toEqual(matching)
        expect(await ids(backend, { prefix, after: prefix })).toEqual(
          matching.filter((id) => id !== prefix),
        )
      }
      expect(await ids(backend, { prefix: 'nothing starts with this' })).toEqual([])
    },
  ),

  rule('S9', '`after` need not exist, nor lie within the prefix', async (t) => {
    const backend = await t.open()
    await saveAll(
      backend,
      ['a', 'ab', 'b1', 'b2', 'b3', 'c'].map((id) => atTask(id)),
    )
    expect(await ids(backend, { after: 'b15' })).toEqual(['b2', 'b3', 'c'])
    expect(await ids(backend, { prefix: 'b', after: 'a' })).toEqual(['b1', 'b2', 'b3'])
    expect(await ids(backend, { prefix: 'b', after: 'b1', limit: 1 })).toEqual(['b2'])
    expect(await ids(backend, { prefix: 'b', after: 'bz' })).toEqual([])
    expect(await ids(backend, { prefix: 'b', after: 'c' })).toEqual([])
  }),

  rule(
    'S9',
    'filters take one value or several, and all hold; an empty array matches nothing',
    async (t) => {
      const backend = await t.open()
      const of = (id: string, definitionHash: string): WorkflowSnapshot =>
        atTask(id, 'a', { definitionHash })
      await saveAll(backend, [
        of('in-1', 'd-1'),
        of('in-2', 'd-2'),
        completeWorkflow(of('completed-1', 'd-1'), bytes('')),
        failWorkflow(of('failed-2', 'd-2'), 'x'),
        cancelWorkflow(of('cancelled-1', 'd-1'), { at: 1 }),
        pauseWorkflow(of('paused-3', 'd-3'), { at: 1 }),
      ])
      expect(await ids(backend, { status: 'in-progress' })).toEqual(['in-1', 'in-2'])
      expect(await ids(backend, { status: ['paused', 'failed'] })).toEqual(['failed-2', 'paused-3'])
      expect(await ids(backend, { status: ['completed', 'cancelled', 'completed'] })).toEqual([
        'cancelled-1',
        'completed-1',
      ])
      expect(await ids(backend, { definitionHash: 'd-2' })).toEqual(['failed-2', 'in-2'])
      expect(
        await ids(backend, { definitionHash: ['d-3', 'd-1'], status: ['in-progress', 'paused'] }),
      ).toEqual(['in-1', 'paused-3'])
      expect(
        await ids(backend, { definitionHash: 'd-1', prefix: 'c', after: 'ca', limit: 1 }),
      ).toEqual(['cancelled-1'])
      expect(await ids(backend, { definitionHash: 'unknown' })).toEqual([])
      expect(await ids(backend, { status: [] })).toEqual([])
      expect(await ids(backend, { definitionHash: [] })).toEqual([])
      expect(await ids(backend, { status: [], definitionHash: 'd-1' })).toEqual([])
      expect(await ids(backend, { definitionHash: [], status: 'paused' })).toEqual([])
    },
  ),

  rule('S9', 'a listing may be left early, or never started', async (t) => {
    const backend = await t.open()
    await saveAll(
      backend,
      MANY.slice(0, 5).map((id) => atTask(id)),
    )
    backend.listSnapshots()
    const seen: string[] = []
    for await (const { instanceId } of backend.listSnapshots()) {
      seen.push(instanceId)
      if (seen.length === 2) break
    }
    expect(seen).toEqual(MANY.slice(0, 2))
    const [one, two] = [backend.listSnapshots(), backend.listSnapshots({ after: 'i-0001' })]
    const steps = [one, two].map((listing) => listing[Symbol.asyncIterator]())
    const firsts = await Promise.all(steps.map((step) => step.next()))
    expect(firsts.map(({ value }) => value.instanceId)).toEqual(['i-0000', 'i-0002'])
  }),

  rule('S9', 'an abort ends a listing with its reason', async (t) => {
    const backend = await t.open()
    await saveAll(backend, [atTask('a'), atTask('b'), atTask('c')])
    const controller = new AbortController()
    const listing = backend.listSnapshots({ signal: controller.signal })[Symbol.asyncIterator]()
    expect((await listing.next()).value?.instanceId).toBe('a')
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(listing.next()).rejects.toBe(reason)
  }),

  rule(
    'S9',
    'pages join without a gap, and what stays is listed once whatever comes and goes',
    async (t) => {
      const backend = await t.open()
      const odd = (id: string): boolean => Number(id.slice(2)) % 2 === 1
      await saveAll(
        backend,
        MANY.map((id) => atTask(id, 'a', { definitionHash: odd(id) ? 'odd' : 'even' })),
      )
      expect(await ids(backend)).toEqual(MANY)
      for (const limit of [1, 100, 1000, 1001, 1199, 1200, 5000]) {
        expect(await ids(backend, { limit })).toEqual(MANY.slice(0, limit))
      }
      expect(await ids(backend, { prefix: 'i' })).toEqual(MANY)
      expect(await ids(backend, { prefix: 'i', after: 'h' })).toEqual(MANY)
      expect(await ids(backend, { definitionHash: 'odd' })).toEqual(MANY.filter(odd))
      expect(await ids(backend, { definitionHash: 'odd', limit: 550 })).toEqual(
        MANY.filter(odd).slice(0, 550),
      )
      // Behind, at and ahead of where the listing is, instances are deleted and added.
      const seen: string[] = []
      const gone = new Set<string>()
      for await (const { instanceId } of backend.listSnapshots()) {
        seen.push(instanceId)
        const place = MANY.indexOf(instanceId)
        if (place < 0 || place % 40 !== 0) continue
        for (const index of [place - 3, place, place + 3, place + 101]) {
          const id = MANY[index]
          if (id === undefined || gone.has(id)) continue
          gone.add(id)
          await backend.deleteSnapshot(id)
        }
        await backend.saveSnapshot(atTask(`${instanceId}-new`))
        await backend.saveSnapshot(atTask(`h-${place}`))
      }
      expect(seen).toEqual(byUtf8(new Set(seen)))
      const listed = new Set(seen)
      expect(MANY.filter((id) => !gone.has(id) && !listed.has(id))).toEqual([])
      expect(seen.filter((id) => id.startsWith('h-'))).toEqual([])
    },
    { timeoutMs: 60_000 },
  ),
]
