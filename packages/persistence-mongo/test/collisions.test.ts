import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Candidate } from '../src/candidates.ts'
import { Collisions } from '../src/collisions.ts'

const WORKER = 'worker'
const DRAWS = 200

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

/** Candidates of these priorities, best first; `x` marks one that the worker has failed. */
function candidates(...marks: readonly string[]): Candidate[] {
  return marks.map((mark, index) => {
    const entry = {
      t: `${index}`,
      p: Number.parseInt(mark, 10),
      f: mark.endsWith('x') ? WORKER : '',
    }
    return { instanceId: `${index}`, entry } as Candidate
  })
}

/** Who has lost races, and so draws. */
async function collided(times = 3): Promise<Collisions> {
  const collisions = new Collisions()
  for (let time = 0; time < times; time += 1)
    await collisions.take(candidates('3'), 1, WORKER, async () => 0)
  return collisions
}

/** What is taken of these, by their places. */
async function taken(
  collisions: Collisions,
  found: readonly Candidate[],
  wanted: number,
): Promise<string> {
  let places = ''
  await collisions.take(found, wanted, WORKER, async (chosen) => {
    places = chosen.map(({ instanceId }) => instanceId).join()
    return chosen.length
  })
  return places
}

async function draws(found: readonly Candidate[], wanted: number): Promise<Set<string>> {
  const seen = new Set<string>()
  for (let draw = 0; draw < DRAWS; draw += 1) seen.add(await taken(await collided(), found, wanted))
  return seen
}

test('what is found is taken best first, as long as no race is lost', async () => {
  const collisions = new Collisions()
  const found = candidates('3', '3', '3', '3')
  for (let time = 0; time < DRAWS; time += 1) {
    expect(collisions.search(2)).toBe(2)
    expect(await taken(collisions, found, 2)).toBe('0,1')
  }
  expect(await taken(collisions, found.slice(0, 1), 2)).toBe('0')
})

test('after lost races more is found, up to a bound and for a moment', async () => {
  const bounds = [0, 1, 2, 3, 4, 5].map(async (times) => (await collided(times)).search(5))
  expect(await Promise.all(bounds)).toEqual([5, 10, 20, 40, 40, 40])
  const collisions = await collided()
  vi.advanceTimersByTime(100)
  expect(collisions.search(5)).toBe(5)
  expect(await taken(collisions, candidates('3', '3', '3'), 1)).toBe('0')
})

test('claims of one process leave each other’s tasks alone, and do not count as lost', async () => {
  const collisions = new Collisions()
  const found = candidates('3', '3', '3')
  await collisions.take(found, 2, WORKER, async (first) => {
    expect(first).toEqual(found.slice(0, 2))
    expect(collisions.search(1)).toBe(3)
    expect(await taken(collisions, found, 1)).toBe('2')
    // Too few: some of what the other one takes may be left.
    await collisions.take(found, 2, WORKER, async (second) => {
      expect(second).toEqual(found.slice(0, 2))
      return 0
    })
    return 2
  })
  expect(collisions.search(5)).toBe(5)
})

test('one share of what was found is drawn', async () => {
  const found = candidates('3', '3', '3', '3', '3', '3', '3')
  expect(await draws(found, 2)).toEqual(new Set(['0,1', '2,3', '4,5']))
})

test('D2 a draw passes over no task that is more urgent than another', async () => {
  expect(await draws(candidates('1', '3', '3', '3', '3'), 1)).toEqual(new Set(['0']))
  expect(await draws(candidates('1', '1', '3', '3', '3'), 1)).toEqual(new Set(['0', '1']))
  expect(await draws(candidates('1', '3', '3', '3', '3', '3'), 2)).toEqual(new Set(['0,1']))
})

test('D4 a draw passes over no task for one that the worker has failed itself', async () => {
  expect(await draws(candidates('3', '3', '3x', '3x', '3x'), 1)).toEqual(new Set(['0', '1']))
  expect(await draws(candidates('3', '3x', '3x'), 2)).toEqual(new Set(['0,1']))
})
