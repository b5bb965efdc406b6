import { expect, test } from 'vitest'
import { Turns } from '../src/adapter.ts'

test('turns of one key are in the order in which they were asked for, those of another beside them', async () => {
  const turns = new Turns()
  const begun: string[] = []
  const first = turns.begin('a')
  if (first instanceof Promise) throw new Error('nobody has a turn')
  const second = Promise.resolve(turns.begin('a')).then((turn) => {
    begun.push('second')
    return turn
  })
  const third = Promise.resolve(turns.begin('a')).then((turn) => {
    begun.push('third')
    return turn
  })
  expect(turns.begin('b')).not.toBeInstanceOf(Promise)
  expect(begun).toEqual([])
  turns.end(first)
  const own = await second
  expect(begun).toEqual(['second'])
  turns.end(own)
  turns.end(await third)
  expect(begun).toEqual(['second', 'third'])
  expect(turns.begin('a')).not.toBeInstanceOf(Promise)
})

test('work that fails ends its turn, also where it fails at once', async () => {
  const turns = new Turns()
  const fails = turns.run('a', () => Promise.reject(new Error('later')))
  const throws = turns.run('a', () => {
    throw new Error('at once')
  })
  const last = turns.run('a', () => Promise.resolve('done'))
  await expect(fails).rejects.toThrow('later')
  await expect(throws).rejects.toThrow('at once')
  expect(await last).toBe('done')
})
