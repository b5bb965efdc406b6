import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import type { ServiceInfo, ServiceName } from './service.ts'
import { startService } from './start-service.ts'

declare module 'vitest' {
  interface ProvidedContext extends Record<ServiceName, ServiceInfo> {}
}

/**
 * A `globalSetup` for vitest: one server for all test files of a run. A test file that needs to
 * stop or restart a server starts one of its own; the others share, each in its own namespace.
 * Which servers answered is left beside the run's report, in `.reports/services.json`.
 *
 * @example
 * ```ts
 * // test/setup.ts, named by `globalSetup` in vitest.config.ts
 * export default serviceSetup('postgres', 'pgbouncer')
 *
 * // in a test file
 * const { url } = inject('postgres')
 * ```
 */
export function serviceSetup(
  ...names: readonly ServiceName[]
): (project: TestProject) => Promise<() => Promise<void>> {
  return async (project) => {
    const started = await Promise.allSettled(names.map((name) => startService(name)))
    const running = started.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
    const stop = async () => void (await Promise.all(running.map((service) => service.stop())))
    const failure = started.find((result) => result.status === 'rejected')
    if (failure !== undefined) {
      await stop()
      throw failure.reason
    }
    for (const { stop, kill, restart, pause, resume, ...info } of running) {
      project.provide(info.name, info)
    }
    await report(project.config.root, running)
    return stop
  }
}

/** Products differ, so whoever reads a run's result has to know which ones it is about. */
async function report(root: string, services: readonly ServiceInfo[]): Promise<void> {
  const answered = services.map(({ name, product, version, how }) => ({
    name,
    product,
    version,
    how,
  }))
  await mkdir(join(root, '.reports'), { recursive: true })
  await writeFile(join(root, '.reports/services.json'), `${JSON.stringify(answered)}\n`)
}
