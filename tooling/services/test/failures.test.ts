import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startService } from '../src/index.ts'
import { startProcesses } from '../src/running-server.ts'
import { sandbox } from './sandbox.ts'

function stubEnv(variables: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
}

test('a server that dies in start-up shows the last lines of its log', async () => {
  const { folder } = await sandbox()
  const script = 'for (let i = 1; i <= 50; i++) console.error("line " + i); process.exit(7)'
  const start = startProcesses({
    url: 'tcp://127.0.0.1:1',
    source: 'nowhere',
    processes: [
      {
        command: process.execPath,
        args: ['-e', script],
        stopSignal: 'SIGTERM',
        log: join(folder, 'log'),
        ready: () => Promise.reject(new Error('no answer')),
      },
    ],
  })
  const error = await start.then(
    () => '',
    (reason: Error) => reason.message,
  )
  expect(error).toContain('did not start: it ended with 7')
  expect(error).toContain('| line 31\n')
  expect(error).toMatch(/\| line 50$/)
  expect(error).not.toContain('line 30\n')
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
