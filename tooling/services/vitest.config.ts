import config from '@sayiir/vitest-config'
import { mergeConfig, type ViteUserConfig } from 'vitest/config'

/** A first start downloads a server, and two packages' tests may be waiting for the same one. */
const services: ViteUserConfig = mergeConfig(config, {
  test: { testTimeout: 120_000, hookTimeout: 900_000, fileParallelism: false },
})

/** What takes minutes is in `test/servers`: `.ci/run` tests it, `pnpm test` does not. */
services.test = { ...services.test, include: ['test/*.test.ts'] }

export default services
