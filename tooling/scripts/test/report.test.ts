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
  testResults: [{ name: 'a.test.ts', status: 'passed', message: '', assertionResults: [] }],
}

async function counted(report: unknown) {
  const text = typeof report === 'string' ? report : JSON.stringify(report)
  await writeFile(join(folder, 'vitest.json'), text)
  return read('a', folder)
}

it('counts what passed and what was left out', async () => {
  expect(await counted(allPassed)).toEqual({
    name: 'a',
    passed: 3,
    failed: 0,
    skipped: 2,
    failures: [],
  })
})

it('counts a file that could not be loaded as a failure', async () => {
  const unloaded = {
    name: join(folder, '../test/b.test.ts'),
    status: 'failed',
    message: 'SyntaxError: no',
    assertionResults: [],
  }
  const testResults = [...allPassed.testResults, unloaded]
  expect(await counted({ ...allPassed, success: false, testResults })).toMatchObject({
    passed: 3,
    failed: 1,
    problem: expect.stringContaining('could not be loaded'),
    failures: [{ name: 'a: test/b.test.ts', message: 'SyntaxError: no' }],
  })
})

it('tells which tests failed and how, without colors and at a length for a log', async () => {
  const stack = '\n    at b.test.ts:1:2\n    at run (/node_modules/vitest/run.js:3:4)'
  const test = { ancestorTitles: ['S1'], title: 'keeps', status: 'failed' }
  const assertionResults = [
    { ...test, failureMessages: [`\u001b[31mAssertionError\u001b[39m: no${stack}`] },
    { ...test, status: 'passed', failureMessages: [] },
    { ...test, title: 'loads', failureMessages: ['x'.repeat(100_000)] },
  ]
  const name = join(folder, '../test/b.test.ts')
  const testResults = [{ name, status: 'failed', message: '', assertionResults }]
  const report = { ...allPassed, success: false, numFailedTests: 2, testResults }
  expect(await counted(report)).toMatchObject({
    failed: 2,
    failures: [
      {
        name: 'a: test/b.test.ts > S1 > keeps',
        message: 'AssertionError: no\n    at b.test.ts:1:2',
      },
      { name: 'a: test/b.test.ts > S1 > loads', message: expect.stringMatching(/^x{2000} …$/) },
    ],
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
    { passed: 1, failed: 2, skipped: 3, failures: [{ name: 'a', message: 'no' }] },
    { passed: 10, failed: 20, skipped: 30, failures: [{ name: 'b', message: 'never' }] },
  ]
  const failures = counts.flatMap((count) => count.failures)
  expect(sum(counts, 1)).toEqual({ passed: 11, failed: 22, skipped: 33, failures })
})

it('does not call a run good that ended with an error', () => {
  const good = { passed: 5, failed: 0, skipped: 0, failures: [] }
  expect(sum([good], 137)).toMatchObject({ passed: 5, failed: 1 })
  expect(sum([good], 0)).toMatchObject({ passed: 5, failed: 0 })
})
