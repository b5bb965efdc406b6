import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { findCommand, run } from './command.ts'
import { ServiceError } from './service.ts'

export interface DebianProgram {
  /** The folder that the packages are unpacked into. */
  readonly root: string
  readonly source: string
}

/**
 * A Debian or Ubuntu package and what it depends on and this machine lacks, unpacked into the
 * cache: nothing is installed into the system, and root is not needed.
 */
export async function installDebianPackage(
  name: string,
  say: (text: string) => void,
): Promise<DebianProgram> {
  return installDebianPackages(name, [name], say)
}

/** The same for several packages, as one entry of the cache. */
export async function installDebianPackages(
  name: string,
  packages: readonly string[],
  say: (text: string) => void,
): Promise<DebianProgram> {
  const release = await codename()
  if (release === null) {
    throw new ServiceError(
      `package: ${name} is not on the PATH. Install it, or start a Docker engine`,
    )
  }
  const folder = await cached(`${name}-${release}-${process.arch}`, async (target) => {
    say(`unpacking Debian's ${packages.join(' and ')} into the cache`)
    await unpack(target, { release, packages })
  })
  const root = join(folder, 'root')
  const version = (await readFile(join(folder, 'versions'), 'utf8')).split('\n')
  const source = version.find((line) => line.startsWith(`${name} `)) ?? name
  return { root, source }
}

export interface UnpackOptions {
  /** The release's codename, such as `bookworm` or `sid`. */
  readonly release: string
  readonly packages: readonly string[]
  /** Everything down to the C library: a root of its own, of any release. */
  readonly complete?: boolean
}

/** What a root needs beside the packages that are wanted in it. */
export const rootPackages: readonly string[] = [
  'base-files',
  'coreutils',
  'dash',
  'grep',
  'tzdata',
  'util-linux',
]

/** Downloads packages and unpacks them into `folder`/root, with a list of them in `versions`. */
export async function unpack(folder: string, options: UnpackOptions): Promise<void> {
  const { release, packages, complete = false } = options
  const apt = join(folder, 'apt')
  await mkdir(join(apt, 'lists/partial'), { recursive: true })
  await mkdir(join(apt, 'archives/partial'), { recursive: true })
  await writeFile(join(apt, 'sources.list'), await sources(release))
  await writeFile(join(apt, 'status'), '')
  const config = [
    `Dir::State::Lists "${apt}/lists";`,
    `Dir::Cache "${apt}";`,
    `Dir::Cache::archives "${apt}/archives";`,
    `Dir::Etc::sourcelist "${apt}/sources.list";`,
    'Dir::Etc::sourceparts "-";',
    'Debug::NoLocking "1";',
    'APT::Sandbox::User "";',
    'APT::Install-Recommends "0";',
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
    'Acquire::http::Timeout "20";',
    // A mirror of the unstable release may be days behind.
    ...(complete ? [`Dir::State::status "${apt}/status";`, 'Acquire::Check-Valid-Until "0";'] : []),
  ]
  await writeFile(join(apt, 'apt.conf'), `${config.join('\n')}\n`)
  const command = { env: { APT_CONFIG: join(apt, 'apt.conf'), LC_ALL: 'C' }, tries: 3 }
  await run('apt-get', ['-q', 'update'], command)
  await run('apt-get', ['-q', '-y', '--download-only', 'install', ...packages], command)

  const root = join(folder, 'root')
  await rm(root, { recursive: true, force: true })
  await mkdir(root)
  const archives = (await readdir(join(apt, 'archives'))).filter((file) => file.endsWith('.deb'))
  // base-files has the links such as /lib, which the others unpack into.
  archives.sort((a, b) => Number(b.startsWith('base-files_')) - Number(a.startsWith('base-files_')))
  for (const file of archives) await run('dpkg-deb', ['-x', join(apt, 'archives', file), root])
  const versions = archives.map((file) => {
    const [name, version] = decodeURIComponent(file).split('_')
    return `${name} ${version}`
  })
  await writeFile(join(folder, 'versions'), `${versions.join('\n')}\n`)
  await rm(apt, { recursive: true })
}

/** This machine's Debian or Ubuntu release; null on anything else. */
export async function codename(): Promise<string | null> {
  if ((await findCommand('apt-get')) === null) return null
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '')
  return /^VERSION_CODENAME=(\S+)$/m.exec(text)?.[1] ?? null
}

/** Lines for apt: the mirrors that this machine uses, without other parties' repositories. */
async function sources(release: string): Promise<string> {
  const here = await codename()
  const format = '$(REPO_URI) $(RELEASE) $(COMPONENT)'
  const targets = await run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'])
  const own = targets
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, suite = '']) => here !== null && (suite === here || suite.startsWith(`${here}-`)))
  const lines = own.map(([uri, suite, component]) => `deb ${uri} ${suite} ${component}`)
  if (release === here) return `${lines.join('\n')}\n`
  const mirror = own.find(([, suite]) => suite === here)?.[0]
  if (mirror === undefined) throw new ServiceError('package: apt has no Debian mirror here')
  return `deb ${mirror} ${release} main\n`
}

/** Where unpacked packages have their shared libraries, for the dynamic linker. */
export async function libraryPath(root: string): Promise<string> {
  const found: string[] = []
  for (const parent of [join(root, 'usr/lib'), join(root, 'lib')]) {
    const entries = await readdir(parent).catch(() => [])
    const folders = entries.filter((entry) => entry.includes('-linux-gnu'))
    found.push(...folders.map((entry) => join(parent, entry)))
  }
  return found.join(':')
}
