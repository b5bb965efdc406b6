import type { MongoClient } from 'mongodb'

/** Whether a server has change streams, by what it says that it is: a replica set or a sharded cluster has. */
export async function saysItHasStreams(client: MongoClient): Promise<boolean> {
  const { setName, msg } = await client.db('admin').command({ hello: 1 })
  return setName !== undefined || msg === 'isdbgrid'
}
