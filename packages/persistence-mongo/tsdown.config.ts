import shared from '@sayiir/tsdown-config'
import type { UserConfig } from 'tsdown'

const config: UserConfig = {
  ...shared,
  entry: { index: 'src/index.ts' },
}

export default config
