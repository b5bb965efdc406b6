import { readFile, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { findCommand, run } from './command.ts'
import { ServiceError } from './service.ts'

/** Puts one npm package, without running anything of it, into `folder`/node_modules. */
export async function installNpmPackage(folder: string, spec: string): Promise<void> {
  const npm = await findCommand(process.platform === 'win32' ? 'npm.cmd' : 'npm')
  if (npm === null) throw new ServiceError('npm is not on the PATH; it comes with Node')
  const flags = ['--no-save', '--no-package-lock', '--ignore-scripts', '--no-audit', '--no-fund']
  await run(npm, ['install', '--prefix', folder, ...flags, spec], {
    cwd: folder,
    // Node would leave that in the folder for temporary files.
    env: { NODE_DISABLE_COMPILE_CACHE: '1' },
    tries: 3,
  })
}

/** Makes the symbolic links that npm cannot pack and that the package's own script would make. */
export async function makeSymlinks(packageFolder: string): Promise<void> {
  const file = join(packageFolder, 'native/pg-symlinks.json')
  const links: { source: string; target: string }[] = JSON.parse(await readFile(file, 'utf8'))
  for (const { source, target } of links) {
    const path = join(packageFolder, target)
    await symlink(relative(dirname(path), join(packageFolder, source)), path).catch((error) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}
