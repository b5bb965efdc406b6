import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { read, sum } from '../report.ts'

const folder = await mkdtemp(join(tmpdir(), 'sayiir-report-'))
afterAll(() => rm(folder, { recursive: true }))

const allPassed = {
  success: true,
  numPassedTests: 3,
  numFailedTests: 0,
  numPendingTests: 1,
  numTodoTests: 1,
  testResults: [{ status: 'passed', assertionResults: [{}, {}, {}, {}, {}] }],
}

async function counted(report: unknown) {
  const text = typeof report === 'string' ? report : JSON.stringify(report)
  await writeFile(join(folder, 'vitest.json'), text)
  return read('a', folder)
}

it('counts what passed and what was left out', async () => {
  expect(await counted(allPassed)).toEqual({ name: 'a', passed: 3, failed: 0, skipped: 2 })
})

it('counts a file that could not be loaded as a failure', async () => {
  const testResults = [...allPassed.testResults, { status: 'failed', assertionResults: [] }]
  expect(await counted({ ...allPassed, success: false, testResults })).toMatchObject({
    passed: 3,
    failed: 1,
    problem: expect.stringContaining('could not be loaded'),
  })
})

it('counts an error outside the tests as a failure', async () => {
  expect(await counted({ ...allPassed, success: false })).toMatchObject({ passed: 3, failed: 1 })
})

it('counts a missing, broken or foreign report as a failure', async () => {
  expect(await read('a', join(folder, 'none'))).toMatchObject({ passed: 0, failed: 1 })
  expect(await counted('{"success":')).toMatchObject({ passed: 0, failed: 1 })
  expect(await counted({})).toMatchObject({ passed: 0, failed: 1 })
})

it('names the servers that answered, each once', async () => {
  const cluster = { name: 'redis-cluster', product: 'Redis', version: '8.2.1', how: 'docker' }
  const services = [{ ...cluster, name: 'redis' }, cluster, { ...cluster, product: 'Valkey' }]
  await writeFile(join(folder, 'services.json'), JSON.stringify(services))
  expect(await counted(allPassed)).toMatchObject({
    servers: 'Redis 8.2.1 (docker), Valkey 8.2.1 (docker)',
  })
  await rm(join(folder, 'services.json'))
})

it('adds packages up', () => {
  const counts = [
    { passed: 1, failed: 2, skipped: 3 },
    { passed: 10, failed: 20, skipped: 30 },
  ]
  expect(sum(counts, 1)).toEqual({ passed: 11, failed: 22, skipped: 33 })
})

it('does not call a run good that ended with an error', () => {
  expect(sum([{ passed: 5, failed: 0, skipped: 0 }], 137)).toMatchObject({ passed: 5, failed: 1 })
  expect(sum([{ passed: 5, failed: 0, skipped: 0 }], 0)).toMatchObject({ passed: 5, failed: 0 })
})
