import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
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

/** What the README's table says, in write units: rows by name, with outputs of 200 bytes and of 1 KB. */
async function documented(): Promise<Map<string, readonly [number, number]>> {
  const text = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const rows = text.matchAll(/^\| (?:\*\*)?([^|*]+?)(?:\*\*)? \| \**(\d+)\** \| \**(\d+)\** \|$/gm)
  return new Map(
    [...rows].map(([, name = '', small, large]) => [name, [Number(small), Number(large)]]),
  )
}

test.each([200, KB] as const)('write units with outputs of %i bytes', async (size) => {
  const { backend, measure } = await openMetered()
  await backend.saveSnapshot(atTask('warm', 'a', output(200)))
  await backend.deleteSnapshot('warm')
  const measured = new Map<string, number>()
  const writes = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    const { write } = await measure(work)
    expect(measured.get(name) ?? write, name).toBe(write)
    measured.set(name, write)
  }
  await writes('`saveSnapshot` of a new instance', () =>
    backend.saveSnapshot(atTask('i', 'a', output(200))),
  )
  let work = await claimOne(backend)
  await backend.releaseTaskClaim(work.claim)
  await writes('claim of a first task', async () => (work = await claimOne(backend)))
  await writes('heartbeat on a first task', () => backend.renewTaskClaim(work.claim, LONG_MS))
  const commit = (next: Next) =>
    backend.commitTask({ claim: work.claim, outcome: completed(size, next) })
  await writes('commit of a first task, without `claimNext`', () => commit(toTask('b')))
  await writes('claim of a later task', async () => (work = await claimOne(backend)))
  await writes('heartbeat on a later task', () => backend.renewTaskClaim(work.claim, LONG_MS))
  await writes('commit of a later task, without `claimNext`', () => commit(toTask('c')))
  work = await claimOne(backend)
  const claimNext = { ttlMs: LONG_MS }
  for (let step = 0; step < 5; step += 1) {
    const outcome = completed(size, toTask(`t${step}`))
    await writes('a step: a commit with `claimNext`', async () => {
      const { next } = await backend.commitTask({ claim: work.claim, outcome, claimNext })
      work = next ?? expect.fail()
    })
  }
  await writes('the last commit', () => commit({ finalOutput: output(size) }))
  const table = await documented()
  const column = size === 200 ? 0 : 1
  for (const [name, units] of measured)
    expect([name, table.get(name)?.[column]]).toEqual([name, units])
})

test('the prices in the README follow from its table', async () => {
  const table = await documented()
  const text = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const price = (units: number): string => (units * 0.625).toFixed(2)
  const of = (name: string, column: 0 | 1): number => table.get(name)?.[column] ?? Number.NaN
  for (const column of [0, 1] as const) {
    const step = of('a step: a commit with `claimNext`', column)
    const apart =
      of('claim of a later task', column) +
      of('commit of a later task, without `claimNext`', column)
    expect(text).toContain(`${price(step)} USD`)
    expect(text).toContain(`${price(apart)} USD`)
  }
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
  // It came with the index.
  expect(await measure(look)).toMatchObject({ read: 4.5 })
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
