import { MongoClient } from 'mongodb'
import { serverSuite } from './server-suite.ts'

serverSuite({
  name: 'mongodb',
  product: /^(MongoDB [78]\.|FerretDB 2\.)/,
  async connect(url) {
    const client = await new MongoClient(url).connect()
    const entries = client.db('test').collection<{ _id: string; value: string }>('entries')
    return {
      write: async (key, value) => void (await entries.insertOne({ _id: key, value })),
      read: async (key) => (await entries.findOne({ _id: key }))?.value ?? null,
      close: () => client.close(),
    }
  },
})
