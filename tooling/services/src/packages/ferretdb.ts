import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cached } from '../cache.ts'
import { findCommand, run } from '../command.ts'
import { codename, rootPackages, unpack } from '../debian.ts'
import { freePorts } from '../free-port.ts'
import { identify } from '../identify.ts'
import { serverFolder, serverUid } from '../root.ts'
import type { ProcessServer, StartContext } from '../running-server.ts'
import { ServiceError } from '../service.ts'
import { initdbArgs, removeSharedMemory, settings } from './postgres.ts'

const ferretVersion = '2.7.0'
const ferretModule = `github.com/FerretDB/FerretDB/v2/cmd/ferretdb@v${ferretVersion}`
/** Where the run's folder is in the root that PostgreSQL runs in. */
const mount = '/run/sayiir'

/**
 * FerretDB, a server of MongoDB's protocol on PostgreSQL with the DocumentDB extension. MongoDB
 * itself is in no package registry.
 */
export async function ferretPackage({ folder, say }: StartContext): Promise<ProcessServer> {
  if (process.platform !== 'linux' || (await codename()) === null) {
    throw new ServiceError(
      'package: FerretDB is put together on Debian only; start a Docker engine',
    )
  }
  const [root, ferret] = await Promise.all([installDocumentDb(say), installFerret(say)])
  const data = await serverFolder(folder, 'data')
  const password = randomBytes(12).toString('hex')
  await writeFile(join(folder, 'password'), password, { mode: 0o644 })
  const initdb = inRoot(root, folder, 'initdb', initdbArgs(`${mount}/data`, `${mount}/password`))
  await run(initdb.command, initdb.args)
  const [port = 0, postgresPort = 0] = await freePorts(2)
  const postgresUrl = `postgres://postgres:${password}@127.0.0.1:${postgresPort}/postgres`
  const url = `mongodb://127.0.0.1:${port}/?directConnection=true`
  const postgresArgs = ['-D', `${mount}/data`, ...settings(postgresPort), ...documentDbSettings]
  return {
    url,
    source: `${ferretModule} on postgresql-18-documentdb`,
    processes: [
      {
        ...inRoot(root, folder, 'postgres', postgresArgs),
        // The extension connects to the server that it runs in.
        env: { PGPASSWORD: password },
        watched: false,
        stopSignal: 'SIGINT',
        log: join(folder, 'postgres.log'),
        ready: () => createExtension(postgresUrl),
      },
      {
        command: join(ferret, 'ferretdb'),
        args: [],
        env: ferretEnvironment(postgresUrl, `127.0.0.1:${port}`, folder),
        stopSignal: 'SIGTERM',
        log: join(folder, 'ferretdb.log'),
        ready: async () => void (await identify('mongodb', url)),
      },
    ],
    cleanUp: () => removeSharedMemory(data),
  }
}

/** PostgreSQL 18 with the extension: the packages of a later Debian than most machines have. */
export function installDocumentDb(say: (text: string) => void): Promise<string> {
  return cached(`postgresql-18-documentdb-${process.arch}`, async (target) => {
    say('unpacking PostgreSQL 18 with DocumentDB into the cache (143 MB, 560 MB unpacked)')
    const packages = ['postgresql-18-documentdb', ...rootPackages]
    await unpack(target, { release: 'sid', packages, complete: true })
    const root = join(target, 'root')
    await mkdir(join(root, mount), { recursive: true })
    const uid = serverUid ?? process.getuid?.()
    await writeFile(join(root, 'etc/passwd'), `postgres:x:${uid}:${uid}::/tmp:/bin/sh\n`)
    await writeFile(join(root, 'etc/group'), `postgres:x:${uid}:\n`)
    await writeFile(join(root, 'etc/hosts'), '127.0.0.1 localhost\n')
    await linkControlFiles(join(root, 'usr/share/postgresql/18/extension'))
  })
}

/** PostGIS's files have a version in their names; its package links them when it is installed. */
async function linkControlFiles(folder: string): Promise<void> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('-3.control'))
  for (const file of files)
    await symlink(file, join(folder, file.replace('-3.control', '.control')))
}

