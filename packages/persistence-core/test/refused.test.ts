import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

test('M2 a process does not end in the middle of a call that is tried again', async () => {
  const program = fileURLToPath(new URL('./refused.ts', import.meta.url))
  const args = ['--disable-warning=ExperimentalWarning', '--experimental-strip-types', program]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  expect(stdout).toBe('saved at 1\n')
})
