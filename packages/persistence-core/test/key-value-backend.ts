import {
  BaseBackend,
  type BaseBackendOptions,
  compareIds,
  encodeInstance,
  type InstanceStore,
  storedInstance,
} from '../src/adapter.ts'
import type { Capabilities } from '../src/index.ts'

/** A store of the simplest kind: bytes under a key, with a compare-and-set, and a counter. */
export class KeyValueStore {
  readonly values: Map<string, Uint8Array> = new Map()
  counter = 0

  /** Stores `next` (or deletes the key) if the value is still `expected`. */
  async compareAndSet(
    key: string,
    expected: Uint8Array | null,
    next: Uint8Array | null,
  ): Promise<boolean> {
    await Promise.resolve()
    if ((this.values.get(key) ?? null) !== expected) return false
    if (next === null) this.values.delete(key)
    else this.values.set(key, next)
    return true
  }
}

/** What docs/adapter-guide.md builds: a backend on that store. */
export class KeyValueBackend extends BaseBackend {
  readonly name: string = 'key-value'
  readonly capabilities: Capabilities = {
    durable: false,
    shared: false,
    wakeups: 'poll',
    clock: 'store',
    order: 'global',
  }
  protected readonly store: InstanceStore

  constructor(keyValues: KeyValueStore, options?: BaseBackendOptions) {
    super(options)
    this.store = {
      readInstance: async (instanceId) => {
        const value = keyValues.values.get(instanceId)
        return value === undefined ? null : storedInstance(instanceId, value)
      },
      writeInstance: (record, version) =>
        keyValues.compareAndSet(
          record.snapshot.instanceId,
          version as Uint8Array | null,
          encodeInstance(record),
        ),
      removeInstance: (instanceId, version) =>
        keyValues.compareAndSet(instanceId, version as Uint8Array, null),
      listInstances: async (after, limit) =>
        [...keyValues.values.entries()]
          .filter(([id]) => after === null || compareIds(id, after) > 0)
          .sort(([a], [b]) => compareIds(a, b))
          .slice(0, limit)
          .map(([id, value]) => storedInstance(id, value)),
      nextToken: async () => {
        keyValues.counter += 1
        return keyValues.counter
      },
      now: async () => Date.now(),
      disconnect: async () => {},
    }
  }
}
