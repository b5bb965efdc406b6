/**
 * Runs a backend's benchmark, which prints a table of ratios: `pnpm bench sqlite`; or another of its
 * measurements: `pnpm bench redis:cluster` is `bench/cluster.ts`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')
const [name = '', ...args] = process.argv.slice(2)
const [backend, measurement = 'index'] = name.split(':')
const entry = join(root, `packages/persistence-${backend}/bench/${measurement}.ts`)

if (!/^[a-z]+(:[a-z-]+)?$/.test(name) || !existsSync(entry)) {
  const names = globSync('packages/persistence-*/bench/index.ts', { cwd: root }).map(
    (path) => path.split(/[/\\]/)[1]?.replace('persistence-', '') ?? '',
  )
  console.error(`Say which backend: pnpm bench ${names.join(' | ')}`)
  process.exitCode = 2
} else {
  const { status } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--conditions=@sayiir/source', entry, ...args],
    { stdio: 'inherit' },
  )
  process.exitCode = status ?? 1
}
