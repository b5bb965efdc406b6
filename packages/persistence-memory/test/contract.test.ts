import type { BackendOptions, Capabilities } from '@sayiir/persistence-core'
import { testBackendContract } from '@sayiir/persistence-core/contract'
import { InMemoryBackend } from '../src/index.ts'

const capabilities: Capabilities = {
  durable: false,
  shared: false,
  wakeups: 'push',
  clock: 'store',
  order: 'global',
}

testBackendContract({
  name: 'memory',
  capabilities,
  connect: async (_, options) => new InMemoryBackend(options),
})

// The same with a clock that goes as ours does and can also be put forward.
const opened = new Set<InMemoryBackend>()
let ahead = 0

testBackendContract({
  name: 'memory with a clock of its own',
  capabilities,
  async connect(_, options: BackendOptions = {}) {
    const backend = new InMemoryBackend({ ...options, now: () => Date.now() + ahead })
    opened.add(backend)
    return backend
  },
  async elapse(ms) {
    ahead += ms
    for (const backend of opened) backend.clockMoved()
  },
  async drop() {
    opened.clear()
  },
})
