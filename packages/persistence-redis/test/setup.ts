import { serviceSetup } from '@sayiir/services/vitest'

const setup: ReturnType<typeof serviceSetup> = serviceSetup('redis', 'redis-cluster')

export default setup
