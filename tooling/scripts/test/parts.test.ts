import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { partOf, readPart, startPart, writePart } from '../parts.ts'

const folder = await mkdtemp(join(tmpdir(), 'sayiir-parts-'))
afterAll(() => rm(folder, { recursive: true }))

it('keeps the sum of a run', async () => {
  const failures = [{ name: 'a: b.test.ts > c', message: 'AssertionError: no' }]
  const total = { passed: 3, failed: 1, skipped: 2, failures }
  await writePart(folder, 'docker', total)
  expect(await readPart(folder, 'docker')).toEqual(total)
})

it('does not take the sum of a run of before for one that did not end', async () => {
  await writePart(folder, 'test', { passed: 3, failed: 0, skipped: 0, failures: [] })
  await startPart(folder, 'test')
  const problem = 'test: the tests did not finish'
  expect(await readPart(folder, 'test')).toMatchObject({ passed: 0, failed: 1, problem })
})

it('reads arguments', () => {
  expect(partOf(['--force', '--part=test'], '--part')).toBe('test')
  expect(partOf(['--force'], '--part')).toBeUndefined()
})
