import { serviceSetup } from '@sayiir/services/vitest'

const setup: ReturnType<typeof serviceSetup> = serviceSetup('postgres')

export default setup
