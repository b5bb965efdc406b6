import { readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startService } from '../src/index.ts'
import { type ProcessServer, startProcesses } from '../src/running-server.ts'
import { sandbox } from './sandbox.ts'

function stubEnv(variables: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
}

/** A server that is a script of node's. */
function scripted(folder: string, script: string, ready: () => Promise<void>): ProcessServer {
  const log = join(folder, 'log')
  const command = process.execPath
  const spec = { command, args: ['-e', script], stopSignal: 'SIGTERM', log, ready } as const
  return { url: 'tcp://127.0.0.1:1', source: 'nowhere', processes: [spec] }
}

test('a server that dies in start-up shows the last lines of its log', async () => {
  const { folder } = await sandbox()
  const script = 'for (let i = 1; i <= 50; i++) console.error("line " + i); process.exit(7)'
  const noAnswer = () => Promise.reject(new Error('no answer'))
  const start = startProcesses(scripted(folder, script, noAnswer), { say: () => undefined })
  const error = await start.then(
    () => '',
    (reason: Error) => reason.message,
  )
  expect(error).toContain('did not start: it ended with 7')
  expect(error).toContain('| line 31\n')
  expect(error).toMatch(/\| line 50$/)
  expect(error).not.toContain('line 30\n')
})

test('a server that dies later tells its last lines, one that is ended does not', async () => {
  const { folder } = await sandbox()
  const script = 'console.log("up"); setInterval(() => {}, 1e6)'
  const ready = async () => expect(await readFile(join(folder, 'log'), 'utf8')).toMatch(/up/)
  const said: string[] = []
  const say = (text: string) => said.push(text)
  const ended = await startProcesses(scripted(folder, script, ready), { say })
  await ended.kill()
  await ended.restart()
  await ended.stop()

  const dying = 'console.log("up"); setTimeout(() => process.abort(), 300)'
  const died = await startProcesses(scripted(folder, dying, ready), { say })
  onTestFinished(() => died.stop())
  await vi.waitUntil(() => said.length > 0)
  expect(said).toHaveLength(1)
  expect(said[0]).toContain('ended by itself with SIGABRT:\n  | up')
})

test('an unknown way is refused', async () => {
  stubEnv({ SAYIIR_TEST_SERVICES: 'cloud' })
  const box = await sandbox()
  await expect(startService('redis')).rejects.toThrow('docker or package, not cloud')
  expect(await box.leftovers()).toEqual([])
})

test('without an engine, forced Docker fails with the line that mends it', async () => {
  stubEnv({ SAYIIR_TEST_SERVICES: 'docker', DOCKER_HOST: 'tcp://127.0.0.1:1' })
  const box = await sandbox()
  await expect(startService('redis')).rejects.toThrow(
    /no Docker engine answers\n.*export SAYIIR_TEST_REDIS_URL=redis:\/\/127\.0\.0\.1:6379$/,
  )
  expect(await box.leftovers()).toEqual([])
})

test('a missing tool is named, with what to do about it', async () => {
  const box = await sandbox()
  // Only node is on the PATH: neither npm nor anything else.
  await symlink(process.execPath, join(box.folder, 'node'))
  stubEnv({
    SAYIIR_TEST_SERVICES: 'package',
    PATH: box.folder,
    XDG_CACHE_HOME: join(box.folder, 'cache'),
  })
  await expect(startService('postgres')).rejects.toThrow('npm is not on the PATH')
  await expect(startService('mongodb')).rejects.toThrow(/start a Docker engine/)
})

test('a download that fails is tried again and then told with its last lines', async () => {
  const box = await sandbox()
  stubEnv({
    SAYIIR_TEST_SERVICES: 'package',
    XDG_CACHE_HOME: join(box.folder, 'cache'),
    npm_config_cache: join(box.folder, 'npm'),
    npm_config_registry: 'http://127.0.0.1:1/',
    npm_config_fetch_retries: '0',
  })
  await expect(startService('postgres')).rejects.toThrow(
    /npm install .* failed \(1\), 3 times:\n[\s\S]*ECONNREFUSED/,
  )
})
