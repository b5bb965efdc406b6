import { testBackendContract } from '@sayiir/persistence-core/contract'
import { KeyValueBackend, KeyValueStore } from './key-value-backend.ts'
import { harnessOf, wrong } from './wrong/flawed.ts'

testBackendContract({
  name: 'BaseBackend on a key-value store',
  capabilities: { durable: false, shared: false, wakeups: 'poll', clock: 'store', order: 'global' },
  connect: async (_, options) =>
    new KeyValueBackend(new KeyValueStore(), { ...options, pollIntervalMs: 10 }),
})

// The control of wrong-backends.test.ts: what its backends are made from, with nothing wrong.
testBackendContract(harnessOf(wrong('', 'BaseBackend on a store whose clock is moved', {})))
