import { expect } from 'vitest'
import type { PersistentBackend } from '../backend.ts'
import { completeWorkflow, moveTo } from '../transitions.ts'
import { bytes, type ContractTest, failure, refused, rule, settle } from './context.ts'
import { at, atFork, atTask, claim, found, LONG_MS, SHORT_MS } from './fixtures.ts'
import { marked, markOf, plain, unchanged } from './stored.ts'

/** Rule S3: saves that a claim fences. */
export const fencedSaveTests: readonly ContractTest[] = [
  rule('S3', 'a save lands while its claim is held, which it keeps', async (t) => {
    const backend = await t.open()
    const before = await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const { token: _, ...unnumbered } = held
    let last = before
    for (const ref of [held, unnumbered, held]) {
      last = await backend.saveSnapshot(marked(last, 'm'), { claim: ref })
    }
    expect(last.revision).toBe(4)
    expect(await found(backend)).toEqual([])
    await backend.renewTaskClaim(held, LONG_MS)
  }),

  rule('S3', 'with any other claim it is CLAIM_LOST, and nothing is written', async (t) => {
    const backend = await t.open()
    const before = await backend.saveSnapshot(atFork('i', ['a', 'b']))
    const never = { instanceId: 'i', taskId: 'a', workerId: 'w', token: 1 }
    const attempt = async (ref: object): Promise<void> => {
      const next = marked(before, 'late')
      for (const options of [{}, { release: true }, { expectedRevision: before.revision }]) {
        const saving = backend.saveSnapshot(next, { ...options, claim: ref as typeof never })
        const error = await failure(saving, 'CLAIM_LOST')
        expect(error.instanceId).toBe('i')
      }
      await unchanged(backend, before)
    }
    await attempt(never)
    const stale = await claim(backend, 'i')
    await backend.releaseTaskClaim(stale)
    await attempt(stale)
    const held = await claim(backend, 'i')
    await attempt(stale)
    await attempt({ ...held, token: held.token + 1 })
    await attempt({ ...held, workerId: 'worker-2' })
    await attempt({ instanceId: 'i', taskId: 'a', workerId: 'worker-2' })
    await attempt({ ...held, taskId: 'b' })
    await attempt({ ...held, taskId: 'unknown' })
    await backend.saveSnapshot(marked(before, 'in time'), { claim: held })
  }),

  rule(
    'S3',
    'an expired claim that nobody took still saves; once it is taken it is lost',
    async (t) => {
      const backend = await t.open()
      const first = await backend.saveSnapshot(atTask('i'))
      const expired = await claim(backend, 'i', 'a', { ttlMs: SHORT_MS })
      await t.elapse(SHORT_MS)
      const second = await backend.saveSnapshot(marked(first, 'late'), { claim: expired })
      const taken = await claim(backend, 'i', 'a', { workerId: 'worker-2' })
      await failure(
        backend.saveSnapshot(marked(second, 'zombie'), { claim: expired }),
        'CLAIM_LOST',
      )
      await unchanged(backend, second)
      await backend.saveSnapshot(marked(second, 'successor'), { claim: taken })
      expect(await markOf(backend, 'i')).toBe('successor')
    },
  ),

  rule(
    'S3',
    'a fenced save is by default a compare-and-set on the snapshot’s own revision',
    async (t) => {
      const backend = await t.open()
      const before = await backend.saveSnapshot(atFork('i', ['a', 'b']))
      const held = await claim(backend, 'i', 'a')
      // A sister's output comes between.
      await backend.saveTaskResult({ instanceId: 'i', taskId: 'b', output: bytes('sister') })
      const between = await backend.loadSnapshot('i')
      await failure(backend.saveSnapshot(marked(before, 'x'), { claim: held }), 'CONFLICT')
      await failure(
        backend.saveSnapshot(marked(before, 'x'), { claim: held, release: true }),
        'CONFLICT',
      )
      await unchanged(backend, between)
      // A refused save releases nothing.
      await backend.renewTaskClaim(held, LONG_MS)
      await backend.saveSnapshot(marked(between, 'y'), { claim: held })
      // Told otherwise, it is held to what it was told.
      await backend.saveSnapshot(marked(before, 'z'), { claim: held, expectedRevision: 3 })
      await failure(
        backend.saveSnapshot({ ...before, revision: 4 }, { claim: held, expectedRevision: 3 }),
        'CONFLICT',
      )
      expect(await markOf(backend, 'i')).toBe('z')
    },
  ),

  rule('S3', '`release` gives the claim up in the same step', async (t) => {
    const backend = await t.open()
    const before = await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const saved = await backend.saveSnapshot(marked(before, 'm'), { claim: held, release: true })
    expect(await found(backend)).toEqual(['i/a'])
    await failure(backend.saveSnapshot(saved, { claim: held }), 'CLAIM_LOST')
    await failure(backend.renewTaskClaim(held, LONG_MS), 'CLAIM_LOST')
    const other = await claim(backend, 'i', 'a', { workerId: 'worker-2' })
    await backend.saveSnapshot(moveTo(saved, { kind: 'at-task', taskId: 'b' }), {
      claim: other,
      release: true,
    })
    expect(await found(backend)).toEqual(['i/b'])
    const last = await claim(backend, 'i', 'b')
    const current = await backend.loadSnapshot('i')
    await backend.saveSnapshot(completeWorkflow(current, bytes('out')), {
      claim: last,
      release: true,
    })
    expect((await backend.loadSnapshot('i')).state.status).toBe('completed')
  }),

  rule('S3', 'a save that moves on from a task ends the claim on it', async (t) => {
    const backend = await t.open()
    const before = await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    const moved = moveTo(before, { kind: 'at-task', taskId: 'b' })
    const saved = await backend.saveSnapshot(moved, { claim: held })
    await failure(backend.saveSnapshot(saved, { claim: held }), 'CLAIM_LOST')
    // Nor does it come back with the position.
    const back = await backend.saveSnapshot(moveTo(saved, { kind: 'at-task', taskId: 'a' }))
    await failure(backend.saveSnapshot(back, { claim: held }), 'CLAIM_LOST')
    await claim(backend, 'i', 'a', { workerId: 'worker-2' })
  }),

  rule(
    'S3',
    'a claim of another instance, or `release` without a claim, is a TypeError',
    async (t) => {
      const backend = await t.open()
      const before = await backend.saveSnapshot(atTask('i'))
      await backend.saveSnapshot(atTask('j'))
      const foreign = await claim(backend, 'j')
      await refused(() => backend.saveSnapshot(before, { claim: foreign }), TypeError)
      await refused(() => backend.saveSnapshot(before, { release: true }), TypeError)
      await refused(() => backend.saveSnapshot(atTask('k'), { release: true }), TypeError)
      await unchanged(backend, before)
      await failure(backend.loadSnapshot('k'), 'NOT_FOUND')
      await backend.saveSnapshot(before, { release: false })
    },
  ),

  rule('S3', 'a fenced save on an unknown instance is NOT_FOUND and creates nothing', async (t) => {
    const backend = await t.open()
    await backend.saveSnapshot(atTask('i'))
    const held = await claim(backend, 'i')
    await backend.deleteSnapshot('i')
    for (const expectedRevision of [undefined, 0, 1, 5]) {
      const options = expectedRevision === undefined ? {} : { expectedRevision }
      await failure(backend.saveSnapshot(atTask('i'), { ...options, claim: held }), 'NOT_FOUND')
    }
    await failure(backend.loadSnapshot('i'), 'NOT_FOUND')
    // The claim does not outlive the instance, compare-and-set or not.
    const anew = await backend.saveSnapshot(atTask('i'))
    await failure(
      backend.saveSnapshot(marked(anew, 'zombie'), { claim: held, expectedRevision: 1 }),
      'CLAIM_LOST',
    )
    await unchanged(backend, anew)
  }),

  rule('S3', 'of 20 racing fenced saves one wins; a zombie never does', async (t) => {
    const backends = await t.openMany(4)
    const [first] = backends as [PersistentBackend]
    const before = await first.saveSnapshot(atTask('i'))
    const zombie = await claim(first, 'i', 'a', { ttlMs: SHORT_MS })
    await t.elapse(SHORT_MS)
    const held = await claim(first, 'i', 'a', { workerId: 'worker-2' })
    const outcomes = await settle(
      Array.from({ length: 20 }, async (_, index) => {
        const backend = backends[index % 4] as PersistentBackend
        const ref = index % 2 === 0 ? zombie : held
        await backend.saveSnapshot(marked(before, `${index}`), { claim: ref })
        return index
      }),
    )
    const winners = outcomes.filter((outcome) => typeof outcome === 'number')
    expect(winners).toHaveLength(1)
    expect(Number(winners[0]) % 2).toBe(1)
    expect(outcomes.filter((outcome) => outcome === 'CLAIM_LOST')).toHaveLength(10)
    expect(await markOf(first, 'i')).toBe(`${winners[0]}`)
    expect(plain((await first.loadSnapshot('i')).state)).toEqual(
      plain(marked(at('i', { kind: 'at-task', taskId: 'a' }), `${winners[0]}`).state),
    )
  }),
]
