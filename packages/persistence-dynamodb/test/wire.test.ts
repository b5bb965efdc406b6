import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { BackendError } from '@sayiir/persistence-core'
import { DynamoDBBackend } from '@sayiir/persistence-dynamodb'
import { startProxy } from '@sayiir/services'
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { ServiceClock } from '../src/clock.ts'
import { Signer } from '../src/signature.ts'
import { SdkTransport } from '../src/transport.ts'
import { Wire } from '../src/wire.ts'
import { fromWire, toWire } from '../src/wire-json.ts'
import { atTask, namespace, open } from './namespace.ts'
import { client, place } from './process.ts'

/** A service that answers anything; what it is asked. */
async function listen(): Promise<{ readonly url: string; readonly seen: IncomingHttpHeaders[] }> {
  const seen: IncomingHttpHeaders[] = []
  const service = createServer((request, response) => {
    seen.push(request.headers)
    response.setHeader('content-type', 'application/x-amz-json-1.0').end('{}')
  })
  onTestFinished(() => void service.close())
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve))
  const { port } = service.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, seen }
}

describe('requests without the layers of the SDK', () => {
  test.each([
    ['a key', { accessKeyId: 'AKID', secretAccessKey: 'secret/+=' }, 'us-east-1'],
    [
      'a session',
      { accessKeyId: 'ASIA', secretAccessKey: 'x', sessionToken: 'a token' },
      'eu-west-3',
    ],
  ])('are signed as the SDK signs them, with %s', async (_, credentials, region) => {
    const sdk = new DynamoDBClient({ region, credentials })
    onTestFinished(() => sdk.destroy())
    const signature = await sdk.config.signer()
    // It adds one that the service does not ask for.
    const unsignableHeaders = new Set(['x-amz-content-sha256'])
    const signer = new Signer({ region, service: 'dynamodb' })
    const headers = {
      host: 'dynamodb.example:8000',
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': 'DynamoDB_20120810.GetItem',
    }
    const [day, next] = ['2026-11-27T23:59:59.999Z', '2026-11-28T00:00:00.000Z']
    // The key that is kept serves the second one and not the third.
    for (const [time, body] of [
      [day, '{}'],
      [day, '{"Key":{"p":{"S":"ключ"}}}'],
      [next, '{}'],
    ] as const) {
      const theirs = await signature.sign(
        {
          ...{ method: 'POST', protocol: 'https:', hostname: 'dynamodb.example', path: '/' },
          ...{ headers, body, query: {} },
        },
        { signingDate: new Date(time), unsignableHeaders },
      )
      const { 'x-amz-content-sha256': _, ...signed } = theirs.headers
      expect(signer.sign({ headers, body }, credentials, Date.parse(time))).toEqual(signed)
    }
  })

  test('go where the SDK sent its first one, with the credentials that it has', async () => {
    const { url, seen } = await listen()
    const credentials = { accessKeyId: 'ASIA', secretAccessKey: 's/+=', sessionToken: 'a token' }
    const through = new DynamoDBClient({ endpoint: url, region: 'eu-west-3', credentials })
    onTestFinished(() => through.destroy())
    const clock = new ServiceClock()
    const sdk = new SdkTransport(through, clock, 5000)
    const wire = new Wire(sdk, through, clock, 5000)
    const key = { p: { S: 'ключ' }, s: { S: 'H' } }
    for (let round = 0; round < 2; round += 1) {
      await wire.send('GetItem', { TableName: 'sayiir', Key: key })
    }
    const [whole, own] = seen
    const scopeOf = (headers?: IncomingHttpHeaders) =>
      /Credential=ASIA\/\d{8}\/eu-west-3\/dynamodb\/aws4_request/.exec(headers?.authorization ?? '')
    expect(scopeOf(own)?.[0]).toBe(scopeOf(whole)?.[0])
    expect(own).toMatchObject({
      host: whole?.host,
      'user-agent': whole?.['user-agent'],
      'x-amz-security-token': 'a token',
      'x-amz-target': 'DynamoDB_20120810.GetItem',
    })
    // The layers of the SDK name the request and its try; without them nobody does.
    expect(whole).toHaveProperty('amz-sdk-request')
    expect(own).not.toHaveProperty('amz-sdk-request')
  })

  test('stay with the SDK where the endpoint has a path', async () => {
    const { url, seen } = await listen()
    const endpoint = `${url}/behind/a/gateway`
    const credentials = { accessKeyId: 'AKID', secretAccessKey: 'x' }
    const through = new DynamoDBClient({ endpoint, region: 'eu-west-3', credentials })
    onTestFinished(() => through.destroy())
    const clock = new ServiceClock()
    const wire = new Wire(new SdkTransport(through, clock, 5000), through, clock, 5000)
    for (let round = 0; round < 2; round += 1)
      await wire.send('GetItem', { TableName: 'sayiir', Key: { p: { S: 'a' }, s: { S: 'H' } } })
    expect(seen).toHaveLength(2)
    for (const headers of seen) expect(headers).toHaveProperty('amz-sdk-request')
  })

  test('bytes go in base64, and come back whatever attributes are called', () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
    const item = { B: { B: bytes }, n: { L: [{ M: { B: { B: bytes.subarray(3, 5) } } }] } }
    expect(fromWire(toWire({ Item: item }))).toEqual({ Item: item })
    expect(fromWire('{"Item":{"B":{"S":"dGV4dA=="}}}')).toEqual({ Item: { B: { S: 'dGV4dA==' } } })
    expect(fromWire('')).toEqual({})
    expect(() => fromWire('<html>')).toThrow(SyntaxError)
  })

  test('get what the SDK gets, values and errors', async () => {
    const keyPrefix = namespace()
    await open({ keyPrefix }).then((backend) => backend.saveSnapshot(atTask('i')))
    const clock = new ServiceClock()
    const through = client(inject('dynamodb').url)
    onTestFinished(() => through.destroy())
    const sdk = new SdkTransport(through, clock, 5000)
    const wire = new Wire(sdk, through, clock, 5000)
    await wire.send('DescribeTable', { TableName: 'sayiir' })
    const key = { p: { S: `${keyPrefix}#I#i` }, s: { S: 'H' } }
    const get = { TableName: 'sayiir', Key: key, ConsistentRead: true }
    const condition = {
      ConditionExpression: 'attribute_not_exists(p)',
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
    }
    const without = ({ $metadata: _, ...reply }: object & { $metadata: object }): object => reply
    expect(without(await wire.send('GetItem', get))).toEqual(
      without(await sdk.send('GetItem', get)),
    )
    const inputs = [
      ['PutItem', { TableName: 'sayiir', Item: key, ...condition }],
      ['GetItem', { TableName: 'sayiir', Key: { p: { S: 'x' } } }],
      ['GetItem', { TableName: 'missing-table', Key: key }],
    ] as const
    for (const [operation, input] of inputs) {
      const [own, theirs] = await Promise.all(
        [wire, sdk].map((one) => one.send(operation, input).catch((error: unknown) => error)),
      )
      const { name, message, Item, $metadata } = theirs as Error & {
        Item?: object
        $metadata: { httpStatusCode: number }
      }
      expect(own).toMatchObject({
        name,
        message,
        $metadata: { httpStatusCode: $metadata.httpStatusCode, attempts: 1 },
      })
      expect((own as { Item?: object }).Item).toEqual(Item)
    }
  })

  test('ask for credentials each time, so that they may change', async () => {
    const through = client(inject('dynamodb').url)
    onTestFinished(() => through.destroy())
    const clock = new ServiceClock()
    const sdk = new SdkTransport(through, clock, 5000)
    const { requestHandler, credentials } = through.config
    let asked = 0
    const config = {
      requestHandler,
      credentials: (...args: Parameters<typeof credentials>) => {
        asked += 1
        return asked === 1 ? Promise.reject(new Error('no credentials yet')) : credentials(...args)
      },
    }
    const wire = new Wire(sdk, { config }, clock, 5000)
    const get = { TableName: 'sayiir', Key: { p: { S: 'none' }, s: { S: 'H' } } }
    await wire.send('GetItem', get)
    expect(asked).toBe(0)
    await expect(wire.send('GetItem', get)).rejects.toThrow('no credentials yet')
    for (let round = 0; round < 2; round += 1)
      expect(await wire.send('GetItem', get)).toMatchObject({ $metadata: { attempts: 1 } })
    expect(asked).toBe(3)
  })

  test('are not used where the SDK signs in another way', async () => {
    const clock = new ServiceClock()
    const through = client(inject('dynamodb').url)
    onTestFinished(() => through.destroy())
    const sdk = new SdkTransport(through, clock, 5000)
    const { requestHandler } = through.config
    const config = { requestHandler, credentials: () => expect.fail('it should not sign') }
    const wire = new Wire(sdk, { config }, clock, 5000)
    const { onSent } = sdk
    for (const authorization of [
      'Bearer token',
      'AWS4-ECDSA-P256-SHA256 Credential=A/20260101/dynamodb/aws4_request, SignedHeaders=host',
    ]) {
      onSent?.({
        protocol: 'https:',
        hostname: 'h',
        path: '/',
        headers: { host: 'h', authorization },
      })
      const get = { TableName: 'sayiir', Key: { p: { S: 'none' }, s: { S: 'H' } } }
      expect(await wire.send('GetItem', get)).toMatchObject({ $metadata: { attempts: 1 } })
    }
  })

  test('an answer that is not the service’s is UNAVAILABLE, and its text in no message', async () => {
    const proxy = await startProxy(inject('dynamodb').url)
    onTestFinished(() => proxy.close())
    const backend = await open(place(proxy.url))
    await proxy.close()
    const port = Number(new URL(proxy.url).port)
    let status = 502
    const server = createServer((_, response) => {
      response.writeHead(status).end('<html>secret</html>')
    })
    onTestFinished(() => void server.close())
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    for (status of [502, 200]) {
      const error = await backend.loadSnapshot('i').catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
      expect(BackendError.is(error) && error.message).not.toContain('secret')
      expect(String((error as Error).cause)).not.toContain('secret')
    }
  })

  test('a client of the caller’s is used for everything', async () => {
    const mine = client(inject('dynamodb').url)
    onTestFinished(() => mine.destroy())
    const seen = new Set<string>()
    mine.middlewareStack.add(
      (next, context) => (args) => {
        seen.add(String(context.commandName))
        return next(args)
      },
      { step: 'initialize' },
    )
    const backend = await DynamoDBBackend.fromClient(mine, { keyPrefix: namespace() })
    onTestFinished(() => backend.close())
    await backend.saveSnapshot(atTask('i'))
    expect(await backend.findAvailableTasks({ workerId: 'w', limit: 1 })).toHaveLength(1)
    expect(
      await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 1000 }),
    ).toHaveLength(1)
    for (const name of ['DescribeTable', 'PutItem', 'Query', 'BatchGetItem'])
      expect(seen).toContain(`${name}Command`)
  })
})
