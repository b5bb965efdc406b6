import { serviceSetup } from '@sayiir/services/vitest'

export default serviceSetup('postgres')
