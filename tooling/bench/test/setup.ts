import { serviceSetup } from '@sayiir/services/vitest'

/** Here, and not in a test with its time-out: a first start installs the server. */
const setup: ReturnType<typeof serviceSetup> = serviceSetup('postgres', 'redis', 'mongodb')

export default setup
