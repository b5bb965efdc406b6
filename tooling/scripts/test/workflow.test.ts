import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../packages.ts'

it('every package is in the matrix of the workflow', async () => {
  const workflow = await readFile(join(root, '.github/workflows/ci.yml'), 'utf8')
  const matrix = /^ +package: \[(.*)\]$/m.exec(workflow)?.[1]?.split(', ')
  const packages = globSync('packages/persistence-*', { cwd: root }).map((path) =>
    basename(path).replace('persistence-', ''),
  )
  expect(matrix).toEqual(expect.arrayContaining(packages))
})
