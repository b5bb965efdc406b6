import shared from '@sayiir/vitest-config'
import { mergeConfig, type ViteUserConfig } from 'vitest/config'

const config: ViteUserConfig = mergeConfig(shared, {
  test: { globalSetup: 'test/setup.ts' },
})

export default config
