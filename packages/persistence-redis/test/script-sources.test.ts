import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { scriptSources } from './script-sources.ts'

test('script-sources.ts is what `pnpm generate` makes of the .lua files', () => {
  const file = new URL('../src/script-sources.ts', import.meta.url)
  expect(readFileSync(file, 'utf8')).toBe(scriptSources())
})
