import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { ContainerRuntimeClient } from 'testcontainers'
import { cached } from '../cache.ts'
import { officialImages } from '../container-plans.ts'
import { rootPackages, unpack } from '../debian.ts'
import { pullImage } from '../docker.ts'
import { ending } from '../ending.ts'
import { installDynamo } from '../packages/dynamodb.ts'
import { documentDbLibraries, installDocumentDb, installFerret } from '../packages/ferretdb.ts'
import { installPostgres } from '../packages/postgres.ts'
import { ServiceError, type ServiceName } from '../service.ts'
import { variable } from '../variables.ts'

type Say = (text: string) => void
type Docker = ContainerRuntimeClient['container']['dockerode']

interface Image {
  /** The name of the base image and the folder of its root. */
  base(say: Say): Promise<{ readonly name: string; readonly root: string }>
  /** What the Dockerfile copies beside its own folder's files. */
  readonly files?: (say: Say) => Promise<readonly string[]>
}

const images: Readonly<Partial<Record<ServiceName, Image>>> = {
  postgres: { base: documentDb },
  'postgres-oldest': {
    base: () => debian('debian', 'trixie', ['libstdc++6']),
    files: async (say) => [(await installPostgres('oldest', say)).native],
  },
  pgbouncer: { base: () => debian('pgbouncer', 'trixie', ['pgbouncer']) },
  redis: { base: () => debian('redis', 'trixie', ['redis-server']) },
  mongodb: {
    base: documentDb,
    files: async (say) => [join(await installFerret(say), 'ferretdb')],
  },
  dynamodb: {
    base: () => debian('java', 'trixie', ['openjdk-21-jre-headless']),
    files: async (say) => {
      const installed = await installDynamo(say)
      return [join(installed, 'lib'), join(installed, 'Loopback.class')]
    },
  },
}

/** The services that there is an image for. */
export const builtImages = Object.keys(images) as readonly ServiceName[]

/**
 * Makes sure of an image for every service: the official ones, or, where one cannot be pulled, ones
 * that are built here. Gives the variables that make the tests use these.
 */
export async function provideImages(
  client: ContainerRuntimeClient,
  say: Say,
): Promise<Record<string, string>> {
  const env: Record<string, string> = {}
  let registry = true
  for (const name of builtImages) {
    if (process.env[variable(name, 'IMAGE')]) continue
    registry &&= await pullImage(name, officialImages[name], client, say).then(
      () => true,
      (error) => {
        say(error.message)
        return false
      },
    )
    if (!registry) env[variable(name, 'IMAGE')] = await buildImage(name, client, say)
  }
  return env
}

/** Builds a service's image from Debian's packages and gives its name. */
export async function buildImage(
  name: ServiceName,
  client: ContainerRuntimeClient,
  say: Say,
): Promise<string> {
  const image = images[name]
  if (image === undefined) throw new ServiceError(`there is no image for ${name}`)
  const docker = client.container.dockerode
  const tag = `sayiir-test/${name}`
  ending.signal.throwIfAborted()
  say(`building ${tag}`)
  const base = await image.base(say)
  await importRoot(docker, base.root, `sayiir-test/base-${base.name}`)
  const context = await mkdtemp(join(tmpdir(), 'sayiir-image-'))
  try {
    await mkdir(join(context, 'data'))
    await cp(join(import.meta.dirname, '../../images', name), context, { recursive: true })
    for (const file of (await image.files?.(say)) ?? []) {
      const options = { recursive: true, verbatimSymlinks: true }
      await cp(file, join(context, file.slice(file.lastIndexOf('/') + 1)), options)
    }
    // The builder that every engine has; the other one comes with an image of its own.
    await ended(docker, await docker.buildImage(tar(context), { t: tag, forcerm: true }))
  } finally {
    await rm(context, { recursive: true })
  }
  return tag
}

async function documentDb(say: Say) {
  return { name: 'documentdb', root: join(await installDocumentDb(say), 'root') }
}

async function debian(name: string, release: string, packages: readonly string[]) {
  const folder = await cached(`image-${name}-${release}-${process.arch}`, (target) =>
    unpack(target, { release, packages: [...packages, ...rootPackages], complete: true }),
  )
  return { name, root: join(folder, 'root') }
}

/** Makes an image of a folder, unless it was made before. */
async function importRoot(docker: Docker, root: string, tag: string): Promise<void> {
  const there = await docker
    .getImage(tag)
    .inspect()
    .catch(() => null)
  if (there !== null) return
  const changes = [`ENV LD_LIBRARY_PATH=${documentDbLibraries}`]
  await ended(docker, await docker.importImage(tar(root), { repo: tag, changes }))
}

function tar(folder: string): Readable {
  const { stdout } = spawn('tar', ['-c', '-C', folder, '--owner=0', '--group=0', '.'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    signal: ending.signal,
  }).on('error', () => undefined)
  return stdout
}

/** Follows what the engine tells while it works; it tells of failures only there. */
function ended(docker: Docker, progress: NodeJS.ReadableStream): Promise<void> {
  return new Promise((resolve, reject) => {
    docker.modem.followProgress(progress, (error, lines: readonly { error?: string }[] | null) => {
      const failure = error?.message ?? lines?.find((line) => line.error !== undefined)?.error
      if (failure === undefined) resolve()
      else reject(new ServiceError(failure))
    })
  })
}
