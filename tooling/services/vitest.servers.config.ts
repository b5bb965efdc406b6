import type { ViteUserConfig } from 'vitest/config'
import services from './vitest.config.ts'

/** Every server, in the way that is taken here, and what interrupted runs leave. */
const servers: ViteUserConfig = {
  ...services,
  test: { ...services.test, include: ['test/servers/*.test.ts'] },
}

export default servers
