import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { fromEnvironment } from './environment.ts'
import type { Action, ActionRequest, StartRequest, SupervisorMessage } from './messages.ts'
import { type Service, ServiceError, type ServiceInfo, type ServiceName } from './service.ts'

/**
 * Starts a server for tests and waits until it answers: the one that the environment names, a
 * Docker container, or a server installed from packages into a cache. One line on standard error
 * says which was taken and why.
 *
 * The server ends, and leaves nothing behind but the cache, with `stop()` or with this process,
 * even one that is killed.
 *
 * @example
 * ```ts
 * const server = await startService('postgres')
 * const sql = postgres(server.url)
 * await server.kill()
 * await server.restart()
 * await server.stop()
 * ```
 *
 * @throws ServiceError when there is no such server here; its last line tells what mends that.
 */
export async function startService(name: ServiceName): Promise<Service> {
  const given = await fromEnvironment(name)
  if (given !== null) {
    say(name, `${given.product} ${given.version} from ${given.source}: it is set`)
    return given
  }
  const supervisor = new Supervisor(name)
  const info = await supervisor.started
  return {
    ...info,
    stop: () => supervisor.stop(),
    kill: () => supervisor.request('kill'),
    restart: () => supervisor.request('restart'),
    pause: () => supervisor.request('pause'),
    resume: () => supervisor.request('resume'),
  }
}

/** This process's end of a supervisor, which does not keep it running unless something is awaited. */
class Supervisor {
  readonly started: Promise<ServiceInfo>
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (error: string | null) => void>()
  #lastId = 0
  #stopped: Promise<void> | undefined

  constructor(name: ServiceName) {
    // A process group of its own: a terminal's Ctrl-C must not reach it before it can tidy up.
    this.#child = fork(join(import.meta.dirname, 'supervisor.ts'), {
      detached: true,
      execArgv: ['--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    let failure: ServiceError | undefined
    this.started = new Promise((resolve, reject) => {
      this.#child.on('message', (message: SupervisorMessage) => {
        if (message.kind === 'line') say(name, message.text)
        if (message.kind === 'started') resolve(message.info)
        if (message.kind === 'failed') failure = new ServiceError(message.message)
        if (message.kind === 'failed') this.#child.disconnect()
        if (message.kind === 'done') this.#waiting.get(message.id)?.(message.error)
      })
      this.#child.on('error', reject)
      this.#child.on('exit', (code, signal) => {
        const reason = `the supervisor of ${name} ended with ${signal ?? code}`
        reject(failure ?? new ServiceError(reason))
        for (const settle of this.#waiting.values()) settle(reason)
      })
    })
    const request: StartRequest = { name }
    this.#child.send(request)
    this.started.then(
      () => this.#release(),
      () => undefined,
    )
  }

  async request(action: Action): Promise<void> {
    if (!this.#child.connected) throw new ServiceError('the server is stopped')
    const id = ++this.#lastId
    const request: ActionRequest = { id, action }
    this.#child.ref()
    this.#child.channel?.ref()
    const error = await new Promise<string | null>((resolve) => {
      this.#waiting.set(id, resolve)
      this.#child.send(request)
    })
    this.#waiting.delete(id)
    this.#release()
    if (error !== null) throw new ServiceError(error)
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    if (!this.#child.connected) return
    const exited = new Promise((resolve) => this.#child.once('exit', resolve))
    await this.request('stop')
    this.#child.ref()
    this.#child.disconnect()
    await exited
  }

  #release(): void {
    if (this.#waiting.size > 0) return
    this.#child.unref()
    this.#child.channel?.unref()
  }
}

function say(name: ServiceName, text: string): void {
  process.stderr.write(`${name}: ${text}\n`)
}
