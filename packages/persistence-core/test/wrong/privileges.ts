import type { LeastPrivileges } from '../../src/contract/index.ts'
import { BackendError } from '../../src/index.ts'
import { KeyValueStore } from '../key-value-backend.ts'
import { type Flaw, open, StoreClock, type WrongBackend } from './flawed.ts'

/** A backend that is set up apart, with something wrong in that. */
function apart(
  name: string,
  wrongly: (right: LeastPrivileges) => Partial<LeastPrivileges>,
  flaw: Flaw = {},
): WrongBackend {
  const stores = new Map<string, KeyValueStore>()
  const clock = new StoreClock()
  const right: LeastPrivileges = {
    setUp: async (namespace) => {
      if (!stores.has(namespace)) stores.set(namespace, new KeyValueStore())
    },
    connect: async (namespace, options) => {
      const store = stores.get(namespace)
      if (store === undefined) throw new BackendError('SCHEMA', 'it is not set up')
      return open(store, clock, flaw, options)
    },
    overreach: async () => {
      throw new BackendError('BACKEND', 'permission denied')
    },
  }
  return {
    name,
    breaks: 'M5',
    leastPrivileges: { ...right, ...wrongly(right) },
    connect: async (_, options) => open(new KeyValueStore(), clock, {}, options),
  }
}

const denied = async (): Promise<never> => {
  throw new BackendError('BACKEND', 'permission denied')
}

/** Rule M5. */
export const wrongPrivileges: readonly WrongBackend[] = [
  apart('a worker sets up what it is told to leave alone', (right) => ({
    connect: async (namespace, options) => {
      await right.setUp(namespace)
      return right.connect(namespace, options)
    },
  })),
  apart('a connection that is refused sets up all the same', (right) => ({
    connect: (namespace, options) =>
      right.connect(namespace, options).catch(async (error: unknown) => {
        await right.setUp(namespace)
        throw error
      }),
  })),
  apart('to set up once more empties the store', (right) => {
    const again = new Set<string>()
    let cleared = ''
    return {
      setUp: async (namespace) => {
        await right.setUp(namespace)
        if (again.has(namespace)) cleared = namespace
        again.add(namespace)
      },
      connect: async (namespace, options) => {
        const backend = await right.connect(namespace, options)
        const load = backend.loadSnapshot.bind(backend)
        backend.loadSnapshot = (instanceId, given) =>
          load(cleared === namespace ? `${instanceId}?` : instanceId, given)
        return backend
      },
    }
  }),
  apart('the user may do everything', () => ({ overreach: async () => 'done' })),
  apart('the user lacks a privilege that pruning takes', () => ({}), {
    methods: () => ({ prune: denied }),
  }),
  apart('the user lacks a privilege that renewing takes', () => ({}), {
    methods: () => ({ renewTaskClaim: denied }),
  }),
]
