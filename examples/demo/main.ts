/** `pnpm demo`: durable workflows that survive the death of a worker. See `--help`. */
import { demonstrate } from './demo.ts'
import { listFiles } from './files.ts'
import { type DemoOptions, HELP, parseOptions } from './options.ts'
import { openStore, temporaryStore } from './stores.ts'

try {
  process.exitCode = await main()
} catch (error) {
  console.error(`demo: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options === null) {
    console.log(HELP)
    return 0
  }
  const files = await listFiles(options.directory)
  if (files.length === 0)
    throw new Error(`${options.directory} has no files; give another folder with --dir`)

  const temporary = options.store === null ? await temporaryStore() : null
  try {
    return await onStore(options.store ?? temporary?.store ?? '', files, options)
  } finally {
    await temporary?.remove()
  }
}

async function onStore(
  store: string,
  files: readonly string[],
  options: DemoOptions,
): Promise<number> {
  const backend = await openStore(store)
  try {
    console.log(`\n${files.length} workflow runs on ${store}, ${options.workers} workers\n`)
    if (backend.name === 'memory') console.log('  in this process only, so none is killed\n')
    const wrong = await demonstrate(backend, store, files, options)
    for (const line of wrong.slice(0, 20)) console.error(`  wrong: ${line}`)
    if (wrong.length > 0) {
      console.error(`\n  ${wrong.length} things are wrong: please report this\n`)
      return 1
    }
    console.log(
      `  Proven: all ${files.length} reports equal the direct calculation, each run complete, each task exactly once.\n`,
    )
    return 0
  } finally {
    await backend.close()
  }
}
