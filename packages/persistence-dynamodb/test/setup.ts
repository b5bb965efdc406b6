import { serviceSetup } from '@sayiir/services/vitest'

const setup: ReturnType<typeof serviceSetup> = serviceSetup('dynamodb')

export default setup
