// A program that has nothing to do but one call, which is refused again and again.
import { OptimisticBackend } from '../src/adapter.ts'
import { type Capabilities, createSnapshot } from '../src/index.ts'
import { MapStore } from './optimistic-store.ts'

class RefusedBackend extends OptimisticBackend {
  readonly name: string = 'refused'
  readonly capabilities: Capabilities = {
    ...{ durable: false, shared: false, wakeups: 'poll', clock: 'store', order: 'global' },
  }
  protected readonly store: MapStore = new MapStore(Date.now)

  refuse(times: number): void {
    this.store.refusals = times
  }
}

const backend = new RefusedBackend()
const position = { kind: 'at-task', taskId: 'a' } as const
const snapshot = createSnapshot({ instanceId: 'i', definitionHash: 'd', position })
backend.refuse(10)
const { revision } = await backend.saveSnapshot(snapshot)
console.log(`saved at ${revision}`)
