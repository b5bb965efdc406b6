import shared from '@sayiir/vitest-config'
import { mergeConfig, type ViteUserConfig } from 'vitest/config'

const config: ViteUserConfig = mergeConfig(shared, {
  // Three servers run beside the tests.
  test: { globalSetup: 'test/setup.ts', testTimeout: 60_000 },
})

export default config
