import shared from '@sayiir/tsdown-config'
import type { UserConfig } from 'tsdown'

const config: UserConfig = {
  ...shared,
  entry: {
    index: 'src/index.ts',
    adapter: 'src/adapter.ts',
    contract: 'src/contract/index.ts',
    // Run by Node as a process of its own: beside contract.js, where the suite looks for it.
    'process-worker': 'src/contract/process-worker.ts',
  },
}

export default config
