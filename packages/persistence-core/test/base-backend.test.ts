import { testBackendContract } from '@sayiir/persistence-core/contract'
import { KeyValueBackend, KeyValueStore } from './key-value-backend.ts'

testBackendContract({
  name: 'BaseBackend on a key-value store',
  capabilities: { durable: false, shared: false, wakeups: 'poll', clock: 'store', order: 'global' },
  connect: async (_, options) =>
    new KeyValueBackend(new KeyValueStore(), { ...options, pollIntervalMs: 10 }),
})
