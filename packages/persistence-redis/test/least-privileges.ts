import { readFileSync } from 'node:fs'
import { observer } from './keys.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

/** A user that may do what the README says, and nothing else. */
export interface User {
  readonly username: string
  readonly password: string
}

/** Makes one on every server, for keys and channels of a pattern. */
export async function makeUser(urls: readonly string[], pattern: string): Promise<User> {
  const user = { username: `user-${process.pid}-${Date.now()}`, password: 'secret' }
  const [, rights = ''] = /ACL SETUSER .* (-@all [^`]*)/.exec(readme) ?? []
  const [, inCluster = ''] = /In a cluster also `([^`]*)`/.exec(readme) ?? []
  const commands = `${rights} ${urls.length > 1 ? inCluster : ''}`.split(/\s+/).filter(Boolean)
  const who = ['ACL', 'SETUSER', user.username, 'on', `>${user.password}`] as const
  for (const url of urls) {
    await observer(url).call(...who, `~${pattern}`, `&${pattern}`, ...commands)
  }
  return user
}

export async function dropUser(urls: readonly string[], { username }: User): Promise<void> {
  for (const url of urls) await observer(url).call('ACL', 'DELUSER', username)
}

/** The address of a server with a user in it. */
export function withUser(url: string, { username, password }: User): string {
  return url.replace('redis://', `redis://${username}:${password}@`)
}
