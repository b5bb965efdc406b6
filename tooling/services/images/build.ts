/**
 * Builds images of the services' servers from Debian's packages, for a machine with a Docker
 * engine and no registry, and prints the lines that make the tests use them.
 *
 *     eval "$(node tooling/services/images/build.ts [service …])"
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cached } from '../src/cache.ts'
import { run } from '../src/command.ts'
import { rootPackages, unpack } from '../src/debian.ts'
import { installDynamo } from '../src/packages/dynamodb.ts'
import { documentDbLibraries, installDocumentDb, installFerret } from '../src/packages/ferretdb.ts'
import { ServiceError, type ServiceName } from '../src/service.ts'
import { variable } from '../src/variables.ts'

interface Image {
  /** The name of the base image and the folder of its root. */
  base(): Promise<{ readonly name: string; readonly root: string }>
  /** What the Dockerfile copies beside its own folder's files. */
  readonly files?: () => Promise<readonly string[]>
}

const images: Readonly<Partial<Record<ServiceName, Image>>> = {
  postgres: { base: documentDb },
  'postgres-oldest': { base: () => debian('postgres-oldest', 'bookworm', ['postgresql-15']) },
  pgbouncer: { base: () => debian('pgbouncer', 'trixie', ['pgbouncer']) },
  redis: { base: () => debian('redis', 'trixie', ['redis-server']) },
  mongodb: {
    base: documentDb,
    files: async () => [join(await installFerret(say), 'ferretdb')],
  },
  dynamodb: {
    base: () => debian('java', 'trixie', ['openjdk-21-jre-headless']),
    files: async () => {
      const installed = await installDynamo(say)
      return [join(installed, 'lib'), join(installed, 'Loopback.class')]
    },
  },
}

const wanted = process.argv.slice(2)
for (const name of wanted.length > 0 ? wanted : Object.keys(images)) {
  await build(name as ServiceName)
}

async function build(name: ServiceName): Promise<void> {
  const image = images[name]
  if (image === undefined) throw new ServiceError(`there is no image for ${name}`)
  const tag = `sayiir-test/${name}`
  say(`building ${tag}`)
  const { name: baseName, root } = await image.base()
  await importRoot(root, `sayiir-test/base-${baseName}`)
  const context = await mkdtemp(join(tmpdir(), 'sayiir-image-'))
  try {
    await mkdir(join(context, 'data'))
    await cp(join(import.meta.dirname, name), context, { recursive: true })
    for (const file of (await image.files?.()) ?? []) {
      await cp(file, join(context, file.slice(file.lastIndexOf('/') + 1)), { recursive: true })
    }
    // The builder that every engine has; the other one comes with an image of its own.
    await run('docker', ['build', '--force-rm', '-t', tag, context], {
      env: { DOCKER_BUILDKIT: '0' },
    })
  } finally {
    await rm(context, { recursive: true })
  }
  console.log(`export ${variable(name, 'IMAGE')}=${tag}`)
}

async function documentDb() {
  return { name: 'documentdb', root: join(await installDocumentDb(say), 'root') }
}

async function debian(name: string, release: string, packages: readonly string[]) {
  const folder = await cached(`image-${name}-${release}-${process.arch}`, (target) =>
    unpack(target, { release, packages: [...packages, ...rootPackages], complete: true }),
  )
  return { name, root: join(folder, 'root') }
}

/** Makes an image of a folder. */
async function importRoot(root: string, tag: string): Promise<void> {
  const tar = spawn('tar', ['-c', '-C', root, '--owner=0', '--group=0', '.'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const libraries = ['--change', `ENV LD_LIBRARY_PATH=${documentDbLibraries}`]
  const docker = spawn('docker', ['import', ...libraries, '-', tag], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  tar.stdout.pipe(docker.stdin)
  const [code] = await once(docker, 'close')
  if (code !== 0) throw new ServiceError(`docker import ${tag} failed`)
}

function say(text: string): void {
  console.error(text)
}
