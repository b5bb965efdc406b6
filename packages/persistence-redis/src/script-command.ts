import { Command } from 'ioredis'
import type { Message } from './argument-writer.ts'
import type { Argument } from './connection.ts'
import type { Shard } from './layout.ts'
import type { Script } from './scripts.ts'
import { wireText } from './wire.ts'

const END: Buffer = Buffer.from('\r\n')

/**
 * Runs a script on a shard. The same as `evalsha`, but that its bytes are put together at once: the
 * driver looks at each of the many keys several times for each call.
 */
export class ScriptCommand extends Command {
  readonly #bytes: Buffer

  /**
   * @param keys Of the shard, then others.
   * @param message The last arguments, or null.
   */
  constructor(
    { sha }: Script,
    shard: Shard,
    keys: readonly string[],
    args: readonly Argument[],
    message: Message | null,
  ) {
    super('evalsha', [sha], { replyEncoding: null })
    const count = `${keys.length}`
    const length = 3 + keys.length + args.length + (message === null ? 0 : 1 + message.apart.length)
    let text = `*${length}\r\n$7\r\nevalsha\r\n$40\r\n${sha}\r\n`
    text += `$${count.length}\r\n${count}\r\n${shard.wire}`
    for (let index = shard.keys.length; index < keys.length; index += 1) {
      text += wireText(keys[index] as string)
    }
    for (const arg of args) text += wireText(`${arg}`)
    if (message === null) this.#bytes = Buffer.from(text)
    else {
      text += `$${message.bytes.length}\r\n`
      // Texts may have other characters than those of ASCII, which a byte each is not enough for.
      const isAscii = Buffer.byteLength(text) === text.length
      const start = isAscii ? text : Buffer.from(text).toString('latin1')
      const whole = Buffer.from(`${start}${message.bytes}\r\n`, 'latin1')
      this.#bytes = message.apart.length === 0 ? whole : withPayloads(whole, message.apart)
    }
  }

  override toWritable(): Buffer {
    return this.#bytes
  }
}

function withPayloads(start: Buffer, apart: Message['apart']): Buffer {
  const parts: Uint8Array[] = [start]
  for (const one of apart) {
    if (typeof one === 'number') parts.push(Buffer.from(wireText(`${one}`)))
    else parts.push(Buffer.from(`$${one.byteLength}\r\n`), one, END)
  }
  return Buffer.concat(parts)
}
