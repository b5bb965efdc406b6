/**
 * Runs a command with a Docker engine and an image for every service: the engine that answers, or
 * one of its own, which ends with the command; the official images, or ones that are built here
 * where no registry answers.
 *
 *     pnpm with-docker pnpm test --on-servers
 */
import { spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { dockerEngine, type RunningEngine } from './src/docker.ts'
import { ending } from './src/ending.ts'
import { type OwnEngine, startEngine } from './src/engine/engine.ts'
import { provideImages } from './src/engine/images.ts'
import { signalTree } from './src/process-tree.ts'
import { ServiceError } from './src/service.ts'
import { temporaryFolder } from './src/temporary-folder.ts'

const [command = '', ...args] = process.argv.slice(2)
let folder: string | undefined
let own: OwnEngine | undefined

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => ending.abort(new ServiceError(`ended by ${signal}`)))
}
try {
  if (command === '') throw new ServiceError('Say which command.')
  const engine = await dockerEngine()
  process.exitCode = engine.answers ? await withImages(engine) : await withOwnEngine()
} catch (error) {
  say(error instanceof ServiceError ? error.message : String(error))
  process.exitCode = 1
} finally {
  await own?.stop()
  if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}

async function withImages({ client }: RunningEngine): Promise<number> {
  const images = await provideImages(client, say)
  return run([command, ...args], { ...images, SAYIIR_TEST_SERVICES: 'docker' })
}

/** In another process, since testcontainers asks only once where the engine is. */
async function withOwnEngine(): Promise<number> {
  folder = await temporaryFolder()
  own = await startEngine(folder, say)
  const self = [process.execPath, ...process.execArgv, import.meta.filename]
  return run([...self, command, ...args], { DOCKER_HOST: own.host })
}

/** Runs the command to its end; a signal to this process is for it, too. */
function run(line: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
  ending.signal.throwIfAborted()
  const [name = '', ...rest] = line
  const child = spawn(name, rest, { stdio: 'inherit', env: { ...process.env, ...env } })
  ending.signal.addEventListener('abort', () => {
    if (child.pid !== undefined) signalTree(child.pid, 'SIGTERM')
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 1))
  })
}

function say(text: string): void {
  process.stderr.write(`docker: ${text}\n`)
}
