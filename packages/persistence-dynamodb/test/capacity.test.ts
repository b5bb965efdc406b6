import { createHash } from 'node:crypto'
import type { ClaimedTask, Next, PersistentBackend, TaskOutcome } from '@sayiir/persistence-core'
import { expect, test } from 'vitest'
import { openMetered } from './costs.ts'
import { atTask } from './namespace.ts'

const LONG_MS = 30_000
const KB = 1024

/** Noise of this many bytes. */
function output(bytes: number, seed = 'seed'): Uint8Array {
  const hash = createHash('shake256', { outputLength: bytes }).update(seed).digest()
  return new Uint8Array(hash)
}

function completed(bytes: number, next: Next, seed = ''): TaskOutcome {
  return { kind: 'completed', output: output(bytes, seed), next }
}

async function claimOne(backend: PersistentBackend): Promise<ClaimedTask> {
  const [one] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: LONG_MS })
  return one ?? expect.fail('there should be a task')
}

const toTask = (taskId: string): Next => ({ position: { kind: 'at-task', taskId } })

/** What the README says, in write units, by the bytes of an output. */
const WRITES = {
  200: { save: 3, claim: 3, renew: 1, commit: 3, laterCommit: 4, step: 2, end: 5 },
  [KB]: { save: 3, claim: 3, renew: 1, commit: 4, laterCommit: 6, step: 4, end: 7 },
} as const

test.each([200, KB] as const)('write units with outputs of %i bytes', async (size) => {
  const { backend, measure } = await openMetered()
  await backend.saveSnapshot(atTask('warm', 'a', output(200)))
  await backend.deleteSnapshot('warm')
  const writes = async (work: () => Promise<unknown>): Promise<number> =>
    (await measure(work)).write
  const expected = WRITES[size]
  expect(await writes(() => backend.saveSnapshot(atTask('i', 'a', output(200))))).toBe(
    expected.save,
  )
  let work = await claimOne(backend)
  await backend.releaseTaskClaim(work.claim)
  expect(await writes(async () => (work = await claimOne(backend)))).toBe(expected.claim)
  expect(await writes(() => backend.renewTaskClaim(work.claim, LONG_MS))).toBe(expected.renew)
  const commit = (next: Next) =>
    backend.commitTask({ claim: work.claim, outcome: completed(size, next) })
  expect(await writes(() => commit(toTask('b')))).toBe(expected.commit)
  work = await claimOne(backend)
  expect(await writes(() => commit(toTask('c')))).toBe(expected.laterCommit)
  work = await claimOne(backend)
  const claimNext = { ttlMs: LONG_MS }
  for (let step = 0; step < 5; step += 1) {
    const outcome = completed(size, toTask(`t${step}`))
    const units = await writes(async () => {
      const { next } = await backend.commitTask({ claim: work.claim, outcome, claimNext })
      work = next ?? expect.fail()
    })
    expect(units).toBe(expected.step)
  }
  expect(await writes(() => commit({ finalOutput: output(size) }))).toBe(expected.end)
})

test('S6 a late step costs what an early one does', { timeout: 120_000 }, async () => {
  const { backend, measure } = await openMetered()
  await backend.saveSnapshot(atTask('i', 't0', output(200)))
  let work = await claimOne(backend)
  const units: number[] = []
  for (let step = 1; step <= 150; step += 1) {
    const outcome = completed(KB, toTask(`t${step}`), `${step}`)
    const run = async (): Promise<void> => {
      const claimNext = { ttlMs: LONG_MS }
      const { next } = await backend.commitTask({ claim: work.claim, outcome, claimNext })
      work = next ?? expect.fail()
    }
    if (step % 70 > 9 && step < 145) await run()
    else units.push((await measure(run)).write)
  }
  // The claim's place in the index is moved now and then, at two units.
  for (const one of units.slice(2)) expect(one).toBeLessThanOrEqual(6)
  expect(units.at(-1)).toBeLessThanOrEqual((units[3] ?? 0) * 1.5)
})

test('read units of a look that finds nothing, and of one that finds something', async () => {
  const { backend, measure } = await openMetered()
  const look = () => backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: LONG_MS })
  await backend.saveSnapshot(atTask('i'))
  await backend.deleteSnapshot('i')
  const empty = await measure(look)
  // One shard for what is due, one for the class, four of each, and the list of classes.
  expect(empty).toMatchObject({ write: 0, read: 4.5 })
  expect(empty.requests).toEqual(new Array(9).fill('Query'))
  await backend.saveSnapshot(atTask('i'))
  expect((await measure(look)).read).toBe(5)
})

test('D8 a look costs no more with more pending, whatever they are', {
  timeout: 120_000,
}, async () => {
  const { backend, measure } = await openMetered()
  const save = (count: number, of: (index: number) => Promise<unknown>) =>
    Promise.all(Array.from({ length: count }, (_, index) => of(index)))
  const filter = { tags: ['mine'], definitionHashes: ['definition'] }
  const claim = () =>
    backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: LONG_MS, ...filter })
  await save(50, (index) => backend.saveSnapshot(atTask(`few${index}`)))
  const few = await measure(claim)
  const tagged = { ...atTask('x'), tags: ['other'] }
  await save(800, (index) => backend.saveSnapshot({ ...tagged, instanceId: `tagged${index}` }))
  await save(800, (index) => backend.saveSnapshot(atTask(`many${index}`)))
  await new Promise((resolve) => setTimeout(resolve, 400))
  const many = await measure(claim)
  expect(many.write).toBe(few.write)
  expect(many.requests.length).toBe(few.requests.length)
  expect(many.read).toBeLessThanOrEqual(few.read * 2)
})

test('no call scans the table', async () => {
  const { backend, measure } = await openMetered()
  const { requests } = await measure(async () => {
    await backend.saveSnapshot(atTask('i'))
    await backend.findAvailableTasks({ workerId: 'w', limit: 10 })
    await backend.waitForWakeup({ timeoutMs: 0 })
    await Array.fromAsync(backend.listSnapshots({ status: 'in-progress' }))
    await backend.stats()
    await backend.prune({ endedBefore: 1 })
    await backend.checkHealth()
  })
  expect(requests.filter((one) => one.includes('Scan'))).toEqual([])
})
