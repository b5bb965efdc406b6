import { serviceSetup } from '@sayiir/services/vitest'

const setup: ReturnType<typeof serviceSetup> = serviceSetup(
  'postgres',
  'postgres-oldest',
  'pgbouncer',
)

export default setup
