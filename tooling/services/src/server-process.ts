import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { open, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { lastLines } from './command.ts'
import { ending } from './ending.ts'
import { signalTree } from './process-tree.ts'
import { ServiceError } from './service.ts'

/** How to run one server. */
export interface ProcessSpec {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly uid?: number
  /** The signal that ends the server in order. */
  readonly stopSignal: NodeJS.Signals
  /** Where its output goes. */
  readonly log: string
  /** The server ends by itself when its supervisor is killed. */
  readonly watched?: boolean
  /** Resolves once the server answers; rejects while it does not. */
  ready(): Promise<void>
}

const readyMs = 60_000
const stopMs = 10_000
/** Of a Go program's last words the first lines say why, and some 40 where. */
const TOLD_LINES = 60

/** One server, run as a process of this one. */
export class ServerProcess {
  readonly #spec: ProcessSpec
  readonly #say: (text: string) => void
  #child: ChildProcess | null = null

  constructor(spec: ProcessSpec, say: (text: string) => void) {
    this.#spec = spec
    this.#say = say
  }

  /** Starts the server and waits until it answers. */
  async start(): Promise<void> {
    const { env, uid, log, ready } = this.#spec
    const [command, args] = await this.#command()
    const output = await open(log, 'a')
    try {
      this.#child = spawn(command, args, {
        cwd: '/',
        detached: true,
        stdio: ['ignore', output.fd, output.fd],
        env: { ...process.env, ...env },
        ...(uid === undefined ? {} : { uid, gid: uid }),
      })
    } finally {
      await output.close()
    }
    const child = this.#child
    let ended: string | null = null
    child.on('error', (error) => {
      ended = error.message
    })
    child.on('exit', (code, signal) => {
      ended ??= `it ended with ${signal ?? code}`
    })
    const deadline = Date.now() + readyMs
    for (;;) {
      let last: unknown
      try {
        await ready()
        child.on('exit', (code, signal) => void this.#tell(child, signal ?? code))
        return
      } catch (error) {
        last = error
      }
      const why =
        ended ?? (Date.now() > deadline ? `no answer in ${readyMs / 1_000} s: ${last}` : null)
      if (why !== null) {
        const text = await readFile(log, 'utf8')
        throw new ServiceError(`${command} did not start: ${why}\n${lastLines(text)}`)
      }
      await sleep(30, undefined, { signal: ending.signal })
    }
  }

  /** Ends the server in order; at once if it does not end in time. */
  async stop(): Promise<void> {
    await this.#end(this.#spec.stopSignal)
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  pause(): void {
    if (this.#child?.pid !== undefined) signalTree(this.#child.pid, 'SIGSTOP')
  }

  resume(): void {
    if (this.#child?.pid !== undefined) signalTree(this.#child.pid, 'SIGCONT')
  }

  /** A server that fails in the middle of the tests fails them; why is in its log alone. */
  async #tell(child: ChildProcess, how: NodeJS.Signals | number | null): Promise<void> {
    // One that ends in order was told to, by a test for instance.
    if (this.#child !== child || how === 0) return
    const { command, log } = this.#spec
    const text = await readFile(log, 'utf8').catch(String)
    this.#say(`${command} ended by itself with ${how}:\n${lastLines(text, TOLD_LINES)}`)
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    this.#child = null
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const { pid } = child
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    if (signal === 'SIGKILL') {
      signalTree(pid, 'SIGKILL')
    } else {
      signalTree(pid, 'SIGCONT')
      process.kill(pid, signal)
    }
    const timer = setTimeout(() => signalTree(pid, 'SIGKILL'), stopMs)
    await exited
    clearTimeout(timer)
  }

  async #command(): Promise<[string, readonly string[]]> {
    const { command, args, stopSignal, watched = true } = this.#spec
    if (!watched || !(await diesWithParent())) return [command, args]
    const signal = stopSignal.replace('SIG', '')
    return ['setpriv', ['--pdeathsig', signal, command, ...args]]
  }
}

/** Linux can signal a process when its parent ends; that is for a supervisor that was killed. */
let deathSignal: Promise<boolean> | undefined

function diesWithParent(): Promise<boolean> {
  deathSignal ??= promisify(execFile)('setpriv', ['--pdeathsig', 'TERM', 'true']).then(
    () => true,
    () => false,
  )
  return deathSignal
}
