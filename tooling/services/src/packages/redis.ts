import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findCommand } from '../command.ts'
import { installDebianPackage, libraryPath } from '../debian.ts'
import { freePort, freePorts } from '../free-port.ts'
import { identify } from '../identify.ts'
import { formCluster } from '../redis-cluster.ts'
import { awaitReplica, sentinelConfig } from '../redis-sentinel.ts'
import type { ProcessServer, StartContext } from '../running-server.ts'
import type { ProcessSpec } from '../server-process.ts'

interface RedisProgram {
  readonly command: string
  readonly env: Readonly<Record<string, string>>
  readonly source: string
}

/** Redis, as installed on the machine or from Debian's package. */
export async function redisPackage(context: StartContext): Promise<ProcessServer> {
  const program = await redisProgram(context)
  const port = await freePort()
  const process = await redisProcess(program, port, context.folder)
  return { url: `redis://127.0.0.1:${port}`, source: program.source, processes: [process] }
}

/** Three masters that share the slots. */
export async function redisClusterPackage(context: StartContext): Promise<ProcessServer> {
  const program = await redisProgram(context)
  const [a = 0, b = 0, c = 0, ...busPorts] = await freePorts(6)
  const ports = [a, b, c]
  const processes = await Promise.all(
    ports.map((port, index) =>
      redisProcess(program, port, context.folder, clusterArgs(busPorts[index] ?? 0)),
    ),
  )
  const urls = ports.map((port) => `redis://127.0.0.1:${port}`)
  const [url = ''] = urls
  return { url, urls, source: program.source, processes, settle: () => formCluster(urls, busPorts) }
}

/** A replica is there at once, not 5 s later. */
export const replicaArgs: readonly string[] = ['--repl-diskless-sync-delay', '0']

/** A master and a replica, and a Sentinel that makes the one the other when it must. */
export async function redisSentinelPackage(context: StartContext): Promise<ProcessServer> {
  const { folder } = context
  const program = await redisProgram(context)
  const [watcher = 0, master = 0, replica = 0] = await freePorts(3)
  const urls = [watcher, master, replica].map((port) => `redis://127.0.0.1:${port}`)
  const [url = ''] = urls
  // Roles change, and are written down: the options that never change are arguments.
  const config = async (port: number, text: string): Promise<string> => {
    const path = join(folder, `redis-${port}.conf`)
    await writeFile(path, text)
    return path
  }
  const follows = `replicaof 127.0.0.1 ${master}\n`
  const sentinel: ProcessSpec = {
    command: program.command,
    args: [
      await config(watcher, sentinelConfig(master)),
      ...['--sentinel', '--port', String(watcher), '--bind', '127.0.0.1', '--dir', folder],
    ],
    env: program.env,
    stopSignal: 'SIGTERM',
    log: join(folder, `redis-${watcher}.log`),
    ready: async () => void (await identify('redis-sentinel', url)),
  }
  const processes = [
    await redisProcess(program, master, folder, replicaArgs, await config(master, '')),
    await redisProcess(program, replica, folder, replicaArgs, await config(replica, follows)),
    sentinel,
  ]
  return { url, urls, source: program.source, processes, settle: () => awaitReplica(url) }
}

/** What makes a server a node of a cluster. */
export function clusterArgs(busPort: number): string[] {
  return [
    ...['--cluster-enabled', 'yes', '--cluster-port', String(busPort)],
    ...['--cluster-announce-ip', '127.0.0.1', '--cluster-config-file', 'nodes.conf'],
    ...['--cluster-node-timeout', '2000'],
  ]
}

/** What is acknowledged outlives a kill: it is in the log file before the reply. */
export const durableArgs: readonly string[] = ['--appendonly', 'yes', '--save', '']

async function redisProgram({ say }: StartContext): Promise<RedisProgram> {
  for (const name of ['redis-server', 'valkey-server']) {
    const command = await findCommand(name)
    if (command !== null) return { command, env: {}, source: command }
  }
  const { root, source } = await installDebianPackage('redis-server', say)
  const env = { LD_LIBRARY_PATH: await libraryPath(root) }
  return { command: join(root, 'usr/bin/redis-server'), env, source }
}

async function redisProcess(
  { command, env }: RedisProgram,
  port: number,
  folder: string,
  args: readonly string[] = [],
  configPath?: string,
): Promise<ProcessSpec> {
  const data = join(folder, `redis-${port}`)
  await mkdir(data)
  const listen = ['--port', String(port), '--bind', '127.0.0.1', '--dir', data]
  const url = `redis://127.0.0.1:${port}`
  return {
    command,
    args: [...(configPath === undefined ? [] : [configPath]), ...listen, ...durableArgs, ...args],
    env,
    stopSignal: 'SIGTERM',
    log: join(folder, `redis-${port}.log`),
    ready: async () => void (await identify('redis', url)),
  }
}
