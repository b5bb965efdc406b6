import config from '@sayiir/vitest-config'
import { mergeConfig, type ViteUserConfig } from 'vitest/config'

/** A first start downloads a server, and two packages' tests may be waiting for the same one. */
const services: ViteUserConfig = mergeConfig(config, {
  test: { testTimeout: 120_000, hookTimeout: 900_000, fileParallelism: false },
})

export default services
