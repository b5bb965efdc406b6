import { setTimeout as sleep } from 'node:timers/promises'
import type { StartedTestContainer } from 'testcontainers'
import { lastLines } from './command.ts'
import type { ContainerPlan, ContainerSpec } from './container-plans.ts'
import { ownerLabel, type RunningEngine } from './docker.ts'
import { ending } from './ending.ts'
import { identify } from './identify.ts'
import type { RunningServer } from './running-server.ts'
import { ServiceError } from './service.ts'
import { owner } from './temporary-folder.ts'

const readyMs = 120_000

/** Starts a plan's containers and waits until they answer; if one does not, none is left. */
export async function startContainers(
  plan: ContainerPlan,
  engine: RunningEngine,
): Promise<RunningServer> {
  const { container: api } = engine.client
  const started: StartedTestContainer[] = []
  const handles = () => started.map((container) => api.getById(container.getId()))

  async function ready(spec: ContainerSpec, container: StartedTestContainer) {
    const deadline = Date.now() + readyMs
    for (;;) {
      let last: unknown
      try {
        await identify(spec.ready.name, spec.ready.url)
        return
      } catch (error) {
        last = error
      }
      const { State } = await api.getById(container.getId()).inspect()
      if (!State.Running || Date.now() > deadline) {
        const why = State.Running ? `no answer: ${last}` : `it ended with ${State.ExitCode}`
        throw new ServiceError(
          `${spec.image} did not start: ${why}\n${lastLines(await log(container, 20))}`,
        )
      }
      await sleep(50, undefined, { signal: ending.signal })
    }
  }

  async function log(container: StartedTestContainer, tail?: number) {
    const options = { stdout: true, stderr: true, ...(tail === undefined ? {} : { tail }) }
    return withoutHeaders(await api.getById(container.getId()).logs(options))
  }

  async function remove() {
    for (const handle of handles().toReversed()) {
      await handle.remove({ force: true, v: true }).catch(() => undefined)
    }
    started.length = 0
  }

  async function settle() {
    for (const [index, spec] of plan.containers.entries()) {
      const container = started[index]
      if (container !== undefined) await ready(spec, container)
    }
    await plan.settle?.()
  }

  async function version() {
    const [first] = started
    if (first === undefined || plan.versionInLog === undefined) return undefined
    return plan.versionInLog.exec(await log(first))?.[1]
  }

  let told: string | undefined
  try {
    for (const spec of plan.containers) {
      ending.signal.throwIfAborted()
      const container = await create(spec, engine, started[0])
      started.push(container)
      await ready(spec, container)
    }
    await plan.settle?.()
    told = await version()
  } catch (error) {
    await remove()
    throw error
  }
  return {
    url: plan.url,
    urls: plan.urls ?? [plan.url],
    directUrl: plan.directUrl ?? plan.url,
    source: plan.containers.map(({ image }) => image).join(', '),
    ...(told === undefined ? {} : { version: told }),
    async kill() {
      for (const handle of handles()) await handle.kill()
    },
    async restart() {
      for (const handle of handles().toReversed()) await handle.stop({ t: 10 }).catch(ifRunning)
      for (const handle of handles()) await handle.start()
      await settle()
    },
    async pause() {
      for (const handle of handles()) await handle.pause()
    },
    async resume() {
      for (const handle of handles()) await handle.unpause()
    },
    stop: remove,
  }
}

/** The engine answers 304 when a container is stopped already. */
function ifRunning(error: { statusCode?: number }): void {
  if (error.statusCode !== 304) throw error
}

async function create(
  spec: ContainerSpec,
  { publishOn }: RunningEngine,
  first: StartedTestContainer | undefined,
): Promise<StartedTestContainer> {
  const { GenericContainer, StartupCheckStrategy } = await import('testcontainers')

  /** The wait for an answer is this module's: testcontainers knows no address but its own. */
  class Started extends StartupCheckStrategy {
    override async checkStartupState(): Promise<'SUCCESS'> {
      return 'SUCCESS'
    }
  }

  /** Publishes ports on one address only, for which testcontainers has no option. */
  class Container extends GenericContainer {
    protected override async beforeContainerCreated(): Promise<void> {
      const ports = (spec.ports ?? []).map(({ container, host }) => [
        `${container}/tcp`,
        [{ HostIp: publishOn, HostPort: String(host) }],
      ])
      this.hostConfig.PortBindings = Object.fromEntries(ports)
    }
  }

  // Without testcontainers' helper, which removes what a run leaves: supervisors do that.
  const container = new Container(spec.image)
    .withWaitStrategy(new Started())
    .withAutoCleanup(false)
    .withLabels({ [ownerLabel]: owner })
    .withEnvironment(spec.env ?? {})
    .withExposedPorts(...(spec.ports ?? []))
  if (spec.entrypoint !== undefined) container.withEntrypoint([...spec.entrypoint])
  if (spec.command !== undefined) container.withCommand([...spec.command])
  if (first !== undefined) container.withNetworkMode(`container:${first.getId()}`)
  const files = Object.entries(spec.files ?? {})
  container.withCopyContentToContainer(
    files.map(([target, content]) => ({ target, content, mode: 0o644 })),
  )
  return container.start()
}

/** Docker puts a header of 8 bytes before each piece of output, which ends with its length. */
function withoutHeaders(output: Buffer): string {
  const pieces: Buffer[] = []
  for (let at = 0; at + 8 <= output.length; ) {
    const end = at + 8 + output.readUInt32BE(at + 4)
    pieces.push(output.subarray(at + 8, end))
    at = end
  }
  return Buffer.concat(pieces).toString('utf8')
}
