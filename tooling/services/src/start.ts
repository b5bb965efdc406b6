import { dockerEngine, startContainer } from './docker.ts'
import { startPackage } from './packages.ts'
import type { RunningServer, StartContext } from './running-server.ts'
import { ServiceError, type ServiceName, type Way } from './service.ts'
import { serverUrlLine, variable } from './variables.ts'

export interface Started {
  readonly server: RunningServer
  readonly how: Way
  /** Why this way was taken. */
  readonly why: string
}

/** Starts a server in the first way that works here: Docker, then packages. */
export async function start(name: ServiceName, context: StartContext): Promise<Started> {
  const forced = process.env.SAYIIR_TEST_SERVICES
  if (forced === 'docker') {
    const engine = await dockerEngine()
    if (!engine.answers) throw new ServiceError(unavailable(name, [engine.reason]))
    const why = 'SAYIIR_TEST_SERVICES=docker'
    return { server: await startContainer(name, engine, context), how: 'docker', why }
  }
  if (forced === 'package') {
    const why = 'SAYIIR_TEST_SERVICES=package'
    return { server: await startPackage(name, context), how: 'package', why }
  }
  if (forced !== undefined && forced !== '') {
    throw new ServiceError(`SAYIIR_TEST_SERVICES is docker or package, not ${forced}`)
  }

  const engine = await dockerEngine()
  let noContainer = engine.answers ? '' : engine.reason
  if (engine.answers) {
    try {
      const server = await startContainer(name, engine, context)
      return { server, how: 'docker', why: 'a Docker engine answers' }
    } catch (error) {
      // An image that someone chose has to work; the default ones may not be to be had here.
      if (process.env[variable(name, 'IMAGE')]) throw error
      noContainer = error instanceof Error ? error.message : String(error)
    }
  }
  try {
    return { server: await startPackage(name, context), how: 'package', why: noContainer }
  } catch (error) {
    const noPackage = error instanceof Error ? error.message : String(error)
    throw new ServiceError(unavailable(name, [noContainer, noPackage]))
  }
}

function unavailable(name: ServiceName, reasons: readonly string[]): string {
  return [`There is no ${name} for the tests.`, ...reasons, serverUrlLine(name)].join('\n')
}
