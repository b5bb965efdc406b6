#!/usr/bin/env node
/**
 * Checks what a package would publish: packs it as `pnpm publish` does, looks into the tarball, and
 * hands that to publint and to Are the Types Wrong. Run in a built package.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'

/** What `pnpm pack --json` tells. */
interface Packed {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

const published = /^(?:dist\/.+\.(?:js|d\.ts)|package\.json|README\.md|CHANGELOG\.md|LICENSE)$/
const shell = process.platform === 'win32'

const folder = await mkdtemp(join(tmpdir(), 'sayiir-check-'))
try {
  const { tarball, files } = pack()
  const problems = [...contents(files), ...(await manifest(tarball)), ...types(tarball)]
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
  else console.log(`${files.length} files to publish, nothing wrong with them`)
} finally {
  await rm(folder, { recursive: true })
}

function pack(): { tarball: string; files: readonly string[] } {
  const args = ['pack', '--json', '--pack-destination', folder]
  const packed: Packed = JSON.parse(execFileSync('pnpm', args, { encoding: 'utf8', shell }))
  return {
    tarball: join(folder, basename(packed.filename)),
    files: packed.files.map(({ path }) => path),
  }
}

function contents(files: readonly string[]): string[] {
  return [
    ...files.filter((path) => !published.test(path)).map((path) => `${path} must not be published`),
    ...['README.md', 'LICENSE']
      .filter((path) => !files.includes(path))
      .map((path) => `${path} is missing in what is published`),
  ]
}

async function manifest(tarball: string): Promise<string[]> {
  const bytes = await readFile(tarball)
  const { messages, pkg } = await publint({
    pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) },
    strict: true,
  })
  const problems = messages.map((message) => formatMessage(message, pkg) ?? message.code)
  if (JSON.stringify(pkg).includes('@sayiir/source')) {
    problems.push('publishConfig.exports is missing an entry: @sayiir/source would be published')
  }
  return problems
}

function types(tarball: string): string[] {
  const attw = join(import.meta.dirname, 'node_modules/.bin/attw')
  const args = [tarball, '--profile', 'esm-only', '--no-emoji']
  const { status, stdout, stderr } = spawnSync(attw, args, { encoding: 'utf8', shell })
  return status === 0 ? [] : [`${stdout}${stderr}` || 'attw could not be run']
}
