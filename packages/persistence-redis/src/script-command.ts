import { Command } from 'ioredis'
import type { Argument } from './connection.ts'
import type { Shard } from './layout.ts'
import type { Script } from './scripts.ts'
import { wireText } from './wire.ts'

/**
 * Runs a script on a shard. The same as `evalsha`, but that its bytes are put together at once: the
 * driver looks at each of the many keys several times for each call.
 */
export class ScriptCommand extends Command {
  readonly #bytes: Buffer
  readonly #args: readonly Argument[]
  /** Where the bytes among the arguments begin. */
  readonly #starts: readonly number[]

  /**
   * Bytes among the arguments are copied.
   *
   * @param keys Of the shard, then others.
   */
  constructor({ sha }: Script, shard: Shard, keys: readonly string[], args: readonly Argument[]) {
    super('evalsha', [sha], { replyEncoding: null })
    this.#args = args
    const count = `${keys.length}`
    let text = `*${3 + keys.length + args.length}\r\n$7\r\nevalsha\r\n$40\r\n${sha}\r\n`
    text += `$${count.length}\r\n${count}\r\n${shard.wire}`
    for (let index = shard.keys.length; index < keys.length; index += 1) {
      text += wireText(keys[index] as string)
    }
    const parts: (string | Buffer)[] = []
    for (const arg of args) {
      if (typeof arg === 'object') {
        parts.push(`${text}$${arg.length}\r\n`, arg)
        text = '\r\n'
      } else text += wireText(`${arg}`)
    }
    parts.push(text)
    const { bytes, starts } = join(parts)
    this.#bytes = bytes
    this.#starts = starts
  }

  override toWritable(): Buffer {
    return this.#bytes
  }

  /** The arguments, with bytes of its own. */
  ownArguments(): Argument[] {
    let count = 0
    return this.#args.map((arg) => {
      if (typeof arg !== 'object') return arg
      const start = this.#starts[count] ?? 0
      count += 1
      return this.#bytes.subarray(start, start + arg.length)
    })
  }
}

function join(parts: readonly (string | Buffer)[]): { bytes: Buffer; starts: number[] } {
  let length = 0
  for (const part of parts)
    length += typeof part === 'string' ? Buffer.byteLength(part) : part.length
  const bytes = Buffer.allocUnsafe(length)
  let end = 0
  const starts: number[] = []
  for (const part of parts) {
    if (typeof part === 'string') end += bytes.write(part, end)
    else {
      starts.push(end)
      bytes.set(part, end)
      end += part.length
    }
  }
  return { bytes, starts }
}
