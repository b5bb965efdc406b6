import shared from '@sayiir/tsdown-config'
import type { UserConfig } from 'tsdown'

const config: UserConfig = {
  ...shared,
  entry: {
    index: 'src/index.ts',
    adapter: 'src/adapter.ts',
    contract: 'src/contract/index.ts',
  },
}

export default config
