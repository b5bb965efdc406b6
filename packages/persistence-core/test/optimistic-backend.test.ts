import { OptimisticBackend, type OptimisticStore } from '../src/adapter.ts'
import { testBackendContract } from '../src/contract/index.ts'
import type { BackendOptions, Capabilities } from '../src/index.ts'
import { MapStore } from './optimistic-store.ts'
import { StoreClock } from './wrong/flawed.ts'

class MapBackend extends OptimisticBackend {
  readonly name: string = 'map'
  readonly capabilities: Capabilities = capabilities
  protected readonly store: OptimisticStore

  constructor(store: MapStore, options?: BackendOptions) {
    super(options)
    this.store = store
  }
}

const capabilities = {
  durable: false,
  shared: false,
  wakeups: 'poll',
  clock: 'store',
  order: 'global',
} as const

testBackendContract({
  name: 'OptimisticBackend on maps',
  capabilities,
  connect: async (_, options) => {
    const clock = new StoreClock()
    return new MapBackend(new MapStore(() => clock.now(), options?.agingIntervalMs), options)
  },
})

testBackendContract({
  name: 'OptimisticBackend whose guesses are wrong',
  capabilities,
  connect: async (_, options) => {
    const clock = new StoreClock()
    const store = new MapStore(() => clock.now(), options?.agingIntervalMs)
    // Every write is refused once, as if another process had been faster.
    const write = store.write.bind(store)
    let refused = false
    store.write = async (change) => {
      refused = !refused
      if (refused) store.refusals = 1
      return write(change)
    }
    return new MapBackend(store, options)
  },
})
