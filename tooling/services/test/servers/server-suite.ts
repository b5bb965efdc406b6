import { expect, onTestFinished, test, vi } from 'vitest'
import { type ServiceName, startService } from '../../src/index.ts'
import { variable } from '../../src/variables.ts'
import { listens, sandbox } from '../sandbox.ts'

/** A client of a server, with the server's own driver. */
export interface Client {
  write(key: string, value: string): Promise<void>
  read(key: string): Promise<string | null>
  close(): Promise<void>
}

export interface ServerSuite {
  readonly name: ServiceName
  /** Who may answer, and in which version. */
  readonly product: RegExp
  connect(url: string): Promise<Client>
}

/** What every server does, whichever way it is started. */
export function serverSuite({ name, product, connect }: ServerSuite): void {
  async function using<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
    const client = await connect(url)
    try {
      return await work(client)
    } finally {
      await client.close()
    }
  }

  test(`${name} answers its driver, comes back with its data, and leaves nothing`, async () => {
    const box = await sandbox()
    const started = performance.now()
    const server = await startService(name)
    onTestFinished(() => server.stop())
    console.log(`${name}: ready in ${Math.round(performance.now() - started)} ms`)
    expect(`${server.product} ${server.version}`).toMatch(product)
    expect(await box.running()).toHaveLength(1)

    vi.stubEnv(variable(name, 'URL'), server.urls.join(','))
    const { product: answered, how, urls } = await startService(name)
    vi.unstubAllEnvs()
    expect({ answered, how, urls }).toEqual({
      answered: server.product,
      how: 'environment',
      urls: server.urls,
    })

    await using(server.url, async (client) => {
      await client.write('before', 'kept')
      expect(await client.read('before')).toBe('kept')
      expect(await client.read('never')).toBeNull()
    })

    await server.restart()
    expect(await using(server.url, (client) => client.read('before'))).toBe('kept')

    await using(server.url, (client) => client.write('acknowledged', 'kept'))
    await server.kill()
    for (const url of [...server.urls, server.directUrl]) expect(await listens(url)).toBe(false)
    await server.restart()
    expect(await using(server.url, (client) => client.read('acknowledged'))).toBe('kept')

    await using(server.url, async (client) => {
      await client.read('before')
      await server.pause()
      let answered = false
      const read = client.read('before').then((value) => {
        answered = true
        return value
      })
      await expect(vi.waitUntil(() => answered, 300)).rejects.toThrow()
      await server.resume()
      expect(await read).toBe('kept')
    })

    await server.stop()
    await server.stop()
    for (const url of [...server.urls, server.directUrl]) expect(await listens(url)).toBe(false)
    expect(await box.leftovers()).toEqual([])
    await expect(server.restart()).rejects.toThrow('stopped')
  })

  test(`${name} is stopped without waiting for its clients`, async () => {
    const box = await sandbox()
    const server = await startService(name)
    onTestFinished(() => server.stop())
    const client = await connect(server.url)
    onTestFinished(() => client.close())
    await client.write('key', 'value')
    await server.pause()
    await server.stop()
    expect(await box.leftovers()).toEqual([])
  })
}
