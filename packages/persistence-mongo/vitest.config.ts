import config from '@sayiir/vitest-config'
import { mergeConfig, type ViteUserConfig } from 'vitest/config'

/** The first start of a server may have to install it. */
const mongo: ViteUserConfig = mergeConfig(config, {
  test: { globalSetup: 'test/setup.ts', hookTimeout: 900_000 },
})

export default mongo
