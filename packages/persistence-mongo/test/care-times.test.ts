import { expect, test } from 'vitest'
import { CareTimes } from '../src/care-times.ts'

test('the first time that counts is told, as often as it was noted', () => {
  const times = new CareTimes()
  expect(times.first()).toBeUndefined()
  for (const time of [300, 100, 200, 100]) times.note(time)
  expect(times.first()).toBe(100)
  times.forget(100)
  expect(times.first()).toBe(100)
  times.forget(100)
  times.forget(100)
  expect(times.first()).toBe(200)
  // Never earlier than it is due.
  times.note(101)
  expect(times.first()).toBe(102)
  times.passed(250)
  expect(times.first()).toBe(300)
})

test('times that were forgotten do not gather behind one that stays', () => {
  const times = new CareTimes()
  times.note(1000)
  for (let time = 2000; time < 202_000; time += 2) {
    times.note(time)
    times.forget(time)
    if (time % 4 === 0) times.note(time)
    if (time % 4 === 0) times.forget(time)
  }
  times.note(500_000)
  expect(times.size).toBeLessThan(10_000)
  expect(times.first()).toBe(1000)
  times.forget(1000)
  expect(times.first()).toBe(500_000)
})
