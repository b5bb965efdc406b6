import { availableParallelism } from 'node:os'
import type { ViteUserConfig } from 'vitest/config'

/** Workspace packages are run from their sources, here and in the processes that tests spawn. */
const source = '@sayiir/source'
const conditions = [source, 'node', 'development|production']

const config: ViteUserConfig = {
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // Inherited by `child_process.fork`; `spawn` passes `process.execArgv` on.
    execArgv: ['--disable-warning=ExperimentalWarning', `--conditions=${source}`],
    // turbo runs two packages at a time.
    maxWorkers: Math.max(1, Math.ceil(availableParallelism() / 2)),
    // Only ends what hangs: beside servers and other tests on two cores, ten processes take their time.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', 'json'],
    outputFile: { json: '.reports/vitest.json' },
  },
}

export default config
