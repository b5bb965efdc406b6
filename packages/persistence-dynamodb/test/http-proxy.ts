import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

/** A request to the service. */
export interface SeenRequest {
  /** Such as `PutItem`. */
  readonly operation: string
  readonly body: Readonly<Record<string, unknown>>
}

/** What is answered in the service's place; null: the service answers. */
export type Answer = {
  readonly status: number
  readonly body: object
} | null

/** An HTTP proxy in front of DynamoDB Local that sees requests, and answers some itself. */
export interface HttpProxy {
  readonly url: string
  readonly seen: SeenRequest[]
  /** Asked for every request. */
  answer: (seen: SeenRequest) => Answer
  /** Whether the reply to this request gets lost, with the connection. */
  loses: (seen: SeenRequest) => boolean
  /** May change what the service replied. */
  change: (
    seen: SeenRequest,
    reply: Record<string, unknown>,
  ) => Record<string, unknown> | Promise<Record<string, unknown>>
}

/** Starts one, which ends with the test. */
export async function startHttpProxy(target: string): Promise<HttpProxy> {
  const { hostname, port } = new URL(target)
  const server = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    const bytes = Buffer.concat(chunks)
    const operation = String(incoming.headers['x-amz-target']).split('.').at(-1) ?? ''
    const seen = { operation, body: JSON.parse(bytes.toString()) as SeenRequest['body'] }
    proxy.seen.push(seen)
    const date = new Date().toUTCString()
    const own = proxy.answer(seen)
    if (own !== null) {
      outgoing.writeHead(own.status, { 'content-type': 'application/x-amz-json-1.0', date })
      outgoing.end(JSON.stringify(own.body))
      return
    }
    const { headers } = incoming
    const passed = request({ hostname, port, method: 'POST', headers }, async (reply) => {
      const parts: Buffer[] = []
      for await (const part of reply) parts.push(part as Buffer)
      if (proxy.loses(seen)) {
        incoming.socket.destroy()
        return
      }
      const told = JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>
      const changed = reply.statusCode === 200 ? await proxy.change(seen, told) : told
      outgoing.writeHead(reply.statusCode ?? 500, { date })
      outgoing.end(JSON.stringify(changed))
    })
    passed.on('error', () => outgoing.destroy())
    passed.end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const proxy: HttpProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: [],
    answer: () => null,
    loses: () => false,
    change: (_, reply) => reply,
  }
  return proxy
}

/** How the service says that a request was refused. */
export function refusal(name: string, message = 'as the service words it', more = {}): Answer {
  const body = { __type: `com.amazonaws.dynamodb.v20120810#${name}`, message, ...more }
  return { status: 400, body }
}
