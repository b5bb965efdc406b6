/**
 * Starts one server, looks after it for the process that forked this one, and removes it with
 * everything that it left, when it is told to or when that process is gone, however it ended:
 * then the channel between the two closes.
 */
import { rm } from 'node:fs/promises'
import { ending } from './ending.ts'
import { identify } from './identify.ts'
import type { ActionRequest, StartRequest, SupervisorMessage } from './messages.ts'
import type { RunningServer } from './running-server.ts'
import { start } from './start.ts'
import { temporaryFolder } from './temporary-folder.ts'

let folder: string | undefined
let server: RunningServer | undefined
let starting: Promise<void> = Promise.resolve()
let ended: Promise<void> | undefined

process.on('message', (message: StartRequest | ActionRequest) => {
  if ('name' in message) starting = startServer(message)
  else void act(message)
})
process.on('disconnect', exit)
// A terminal's Ctrl-C goes to the parent, which decides; a signal to this process means it.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, exit)
if (!process.connected) process.exit()

async function startServer({ name }: StartRequest): Promise<void> {
  try {
    folder = await temporaryFolder()
    const started = await start(name, { folder, say })
    server = started.server
    const { url, urls, directUrl, source } = server
    const identity = await identify(name, url)
    const version = server.version ?? identity.version
    const { product } = identity
    say(`${product} ${version} from ${started.how} ${source}: ${started.why}`)
    const info = { name, url, urls, directUrl, product, version, how: started.how, source }
    send({ kind: 'started', info })
  } catch (error) {
    await removeAll()
    send({ kind: 'failed', message: messageOf(error) })
  }
}

async function act({ id, action }: ActionRequest): Promise<void> {
  let error: string | null = null
  try {
    if (action === 'stop') await end()
    else await server?.[action]()
  } catch (thrown) {
    error = messageOf(thrown)
  }
  send({ kind: 'done', id, error })
}

function exit(): void {
  void end().finally(() => process.exit())
}

/** Also in the middle of a start: that is cut short, and what it had started is removed. */
function end(): Promise<void> {
  ending.abort()
  ended ??= starting.then(removeAll)
  return ended
}

async function removeAll(): Promise<void> {
  await server?.stop()
  server = undefined
  if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  folder = undefined
}

function say(text: string): void {
  send({ kind: 'line', text })
}

function send(message: SupervisorMessage): void {
  // The parent may be gone; that is what 'disconnect' is for.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
