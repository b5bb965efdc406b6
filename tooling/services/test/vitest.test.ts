import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { TestProject } from 'vitest/node'
import type { ServiceInfo } from '../src/index.ts'
import { serviceSetup } from '../src/vitest.ts'
import { listens, sandbox } from './sandbox.ts'

test('serviceSetup starts servers for a whole run, provides them, and stops them', async () => {
  const root = await mkdtemp(join(tmpdir(), 'sayiir-report-'))
  onTestFinished(() => rm(root, { recursive: true }))
  const box = await sandbox()
  const provided = new Map<string, ServiceInfo>()
  const provide = provided.set.bind(provided)
  const project = { provide, config: { root } } as unknown as TestProject
  const stop = await serviceSetup('redis', 'redis-cluster')(project)
  await box.running()
  expect([...provided.keys()].sort()).toEqual(['redis', 'redis-cluster'])
  for (const [name, info] of provided) {
    expect(structuredClone(info)).toMatchObject({ name, version: expect.any(String) })
    expect(await listens(info.url)).toBe(true)
  }
  const report = JSON.parse(await readFile(join(root, '.reports/services.json'), 'utf8'))
  expect(report).toEqual(
    ['redis', 'redis-cluster'].map((name) => {
      const { product, version, how } = provided.get(name) as ServiceInfo
      return { name, product, version, how }
    }),
  )
  await stop()
  expect(await box.leftovers()).toEqual([])
})

test('if one cannot be started, the others are stopped', async () => {
  const box = await sandbox()
  vi.stubEnv('SAYIIR_TEST_REDIS_CLUSTER_URL', 'redis://127.0.0.1:1')
  const project = { provide: vi.fn() } as unknown as TestProject
  const start = serviceSetup('redis', 'redis-cluster')(project)
  await expect(start).rejects.toThrow('SAYIIR_TEST_REDIS_CLUSTER_URL is set')
  vi.unstubAllEnvs()
  expect(project.provide).not.toHaveBeenCalled()
  expect(await box.leftovers()).toEqual([])
})
