import { expect, test } from 'vitest'
import { Contention } from '../src/contention.ts'

/** What is drawn in so many tries. */
function drawn(contention: Contention, wanted: number): Set<number> {
  return new Set(Array.from({ length: 2000 }, () => contention.skip(wanted)))
}

test('D2 the best tasks are taken where nobody was faster', () => {
  const contention = new Contention()
  expect(drawn(contention, 5)).toEqual(new Set([0]))
  contention.claimed(true)
  expect(drawn(contention, 5)).toEqual(new Set([0]))
})

test('D2 where others were faster some of the best are left to them, and none once nobody is', () => {
  const contention = new Contention()
  contention.claimed(false)
  expect(drawn(contention, 5)).toEqual(new Set([0, 5]))
  contention.claimed(false)
  expect(drawn(contention, 5)).toEqual(new Set([0, 5, 10, 15]))
  for (let claims = 0; claims < 7; claims += 1) contention.claimed(true)
  expect(drawn(contention, 5)).toEqual(new Set([0]))
})

test('the server never passes over more than some hundreds, and over none of a short queue', () => {
  const contention = new Contention()
  for (let claims = 0; claims < 100; claims += 1) contention.claimed(false)
  expect(Math.max(...drawn(contention, 1))).toBe(31)
  expect(Math.max(...drawn(contention, 250))).toBe(500)
  expect(Math.max(...drawn(contention, 1000))).toBe(0)
  contention.ranShort()
  expect(drawn(contention, 1)).toEqual(new Set([0]))
})
