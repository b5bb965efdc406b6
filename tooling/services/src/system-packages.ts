import { findCommand, run } from './command.ts'
import { codename } from './debian.ts'
import { ServiceError } from './service.ts'

/**
 * Makes sure of commands that cannot be put into the cache, given with Debian's package of each.
 * They are installed into the system only by root on Debian, and then that is said.
 */
export async function needCommands(
  packages: Readonly<Record<string, string>>,
  say: (text: string) => void,
): Promise<void> {
  const missing: string[] = []
  for (const command of Object.keys(packages)) {
    if ((await findCommand(command)) === null) missing.push(command)
  }
  if (missing.length === 0) return
  const names = missing.map((command) => packages[command] ?? command)
  const install = `apt-get install -y --no-install-recommends ${names.join(' ')}`
  if ((await codename()) === null) {
    const line = `package: install ${missing.join(' and ')} and put it on the PATH, or start a Docker engine`
    throw new ServiceError(line)
  }
  if (process.getuid?.() !== 0) {
    throw new ServiceError(`package: ${missing.join(' and ')} is missing: sudo ${install}`)
  }
  say(`installing into the system: ${install}`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  await run('apt-get', ['-q', 'update'], { env, tries: 3 })
  const wait = ['-o', 'DPkg::Lock::Timeout=300']
  await run('apt-get', ['-q', ...wait, ...install.split(' ').slice(1)], { env, tries: 3 })
}
