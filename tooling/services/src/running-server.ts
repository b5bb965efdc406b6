import { type ProcessSpec, ServerProcess } from './server-process.ts'

/** A server that a supervisor looks after, however it was started. */
export interface RunningServer {
  readonly url: string
  readonly urls: readonly string[]
  readonly directUrl: string
  readonly source: string
  /** Where the server itself does not tell. */
  readonly version?: string
  kill(): Promise<void>
  restart(): Promise<void>
  pause(): Promise<void>
  resume(): Promise<void>
  /** Stops the server; its data goes with the supervisor's folder. */
  stop(): Promise<void>
}

/** What a supervisor hands to the code that starts a server. */
export interface StartContext {
  /** For the server's data and logs; removed afterwards. */
  readonly folder: string
  /** Tells the person who waits. */
  say(text: string): void
}

/** A server made of processes of this machine, in the order in which they start. */
export interface ProcessServer {
  readonly url: string
  readonly urls?: readonly string[]
  readonly directUrl?: string
  readonly source: string
  readonly version?: string
  readonly processes: readonly ProcessSpec[]
  /** What is needed after each start, once the processes answer. */
  settle?(): Promise<void>
  /** Gives back what outlives a killed process. */
  cleanUp?(): Promise<void>
}

/** Starts the processes and waits until they answer; if one does not, none is left running. */
export async function startProcesses(
  server: ProcessServer,
  { say }: Pick<StartContext, 'say'>,
): Promise<RunningServer> {
  const { url, urls = [url], directUrl = url, source } = server
  const processes = server.processes.map((spec) => new ServerProcess(spec, say))

  async function start() {
    for (const process of processes) await process.start()
    await server.settle?.()
  }
  async function stop() {
    for (const process of processes.toReversed()) await process.stop()
  }
  async function end() {
    await stop()
    await server.cleanUp?.()
  }

  try {
    await start()
  } catch (error) {
    await end()
    throw error
  }
  return {
    url,
    urls,
    directUrl,
    source,
    ...(server.version === undefined ? {} : { version: server.version }),
    async kill() {
      await Promise.all(processes.map((process) => process.kill()))
    },
    async restart() {
      await stop()
      await start()
    },
    async pause() {
      for (const process of processes) process.pause()
    },
    async resume() {
      for (const process of processes) process.resume()
    },
    stop: end,
  }
}
