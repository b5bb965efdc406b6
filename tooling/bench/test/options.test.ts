import { expect, test } from 'vitest'
import { readOptions } from '../src/options.ts'

test('a case is wanted if it has all the words of one part of --only', () => {
  const { wants } = readOptions(['--only', 'W1:batch50:1x10,S6'])
  expect(wants('W1:batch50:1x10')).toBe(true)
  expect(wants('W1:floor batch50:1x10')).toBe(true)
  expect(wants('W1:batch50:1x1')).toBe(false)
  expect(wants('S6:commitTask')).toBe(true)
  expect(readOptions([]).wants('W4:floor')).toBe(true)
})

test('quick sizes never exceed those of the backend', () => {
  const { sizes, repetitions } = readOptions(['--quick'], { jobs: 100, depths: [50, 500] })
  expect(sizes.jobs).toBe(100)
  expect(sizes.depths).toEqual([50, 500])
  expect(repetitions).toBe(1)
  expect(readOptions(['--quick', '--depths', '10,20', '--reps', '2'])).toMatchObject({
    repetitions: 2,
    sizes: { depths: [10, 20] },
  })
})

test('wrong arguments are refused', () => {
  expect(() => readOptions(['--reps', '0'])).toThrow('whole number')
  expect(() => readOptions(['--quik'])).toThrow('--quik')
})
