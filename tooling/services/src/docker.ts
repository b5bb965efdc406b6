import { access } from 'node:fs/promises'
import { homedir, hostname } from 'node:os'
import { join } from 'node:path'
import type { ContainerRuntimeClient } from 'testcontainers'
import { containerPlan } from './container-plans.ts'
import { startContainers } from './containers.ts'
import type { RunningServer, StartContext } from './running-server.ts'
import { ServiceError, type ServiceName } from './service.ts'
import { isGone } from './temporary-folder.ts'
import { variable } from './variables.ts'

export type Engine = RunningEngine | { readonly answers: false; readonly reason: string }

export interface RunningEngine {
  readonly answers: true
  readonly client: ContainerRuntimeClient
  /** Where the ports of its containers are. */
  readonly host: string
  /** The address that they are published on; empty is every one. */
  readonly publishOn: string
}

/** Looks for a Docker engine. */
export async function dockerEngine(): Promise<Engine> {
  const none = { answers: false, reason: 'no Docker engine answers' } as const
  if (!(await mayHaveEngine())) return none
  try {
    const { getContainerRuntimeClient } = await import('testcontainers')
    const client = await getContainerRuntimeClient()
    const { containerRuntime } = client.info
    const info: { Name?: string } = await client.container.dockerode.info()
    // In a container with an engine of its own, testcontainers takes the engine for the host's.
    const local = containerRuntime.host === 'localhost' || info.Name === hostname()
    const host = local ? '127.0.0.1' : containerRuntime.host
    return { answers: true, client, host, publishOn: local ? host : '' }
  } catch {
    return none
  }
}

/** Starts a service in containers, with the image that is named or the official one. */
export async function startContainer(
  name: ServiceName,
  engine: RunningEngine,
  context: StartContext,
): Promise<RunningServer> {
  await removeLeftOvers(engine.client)
  const plan = await containerPlan(name, engine.host)
  for (const { image } of plan.containers) await pullImage(name, image, engine.client, context.say)
  return startContainers(plan, engine)
}

/** A label by which containers of a supervisor that was killed are found. */
export const ownerLabel = 'dev.sayiir.services.owner'

/** Pulls an image unless it is there. */
export async function pullImage(
  name: ServiceName,
  image: string,
  client: ContainerRuntimeClient,
  say: (text: string) => void,
): Promise<void> {
  const { ImageName } = await import('testcontainers')
  const imageName = ImageName.fromString(image)
  if (await client.image.exists(imageName)) return
  say(`pulling ${image}`)
  try {
    await client.image.pull(imageName, { force: false, platform: undefined })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const short = reason.replace(/^.*?(?=Get |pull access|manifest|no such)/s, '').slice(0, 200)
    throw new ServiceError(
      `the image ${image} cannot be pulled (${short}); another one: export ${variable(name, 'IMAGE')}=…`,
    )
  }
}

/** Loading testcontainers takes a while, so this looks first whether there may be an engine. */
async function mayHaveEngine(): Promise<boolean> {
  const { env } = process
  if (env.DOCKER_HOST || env.TESTCONTAINERS_HOST_OVERRIDE || process.platform === 'win32') {
    return true
  }
  const home = homedir()
  const paths = [
    '/var/run/docker.sock',
    join(home, '.testcontainers.properties'),
    join(home, '.docker/run/docker.sock'),
    join(home, '.docker/desktop/docker.sock'),
    join(home, '.colima/default/docker.sock'),
    join(env.XDG_RUNTIME_DIR ?? '/run/user', '.docker/run/docker.sock'),
    join(env.XDG_RUNTIME_DIR ?? '/run/user', 'docker.sock'),
  ]
  const there = await Promise.all(
    paths.map((path) =>
      access(path).then(
        () => true,
        () => false,
      ),
    ),
  )
  return there.includes(true)
}

async function removeLeftOvers({ container }: ContainerRuntimeClient): Promise<void> {
  const filters = { label: [ownerLabel] }
  const left = await container.dockerode.listContainers({ all: true, filters })
  for (const { Id, Labels } of left) {
    if (!isGone(Labels[ownerLabel] ?? '')) continue
    await container
      .getById(Id)
      .remove({ force: true, v: true })
      .catch(() => undefined)
  }
}
