import { identify } from './identify.ts'
import { type Service, ServiceError, type ServiceName } from './service.ts'
import { variable } from './variables.ts'

/** The server that the environment names, if it does. It is not this run's to stop or restart. */
export async function fromEnvironment(name: ServiceName): Promise<Service | null> {
  const source = variable(name, 'URL')
  const value = process.env[source]
  if (value === undefined || value === '') return null
  // Nodes of Redis are separated by commas; MongoDB's have them within one URL.
  const urls = name.startsWith('redis-') ? value.split(',') : [value]
  const [url = value] = urls
  const refuse = async () => {
    throw new ServiceError(`The server of ${source} is not this run's to control: unset ${source}`)
  }
  try {
    const { product, version } = await identify(name, url)
    return {
      name,
      url,
      urls,
      directUrl: url,
      product,
      version,
      how: 'environment',
      source,
      stop: async () => undefined,
      kill: refuse,
      restart: refuse,
      pause: refuse,
      resume: refuse,
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ServiceError(
      `${source} is set, but no ${name} answers there: ${reason}\nStart that server, or: unset ${source}`,
    )
  }
}
