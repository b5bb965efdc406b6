import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findCommand } from '../command.ts'
import { installDebianPackage, libraryPath } from '../debian.ts'
import { freePort } from '../free-port.ts'
import { identify } from '../identify.ts'
import { reachable, serverFolder, serverUid } from '../root.ts'
import type { ProcessServer, StartContext } from '../running-server.ts'
import { postgresPackage } from './postgres.ts'

/** PgBouncer in transaction mode, with a PostgreSQL of its own behind it. */
export async function pgbouncerPackage(context: StartContext): Promise<ProcessServer> {
  const program = await pgbouncerProgram(context)
  const postgres = await postgresPackage('current', context)
  const { username, password, port: serverPort } = new URL(postgres.url)
  const port = await freePort()
  const url = `postgres://${username}:${password}@127.0.0.1:${port}/postgres`
  const folder = await serverFolder(context.folder, 'pgbouncer')
  const users = join(folder, 'users.txt')
  const config = join(folder, 'pgbouncer.ini')
  const server = `host=127.0.0.1 port=${serverPort}`
  await writeFile(users, usersFile(username, password), { mode: 0o644 })
  await writeFile(config, configFile({ server, listen: '127.0.0.1', port, users }), { mode: 0o644 })
  return {
    url,
    directUrl: postgres.url,
    source: `${program.source}, ${postgres.source}`,
    processes: [
      ...postgres.processes,
      {
        command: program.command,
        args: [config],
        env: program.env,
        ...(serverUid === undefined ? {} : { uid: serverUid }),
        // In version 1.18 SIGTERM ends it at once and SIGINT waits for its clients.
        stopSignal: 'SIGTERM',
        log: join(context.folder, 'pgbouncer.log'),
        ready: async () => void (await identify('pgbouncer', url)),
      },
    ],
    cleanUp: async () => postgres.cleanUp?.(),
  }
}

export interface PgBouncerConfig {
  /** The server's part of a connection string. */
  readonly server: string
  readonly listen: string
  readonly port: number
  readonly users: string
}

export function configFile({ server, listen, port, users }: PgBouncerConfig): string {
  return [
    '[databases]',
    `* = ${server}`,
    '[pgbouncer]',
    `listen_addr = ${listen}`,
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = scram-sha-256',
    `auth_file = ${users}`,
    'admin_users = postgres',
    'pool_mode = transaction',
    'max_client_conn = 500',
    // Few, so that a client soon meets another server connection than before.
    'default_pool_size = 10',
    'ignore_startup_parameters = extra_float_digits',
    '',
  ].join('\n')
}

export function usersFile(username: string, password: string): string {
  return `"${username}" "${password}"\n`
}

async function pgbouncerProgram(context: StartContext) {
  const command = await findCommand('pgbouncer')
  if (command !== null) return { command, env: {}, source: command }
  const { root, source } = await installDebianPackage('pgbouncer', context.say)
  const own = await reachable(root, context.folder, 'pgbouncer-programs')
  const env = { LD_LIBRARY_PATH: await libraryPath(own) }
  return { command: join(own, 'usr/sbin/pgbouncer'), env, source }
}
