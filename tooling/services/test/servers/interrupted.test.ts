import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { type ServiceName, startService } from '../../src/index.ts'
import { listens, type Sandbox, sandbox } from '../sandbox.ts'

interface Holder {
  readonly child: ChildProcess
  /** The server's URL, once it runs. */
  readonly url: Promise<string>
  /** What was printed on standard error. */
  said(): string
}

/** Another process that holds a server; of a process group of its own, as a terminal's command is. */
function hold(name: ServiceName, env: NodeJS.ProcessEnv): Holder {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'holder.ts'), name], {
    detached: true,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said += text
  })
  const url = once(child.stdout.setEncoding('utf8'), 'data').then(([text]) => String(text).trim())
  return { child, url, said: () => said }
}

async function nothingLeft(box: Sandbox): Promise<void> {
  await vi.waitFor(async () => expect(await box.leftovers()).toEqual([]), {
    timeout: 20_000,
    interval: 100,
  })
}

for (const name of ['redis', 'pgbouncer'] as const) {
  test(`kill -9 of the process that started ${name} leaves nothing`, async () => {
    const box = await sandbox()
    const { child, url } = hold(name, box.env)
    const address = await url
    expect(await listens(address)).toBe(true)
    expect(await box.running()).toHaveLength(1)
    child.kill('SIGKILL')
    await nothingLeft(box)
    expect(await listens(address)).toBe(false)
  })
}

test("Ctrl-C, to the terminal's whole process group, leaves nothing", async () => {
  const box = await sandbox()
  const { child, url } = hold('postgres', box.env)
  const address = await url
  await box.running()
  process.kill(-(child.pid ?? 0), 'SIGINT')
  await nothingLeft(box)
  expect(await listens(address)).toBe(false)
})

test('kill -9 in the middle of a start leaves nothing', async () => {
  const box = await sandbox()
  const { child } = hold('postgres', box.env)
  await vi.waitFor(async () => expect(await box.running()).toHaveLength(1), 30_000)
  child.kill('SIGKILL')
  await nothingLeft(box)
})

test('kill -9 of the supervisor too: the servers end, and the next start removes the rest', async () => {
  const box = await sandbox()
  const { child, url } = hold('redis', { ...box.env, SAYIIR_TEST_SERVICES: 'package' })
  const address = await url
  const [folder = ''] = await box.running()
  const supervisor = Number(folder.split('-')[3])
  process.kill(supervisor, 'SIGKILL')
  child.kill('SIGKILL')
  await vi.waitFor(async () => expect(await listens(address)).toBe(false), 30_000)
  const next = await startService('redis')
  onTestFinished(() => next.stop())
  expect(await readdir(box.folder)).not.toContain(folder)
  await next.stop()
  await nothingLeft(box)
})

test('a download that was interrupted is gone on with', async () => {
  const box = await sandbox()
  const cache = join(box.folder, 'cache')
  const env = { ...box.env, XDG_CACHE_HOME: cache, SAYIIR_TEST_SERVICES: 'package' }
  const first = hold('postgres-oldest', env)
  await vi.waitFor(() => expect(first.said()).toContain('into the cache'), 30_000)
  first.child.kill('SIGKILL')
  const services = join(cache, 'sayiir/services')
  await vi.waitFor(async () => expect((await readdir(box.folder)).toString()).toBe('cache'), 30_000)
  expect((await readdir(services)).some((name) => name.endsWith('.partial'))).toBe(true)

  const second = hold('postgres-oldest', env)
  expect(await listens(await second.url)).toBe(true)
  expect((await readdir(services)).filter((name) => !name.startsWith('postgres-14'))).toEqual([])
  expect(await readdir(services)).toHaveLength(1)
  second.child.kill('SIGKILL')
  await vi.waitFor(async () => expect((await readdir(box.folder)).toString()).toBe('cache'), 30_000)
})

test('two that start at once with an empty cache install once and run apart', async () => {
  const box = await sandbox()
  const env = {
    ...box.env,
    XDG_CACHE_HOME: join(box.folder, 'cache'),
    SAYIIR_TEST_SERVICES: 'package',
  }
  const holders = [hold('postgres-oldest', env), hold('postgres-oldest', env)]
  const urls = await Promise.all(holders.map(({ url }) => url))
  expect(new Set(urls).size).toBe(2)
  const installs = holders.filter(({ said }) => said().includes('into the cache'))
  expect(installs).toHaveLength(1)
  const [one, other] = holders
  one?.child.kill('SIGKILL')
  await vi.waitFor(async () => expect(await listens(urls[0] ?? '')).toBe(false), 30_000)
  expect(await listens(urls[1] ?? '')).toBe(true)
  other?.child.kill('SIGKILL')
  await vi.waitFor(async () => expect((await readdir(box.folder)).toString()).toBe('cache'), 30_000)
})
