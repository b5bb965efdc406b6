import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getContainerRuntimeClient } from 'testcontainers'
import { onTestFinished } from 'vitest'
import { ownerLabel } from '../src/docker.ts'

/** A folder for temporary files of one test, by which everything that the test starts is found. */
export class Sandbox {
  readonly folder: string
  readonly #owners = new Set<string>()

  constructor(folder: string) {
    this.folder = folder
  }

  /** The environment for a process of this test. */
  get env(): NodeJS.ProcessEnv {
    return { ...process.env, TMPDIR: this.folder }
  }

  /** Notes whose containers to look for later; while a server runs there is at least its folder. */
  async running(): Promise<string[]> {
    const names = await readdir(this.folder)
    for (const name of names) this.#owners.add(name.replace(/^sayiir-services-|-\w+$/g, ''))
    return names
  }

  /** Everything that is left: folders, processes that inherited the environment, containers. */
  async leftovers(): Promise<string[]> {
    const names = (await readdir(this.folder)).map((name) => `folder ${name}`)
    const shared = (await readdir('/dev/shm').catch(() => [])).filter((name) =>
      [...this.#owners].some((owner) => name.includes(owner)),
    )
    return [...names, ...shared, ...(await this.#processes()), ...(await this.#containers())]
  }

  async #processes(): Promise<string[]> {
    const pids = await readdir('/proc').catch(() => [])
    const found: string[] = []
    for (const pid of pids.filter((name) => /^\d+$/.test(name))) {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
      if (!environment.split('\0').includes(`TMPDIR=${this.folder}`)) continue
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      found.push(`process ${pid} ${command.replaceAll('\0', ' ')}`)
    }
    return found
  }

  async #containers(): Promise<string[]> {
    if (process.env.SAYIIR_TEST_SERVICES !== 'docker' || this.#owners.size === 0) return []
    const { dockerode } = (await getContainerRuntimeClient()).container
    const label = [...this.#owners].map((owner) => `${ownerLabel}=${owner}`)
    // Labels in one filter must all be there, so one query for each.
    const found = await Promise.all(
      label.map((one) => dockerode.listContainers({ all: true, filters: { label: [one] } })),
    )
    return found.flat().map(({ Names }) => `container ${Names}`)
  }
}

/** A sandbox for the rest of a test; servers started in this process are in it, too. */
export async function sandbox(): Promise<Sandbox> {
  const before = process.env.TMPDIR
  const folder = await mkdtemp(join(tmpdir(), 'sayiir-test-'))
  // PostgreSQL's user has to reach its data.
  await chmod(folder, 0o711)
  process.env.TMPDIR = folder
  onTestFinished(async () => {
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
    await rm(folder, { recursive: true, force: true })
  })
  return new Sandbox(folder)
}

/** Tells whether anything accepts connections at a URL's address. */
export function listens(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const socket = createConnection({ host: hostname, port: Number(port) })
  return new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  }).finally(() => socket.destroy())
}
