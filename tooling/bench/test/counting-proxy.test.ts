import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, test } from 'vitest'
import { countingProxy } from '../src/counting-proxy.ts'

test('bytes are counted both ways, and a round trip for each request that was waited for', async () => {
  const server = createServer((socket) => {
    socket.on('data', (bytes) => socket.write(Buffer.concat([bytes, bytes])))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const proxy = await countingProxy(`redis://127.0.0.1:${port}/2?x=1`)
  try {
    const url = new URL(proxy.url)
    expect([url.protocol, url.pathname, url.search]).toEqual(['redis:', '/2', '?x=1'])
    const client = connect(Number(url.port), '127.0.0.1')
    for (const request of ['one', 'three']) {
      client.write(request)
      let received = 0
      while (received < 2 * request.length) {
        const [bytes] = (await once(client, 'data')) as [Buffer]
        received += bytes.length
      }
    }
    expect(proxy.traffic()).toEqual({ sent: 8, received: 16, roundTrips: 2 })
    client.destroy()
  } finally {
    await proxy.close()
    server.close()
  }
})
