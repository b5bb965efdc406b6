import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test, vi } from 'vitest'
import { codename } from '../../src/debian.ts'
import { builtImages } from '../../src/engine/images.ts'
import { variable } from '../../src/variables.ts'
import { type Sandbox, sandbox } from '../sandbox.ts'

/** The images are named, so that none is pulled or built here. */
const images = Object.fromEntries(builtImages.map((name) => [variable(name, 'IMAGE'), 'none']))
// An engine of one's own needs root and Debian's packages, and that no other one answers.
const canStart =
  process.getuid?.() === 0 && (await codename()) !== null && !existsSync('/var/run/docker.sock')

function withDocker(box: Sandbox, ...command: string[]) {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, '../../with-docker.ts'), ...command],
    {
      detached: true,
      env: { ...box.env, ...images, DOCKER_HOST: 'unix:///nowhere/docker.sock' },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

/** What engines have outside of the folder for temporary files: bridges and sockets. */
async function outside(): Promise<string[]> {
  const names = [...(await readdir('/sys/class/net')), ...(await readdir('/run'))]
  return names.filter((name) => name.startsWith('sayiir-')).sort()
}

async function nothingLeft(box: Sandbox, before: readonly string[]): Promise<void> {
  await vi.waitFor(async () => expect(await box.leftovers()).toEqual([]), 20_000)
  expect(await outside()).toEqual(before)
  expect(await readFile('/proc/self/mounts', 'utf8')).not.toContain(box.folder)
}

test.runIf(canStart)('a command gets an engine of its own, and its exit code is kept', async () => {
  const box = await sandbox()
  const before = await outside()
  const script = 'console.log(process.env.DOCKER_HOST); process.exitCode = 7'
  const child = withDocker(box, process.execPath, '-e', script)
  const [host, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  expect(host).toMatch(/^unix:\/\/\/run\/sayiir-/)
  expect(code).toBe(7)
  await nothingLeft(box, before)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test.runIf(canStart)(`${signal} ends the command and the engine and leaves nothing`, async () => {
    const box = await sandbox()
    const before = await outside()
    const child = withDocker(
      box,
      process.execPath,
      '-e',
      'console.log(1); setInterval(() => 1, 99)',
    )
    await once(child.stdout, 'data')
    process.kill(signal === 'SIGINT' ? -(child.pid ?? 0) : (child.pid ?? 0), signal)
    await nothingLeft(box, before)
  })
}
