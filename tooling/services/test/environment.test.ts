import { expect, onTestFinished, test, vi } from 'vitest'
import { startService } from '../src/index.ts'
import { listens, sandbox } from './sandbox.ts'

test('a server that the environment names is used and left as it is', async () => {
  const box = await sandbox()
  const server = await startService('redis')
  onTestFinished(() => server.stop())
  vi.stubEnv('SAYIIR_TEST_REDIS_URL', server.url)
  onTestFinished(() => void vi.unstubAllEnvs())
  const running = await box.running()

  const given = await startService('redis')
  expect(given).toMatchObject({
    url: server.url,
    urls: [server.url],
    directUrl: server.url,
    how: 'environment',
    source: 'SAYIIR_TEST_REDIS_URL',
    product: server.product,
    version: server.version,
  })
  expect(await box.running()).toEqual(running)
  for (const action of ['kill', 'restart', 'pause', 'resume'] as const) {
    await expect(given[action]()).rejects.toThrow('unset SAYIIR_TEST_REDIS_URL')
  }
  await given.stop()
  expect(await listens(server.url)).toBe(true)
})

test('the nodes of a cluster are separated by commas', async () => {
  const server = await startService('redis-cluster')
  onTestFinished(() => server.stop())
  vi.stubEnv('SAYIIR_TEST_REDIS_CLUSTER_URL', server.urls.join(','))
  onTestFinished(() => void vi.unstubAllEnvs())
  const given = await startService('redis-cluster')
  expect(given.how).toBe('environment')
  expect(given.urls).toEqual(server.urls)
  expect(given.url).toBe(server.url)
})

test('a server that the environment names and that does not answer is an error', async () => {
  vi.stubEnv('SAYIIR_TEST_POSTGRES_URL', 'postgres://nobody@127.0.0.1:1/none')
  onTestFinished(() => void vi.unstubAllEnvs())
  await expect(startService('postgres')).rejects.toThrow(
    /SAYIIR_TEST_POSTGRES_URL is set, but no postgres answers there: .*ECONNREFUSED.*\n.*unset SAYIIR_TEST_POSTGRES_URL$/,
  )
})
