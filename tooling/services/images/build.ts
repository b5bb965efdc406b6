/**
 * Builds images of the services' servers from Debian's packages, for a machine with a Docker
 * engine and no registry, and prints the lines that make the tests use them.
 *
 *     eval "$(node tooling/services/images/build.ts [service …])"
 */
import { dockerEngine } from '../src/docker.ts'
import { buildImage, builtImages } from '../src/engine/images.ts'
import { ServiceError, type ServiceName } from '../src/service.ts'
import { variable } from '../src/variables.ts'

const engine = await dockerEngine()
if (!engine.answers) throw new ServiceError(engine.reason)
const wanted = process.argv.slice(2) as ServiceName[]
for (const name of wanted.length > 0 ? wanted : builtImages) {
  const tag = await buildImage(name, engine.client, (text) => console.error(text))
  console.log(`export ${variable(name, 'IMAGE')}=${tag}`)
}
