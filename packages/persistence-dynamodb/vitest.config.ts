import shared from '@sayiir/vitest-config'
import type { ViteUserConfig } from 'vitest/config'

const config: ViteUserConfig = {
  ...shared,
  test: { ...shared.test, globalSetup: 'test/setup.ts' },
}

export default config
