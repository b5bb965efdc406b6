/** A process that starts a server, tells its URL, and then waits until it is ended. */
import { argv } from 'node:process'
import { type ServiceName, startService } from '../../src/index.ts'

const { url } = await startService(argv[2] as ServiceName)
console.log(url)
setInterval(() => undefined, 1_000)
