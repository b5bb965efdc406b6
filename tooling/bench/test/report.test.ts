import { expect, test } from 'vitest'
import { chart } from '../src/chart.ts'
import type { Figure } from '../src/figure.ts'
import { summarize, unmeasured } from '../src/summary.ts'
import { tables } from '../src/table.ts'

const than = 'W1:floor:1x1'
const round = (floor: number, own: number): Figure[] => [
  { workload: 'W1', what: 'floor', setting: '1x1', value: floor, than },
  { workload: 'W1', what: 'claimNext', setting: '1x1', value: own, than },
]
/** A slow machine in the second repetition. */
const rounds = [round(1000, 2000), round(500, 1000), round(1000, 1900)]

test('a ratio is taken within each repetition', () => {
  const [, own] = summarize(rounds)
  expect(own).toMatchObject({ median: 1900, min: 1000, max: 2000, ratios: [2, 2, 1.9], ratio: 2 })
})

test('an aim that is missed shows', () => {
  const key = 'W1:claimNext:1x1'
  expect(summarize(rounds, { [key]: { atLeast: 2 } })[1]).toMatchObject({ missed: false })
  const missed = summarize(rounds, { [key]: { atLeast: 3 } })
  expect(missed[1]).toMatchObject({ missed: true })
  expect(tables(missed)).toContain('1,900 (1,000..2,000) x 2.00 [>= 3 MISSED]')
})

test('an aim at a figure that is never measured is a mistake', () => {
  const aims = { 'W1:claimnext:1x1': { atLeast: 2 }, 'W1:claimNext:1x1': { atLeast: 2 } }
  expect(unmeasured(summarize(rounds, aims), aims)).toEqual(['W1:claimnext:1x1'])
})

test('the chart shows what is compared with the floor', async () => {
  const svg = await chart('of a test', 'store', [], summarize(rounds))
  expect(svg).toMatch(/^<svg/)
  expect(svg).toContain('claimNext')
  expect(svg).toContain('2.00')
  expect(await chart('of nothing', 'store', [], [])).toBeNull()
})
