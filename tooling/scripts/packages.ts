import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

export const root: string = join(import.meta.dirname, '../..')

/** The backends whose contract is tested on servers. */
export async function packagesOnServers(folder: string = root): Promise<string[]> {
  const names: string[] = []
  for (const path of globSync('packages/*/test/contract.test.ts', { cwd: folder }).toSorted()) {
    const manifest = await readFile(join(folder, dirname(path), '../package.json'), 'utf8')
    const { name, devDependencies = {} } = JSON.parse(manifest)
    if ('@sayiir/services' in devDependencies) names.push(name)
  }
  return names
}
