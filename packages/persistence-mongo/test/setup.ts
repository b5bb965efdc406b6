import { serviceSetup } from '@sayiir/services/vitest'

const setup: ReturnType<typeof serviceSetup> = serviceSetup('mongodb')

export default setup
