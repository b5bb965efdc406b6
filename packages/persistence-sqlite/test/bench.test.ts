import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'

/** Every workload with tiny sizes: nothing is timed, all is verified. */
test('the benchmark runs', { timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sayiir-bench-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const entry = fileURLToPath(new URL('../bench/index.ts', import.meta.url))
  const only = 'W1:batch50:4x5,W2:1x1,W3,W4:tags,ENQ,S6,COST:batch50'
  const args = ['--quick', '--jobs', '40', '--depths', '60,120', '--only', only, '--out', folder]
  const run = spawnSync(process.execPath, [...process.execArgv, entry, ...args], {
    encoding: 'utf8',
  })
  // Not the exit code: a busy machine may miss an aim.
  expect(run.stderr).not.toContain('FAILED')
  const { summaries } = JSON.parse(readFileSync(join(folder, 'sqlite.json'), 'utf8')) as {
    summaries: readonly { workload: string }[]
  }
  const measured = new Set(summaries.map(({ workload }) => workload))
  expect([...measured]).toEqual(['W1', 'W2', 'W3', 'W4', 'ENQ', 'S6', 'COST'])
  expect(readFileSync(join(folder, 'sqlite.svg'), 'utf8')).toMatch(/^<svg/)
})
