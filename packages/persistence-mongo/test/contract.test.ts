import { testBackendContract } from '@sayiir/persistence-core/contract'
import { MongoBackend, migrate } from '@sayiir/persistence-mongo'
import { MongoClient } from 'mongodb'
import { inject } from 'vitest'
import { connect, DATABASE, placeOf, serverUrl } from './process.ts'
import { saysItHasStreams } from './server.ts'

process.env.SAYIIR_TEST_MONGO = inject('mongodb').url
const client = new MongoClient(serverUrl())
const wakeups = (await saysItHasStreams(client)) ? 'push' : 'poll'

testBackendContract({
  name: 'mongo',
  capabilities: { durable: true, shared: true, wakeups, clock: 'store', order: 'global' },
  connect,
  drop: async (namespace) => {
    const names = ['instances', 'parts', 'meta'].map((name) => `${namespace}_${name}`)
    await Promise.all(names.map((name) => client.db(DATABASE).dropCollection(name)))
  },
  processModule: new URL('./process.ts', import.meta.url),
  borrow: async (namespace) => {
    const borrowed = await new MongoClient(serverUrl()).connect()
    return {
      backend: await MongoBackend.fromClient(borrowed, placeOf(namespace)),
      isOpen: async () => (await borrowed.db(DATABASE).command({ ping: 1 })).ok === 1,
      close: () => borrowed.close(),
    }
  },
  // Privileges are a matter of privileges.test.ts: most servers of tests let everybody do everything.
  leastPrivileges: {
    setUp: (namespace) => migrate({ url: serverUrl(), ...placeOf(namespace) }),
    connect: (namespace, options) =>
      MongoBackend.connect({
        url: serverUrl(),
        ...placeOf(namespace),
        migrate: false,
        ...options,
      }),
  },
})
