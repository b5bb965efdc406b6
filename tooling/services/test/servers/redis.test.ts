import { Cluster, Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { startService } from '../../src/index.ts'
import { serverSuite } from './server-suite.ts'

serverSuite({
  name: 'redis',
  product: /^(Redis|Valkey) [789]\./,
  async connect(url) {
    const redis = new Redis(url)
    return {
      write: async (key, value) => void (await redis.set(key, value)),
      read: (key) => redis.get(key),
      close: async () => redis.disconnect(),
    }
  },
})

serverSuite({
  name: 'redis-cluster',
  product: /^(Redis|Valkey) [789]\./,
  async connect(url) {
    const cluster = new Cluster([url])
    return {
      write: async (key, value) => void (await cluster.set(key, value)),
      read: (key) => cluster.get(key),
      close: async () => cluster.disconnect(),
    }
  },
})

test('redis-cluster has three masters, each with a share of the slots', async () => {
  const server = await startService('redis-cluster')
  onTestFinished(() => server.stop())
  expect(new Set(server.urls).size).toBe(3)
  const cluster = new Cluster([...server.urls])
  onTestFinished(() => cluster.disconnect())
  for (let i = 0; i < 100; i++) await cluster.set(`key-${i}`, i)
  const sizes = await Promise.all(cluster.nodes('master').map((node) => node.dbsize()))
  expect(sizes).toHaveLength(3)
  expect(Math.min(...sizes)).toBeGreaterThan(0)
  expect(sizes.reduce((sum, size) => sum + size)).toBe(100)
})

serverSuite({
  name: 'redis-sentinel',
  product: /^(Redis|Valkey) [789]\./,
  async connect(url) {
    const { hostname, port } = new URL(url)
    const redis = new Redis({
      sentinels: [{ host: hostname, port: Number(port) }],
      name: 'mymaster',
    })
    redis.on('error', () => undefined)
    return {
      write: async (key, value) => void (await redis.set(key, value)),
      read: (key) => redis.get(key),
      close: async () => redis.disconnect(),
    }
  },
})
