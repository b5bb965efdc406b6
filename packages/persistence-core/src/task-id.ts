import { createHash } from 'node:crypto'

/**
 * The task id that Sayiir's own engine gives to a task of this name: SHA-256 of the name's UTF-8, in
 * lower-case hex. Here any id will do; this one is for instances that move between the two.
 *
 * @throws `TypeError` for a name that is no well-formed string.
 *
 * @example
 * ```ts
 * import { taskIdFromName } from '@sayiir/persistence-core'
 *
 * taskIdFromName('prep') // 'b10b18f906fcd1ca87847667a5011cd5974171625d4173caf48507d49d5d68ee'
 * ```
 */
export function taskIdFromName(name: string): string {
  if (typeof name !== 'string' || !name.isWellFormed()) {
    throw new TypeError('a task name must be a well-formed string')
  }
  return createHash('sha256').update(name, 'utf8').digest('hex')
}
