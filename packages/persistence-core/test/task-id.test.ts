import { expect, test } from 'vitest'
import { taskIdFromName } from '../src/task-id.ts'
import { samples } from './interop.ts'

test('gives the ids that the Rust engine gives', () => {
  const names = new Map(samples.flatMap(({ meaning }) => Object.entries(meaning.names)))
  expect(names.size).toBeGreaterThan(20)
  for (const [taskId, name] of names) expect(taskIdFromName(name)).toBe(taskId)
})

test('hashes the UTF-8 of any well-formed string', () => {
  expect(taskIdFromName('')).toBe(
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  )
  expect(taskIdFromName('\u{1f600}')).toBe(
    'f0443a342c5ef54783a111b51ba56c938e474c32324d90c3a60c9c8e3a37e2d9',
  )
})

test('refuses what is no well-formed string', () => {
  for (const name of ['\ud800', 'a\udc00b', undefined, null, 1, {}]) {
    expect(() => taskIdFromName(name as string)).toThrow(TypeError)
  }
})
