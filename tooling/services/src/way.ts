import { dockerEngine } from './docker.ts'

/**
 * In which way servers would be started here, as text that changes when the way does: what a
 * cached result of tests depends on. Of servers that the environment names nothing is known, so
 * with one of them it is never the same twice.
 */
export async function servicesWay(): Promise<string> {
  const { env } = process
  const named = Object.keys(env).find((key) => isServerUrl.test(key) && env[key])
  if (named !== undefined) return `environment ${Date.now()}`
  if (env.SAYIIR_TEST_SERVICES === 'package') return 'package'
  const engine = await dockerEngine()
  if (!engine.answers) return 'package'
  const { ID, ServerVersion }: { ID?: string; ServerVersion?: string } =
    await engine.client.container.dockerode.info()
  return `docker ${ServerVersion} ${ID}`
}

const isServerUrl = /^SAYIIR_TEST_\w+_URL$/
