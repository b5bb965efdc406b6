import { PostgresBackend } from '@sayiir/persistence-postgres'
import { expect, inject, test } from 'vitest'
import { atTask, freshSchema } from './work.ts'

test('D9: where notifications never come, a wait turns to polling by itself', async () => {
  const { url } = inject('pgbouncer')
  const options = { url, schema: freshSchema(), preparedStatements: false }
  await using backend = await PostgresBackend.connect(options)
  await using other = await PostgresBackend.connect(options)
  expect(await backend.waitForWakeup({ timeoutMs: 10 })).toBeNull()
  expect(backend.capabilities.wakeups).toBe('poll')
  const woken = backend.waitForWakeup({ timeoutMs: 20_000 })
  await other.saveSnapshot(atTask('i'))
  expect(await woken).toMatchObject({ instanceId: 'i' })
}, 30_000)
