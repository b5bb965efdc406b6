import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { startProxy, type TcpProxy } from '../src/index.ts'

/** What the server received, and who is connected to it. */
let received: string
let serverSockets: Set<Socket>
let proxy: TcpProxy

/** A server that answers everything with the same in upper case. */
beforeEach(async () => {
  received = ''
  serverSockets = new Set()
  const server = createServer((socket) => {
    serverSockets.add(socket)
    socket.on('close', () => serverSockets.delete(socket))
    socket.on('error', () => undefined)
    socket.setEncoding('utf8').on('data', (text) => {
      received += text
      socket.write(String(text).toUpperCase())
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  proxy = await startProxy(`tcp://user:secret@127.0.0.1:${port}/path?query=1`)
  return async () => {
    await proxy.close()
    server.close()
    await once(server, 'close')
  }
})

class Client {
  readonly socket: Socket
  text = ''
  ended = false
  errorCode: string | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('utf8').on('data', (text) => {
      this.text += text
    })
    socket.on('end', () => {
      this.ended = true
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.errorCode = error.code
    })
  }

  async ask(question: string): Promise<void> {
    this.text = ''
    this.socket.write(question)
    await vi.waitFor(() => expect(this.text).toBe(question.toUpperCase()))
  }
}

async function connect(): Promise<Client> {
  const { port } = new URL(proxy.url)
  const socket = createConnection({ host: '127.0.0.1', port: Number(port) })
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return new Client(socket)
}

test('everything passes, under the same URL at another port', async () => {
  expect(proxy.url).toMatch(/^tcp:\/\/user:secret@127\.0\.0\.1:\d+\/path\?query=1$/)
  const [a, b] = [await connect(), await connect()]
  await a.ask('first')
  await b.ask('second')
  await a.ask('x'.repeat(1_000_000))
  expect(proxy.connections).toBe(2)
  a.socket.end()
  await vi.waitFor(() => expect(serverSockets.size).toBe(1))
  await vi.waitFor(() => expect(proxy.connections).toBe(1))
})

test('delay: both directions are later, and in order', async () => {
  const client = await connect()
  await client.ask('warm')
  proxy.delay(100)
  const started = performance.now()
  client.text = ''
  for (const letter of 'abcdef') client.socket.write(letter)
  await vi.waitFor(() => expect(client.text).toBe('ABCDEF'))
  expect(performance.now() - started).toBeGreaterThanOrEqual(199)
  proxy.heal()
  await client.ask('fast again')
})

test('cut: connections end and new ones too, until heal', async () => {
  const client = await connect()
  await client.ask('before')
  proxy.cut()
  await vi.waitFor(() => expect(client.ended).toBe(true))
  expect(client.errorCode).toBeUndefined()
  await vi.waitFor(() => expect(serverSockets.size).toBe(0))
  const refused = await connect()
  await vi.waitFor(() => expect(refused.ended || refused.errorCode !== undefined).toBe(true))
  expect(serverSockets.size).toBe(0)
  proxy.heal()
  await (await connect()).ask('after')
})

test('blackhole: nothing passes until heal, and then all of it', async () => {
  const client = await connect()
  await client.ask('before')
  proxy.blackhole()
  client.text = ''
  client.socket.write('held')
  await expect(vi.waitUntil(() => received.includes('held'), 200)).rejects.toThrow()
  expect(client.ended).toBe(false)
  proxy.heal()
  await vi.waitFor(() => expect(client.text).toBe('HELD'))
})

test('reset: the connection is reset, the next one works', async () => {
  const client = await connect()
  await client.ask('before')
  proxy.reset()
  await vi.waitFor(() => expect(client.errorCode).toBe('ECONNRESET'))
  await vi.waitFor(() => expect(proxy.connections).toBe(0))
  await (await connect()).ask('after')
})

test('swallowReplies: the server acts, the client does not learn of it', async () => {
  const client = await connect()
  await client.ask('before')
  proxy.swallowReplies()
  client.text = ''
  client.socket.write('done')
  await vi.waitFor(() => expect(received).toContain('done'))
  await expect(vi.waitUntil(() => client.text !== '', 200)).rejects.toThrow()
  const idle = await connect()
  proxy.heal()
  await vi.waitFor(() => expect(client.errorCode).toBe('ECONNRESET'))
  await idle.ask('not affected')
})

test('a server that is away: the client is reset, as without a proxy it would be refused', async () => {
  const unused = createServer().listen(0, '127.0.0.1')
  await once(unused, 'listening')
  const { port } = unused.address() as AddressInfo
  unused.close()
  await once(unused, 'close')
  const nowhere = await startProxy(`tcp://127.0.0.1:${port}`)
  onTestFinished(() => nowhere.close())
  const socket = createConnection({ host: '127.0.0.1', port: Number(new URL(nowhere.url).port) })
  const client = new Client(socket)
  await vi.waitFor(() => expect(client.errorCode).toBe('ECONNRESET'))
})

test('close: nothing is left open', async () => {
  const client = await connect()
  await client.ask('before')
  const { url } = proxy
  await proxy.close()
  await vi.waitFor(() => expect(client.errorCode).toBe('ECONNRESET'))
  await vi.waitFor(() => expect(serverSockets.size).toBe(0))
  const late = createConnection({ host: '127.0.0.1', port: Number(new URL(url).port) })
  await expect(once(late, 'connect')).rejects.toThrow('ECONNREFUSED')
  proxy = await startProxy('tcp://127.0.0.1:1')
})