/** FerretDB's program, built by Go: the one on the PATH, or Debian's, which is needed only here. */
export function installFerret(say: (text: string) => void): Promise<string> {
  return cached(`ferretdb-${ferretVersion}-${process.arch}`, async (target) => {
    const build = join(target, 'build')
    const go = (await goOnPath()) ?? (await unpackGo(build, say))
    say(`building FerretDB ${ferretVersion} with Go into the cache (1 to 2 minutes, 25 MB)`)
    const env = {
      GOBIN: target,
      GOPATH: join(build, 'path'),
      GOCACHE: join(build, 'cache'),
      GOFLAGS: '-modcacherw -trimpath',
      CGO_ENABLED: '0',
    }
    await run(go, ['install', '-ldflags=-s -w', ferretModule], { env, tries: 3 })
    await rm(build, { recursive: true })
  })
}

/** From 1.21 on Go gets the version that a module asks for by itself. */
async function goOnPath(): Promise<string | null> {
  const go = await findCommand('go')
  if (go === null) return null
  const version = await run(go, ['version'])
  const [, minor = '0'] = /go1\.(\d+)/.exec(version) ?? []
  return Number(minor) >= 21 ? go : null
}

/** Its programs are linked statically: those of a later release run here. */
async function unpackGo(folder: string, say: (text: string) => void): Promise<string> {
  say("unpacking Debian's Go (60 MB) to build FerretDB")
  await mkdir(folder, { recursive: true })
  await unpack(folder, { release: 'sid', packages: ['golang-go'], complete: true })
  return join(folder, 'root/usr/lib/go/bin/go')
}

/** FerretDB's settings: loopback, nobody to log in, nothing told to its makers. */
function ferretEnvironment(
  postgresUrl: string,
  address: string,
  folder: string,
): Record<string, string> {
  return {
    FERRETDB_POSTGRESQL_URL: postgresUrl,
    FERRETDB_LISTEN_ADDR: address,
    FERRETDB_STATE_DIR: folder,
    FERRETDB_AUTH: 'false',
    FERRETDB_TELEMETRY: 'disable',
    FERRETDB_DEBUG_ADDR: '-',
  }
}

const documentDbSettings: readonly string[] = [
  ...['-c', 'shared_preload_libraries=pg_cron,pg_documentdb_core,pg_documentdb'],
  ...['-c', 'cron.database_name=postgres'],
]

/** Debian chooses among linear algebra libraries when it installs them. */
export const documentDbLibraries: string = ['blas', 'lapack']
  .map((name) => `/usr/lib/${multiarch()}/${name}`)
  .join(':')

function multiarch(): string {
  return process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
}

/**
 * A command of PostgreSQL in a root of its own, where the run's folder is mounted. The mounts are
 * in a namespace of the process and end with it. Without root, a user namespace gives the right
 * to make them.
 */
function inRoot(installed: string, folder: string, program: string, args: readonly string[]) {
  const script = `set -e
    mount --bind "$2" "$1${mount}"
    mount --rbind /proc "$1/proc"
    mount --rbind /dev "$1/dev"
    root=$1
    shift 2
    LD_LIBRARY_PATH=${documentDbLibraries} exec chroot "$root" /usr/bin/setpriv "$@"`
  const namespaces =
    serverUid === undefined
      ? ['--user', '--map-current-user', '--keep-caps', '--mount']
      : ['--mount']
  const user =
    serverUid === undefined
      ? []
      : [`--reuid=${serverUid}`, `--regid=${serverUid}`, '--clear-groups']
  const path = `/usr/lib/postgresql/18/bin/${program}`
  const inside = [...user, '--pdeathsig=INT', path, ...args]
  const root = join(installed, 'root')
  return {
    command: 'unshare',
    args: [...namespaces, 'sh', '-c', script, 'sh', root, folder, ...inside],
  }
}

async function createExtension(url: string): Promise<void> {
  const { default: postgres } = await import('postgres')
  const sql = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => undefined })
  try {
    await sql`create extension if not exists documentdb cascade`
  } finally {
    await sql.end({ timeout: 1 })
  }
}
