import { readFile, rm, rmdir, stat } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { run } from '../command.ts'
import { codename, installDebianPackages, libraryPath } from '../debian.ts'
import { ServerProcess } from '../server-process.ts'
import { ServiceError } from '../service.ts'
import { temporaryFolder } from '../temporary-folder.ts'
import { addBridge } from './bridge.ts'

/** A Docker engine of this run alone: its socket, its data and its network are nobody else's. */
export interface OwnEngine {
  /** The value of `DOCKER_HOST` for its clients. */
  readonly host: string
  stop(): Promise<void>
}

/**
 * Starts a Docker engine from Debian's packages, unpacked into the cache: nothing is installed into
 * the system, where the package would also start a service. Its containers reach nothing outside,
 * and their ports are published on 127.0.0.1.
 */
export async function startEngine(folder: string, say: (text: string) => void): Promise<OwnEngine> {
  if (process.getuid?.() !== 0 || (await codename()) === null) {
    throw new ServiceError('No Docker engine answers. Start one, or run this as root on Debian.')
  }
  const { root } = await installDebianPackages('docker-engine', ['docker.io', 'iproute2'], say)
  const folders = ['usr/sbin', 'usr/bin', 'sbin', 'bin'].map((bin) => join(root, bin))
  const env = {
    PATH: [...folders, process.env.PATH].join(':'),
    LD_LIBRARY_PATH: await libraryPath(root),
  }
  const bridge = await addBridge(env)
  const removeEmpty = await newFolders()
  // A socket's path has to be short, which one below a folder for temporary files may not be.
  const sockets = await temporaryFolder('/run')
  const socket = join(sockets, 'docker.sock')
  const engine = new ServerProcess(
    {
      command: 'dockerd',
      args: [
        ...['--host', `unix://${socket}`, '--group', '0', '--pidfile', join(sockets, 'docker.pid')],
        ...['--data-root', join(folder, 'data'), '--exec-root', sockets],
        ...['--shutdown-timeout', '5', '--bridge', bridge.name, '--ip', '127.0.0.1'],
        ...['iptables', 'ip6tables', 'ip-forward', 'ip-masq'].map((flag) => `--${flag}=false`),
      ],
      env,
      stopSignal: 'SIGTERM',
      log: join(folder, 'docker.log'),
      ready: () => ping(socket),
    },
    say,
  )
  async function stop() {
    await engine.stop()
    for (const parent of [folder, sockets]) await unmountAll(parent)
    await rm(sockets, { recursive: true, force: true })
    await bridge.remove()
    await removeEmpty()
  }
  try {
    await engine.start()
  } catch (error) {
    await stop()
    throw error
  }
  return { host: `unix://${socket}`, stop }
}

function ping(socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const get = request({ socketPath, path: '/_ping', timeout: 2_000 }, (response) => {
      response.resume()
      if (response.statusCode === 200) resolve()
      else reject(new Error(`/_ping: ${response.statusCode}`))
    })
    get.on('timeout', () => get.destroy(new Error('no answer')))
    get.on('error', reject).end()
  })
}

/** Removes folders that engines make at fixed places, unless they were there or are still used. */
async function newFolders(): Promise<() => Promise<void>> {
  const folders = ['/run/containerd', '/run/containerd/s', '/run/docker', '/run/docker/plugins']
  const made: string[] = []
  for (const folder of folders) {
    if ((await stat(folder).catch(() => null)) === null) made.unshift(folder)
  }
  return async () => {
    for (const folder of made) await rmdir(folder).catch(() => undefined)
  }
}

/** An engine that had to be killed leaves its containers' file systems mounted. */
async function unmountAll(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n')
  const targets = mounts.map((line) => line.split(' ')[1] ?? '')
  for (const target of targets.filter((path) => path.startsWith(`${folder}/`)).toReversed()) {
    await run('umount', ['--lazy', target])
  }
}
