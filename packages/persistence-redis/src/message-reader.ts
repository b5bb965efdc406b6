const FALSE = 0xc2
const TRUE = 0xc3

/**
 * Reads a MessagePack value that a script packed, in the order in which it was: one value of a reply
 * costs the driver far less than many.
 */
export class MessageReader {
  readonly #buffer: Buffer
  readonly #large: readonly Buffer[]
  #at = 0

  /** @param large Payloads that have numbers in it, from 1, in their place. */
  constructor(buffer: Buffer, large: readonly Buffer[] = []) {
    this.#buffer = buffer
    this.#large = large
  }

  /** Goes into an array; its length. */
  array(): number {
    const type = this.#byte()
    if (type >> 4 === 0x9) return type & 0xf
    if (type === 0xdc) return this.#unsigned(2)
    if (type === 0xdd) return this.#unsigned(4)
    throw unexpected(type)
  }

  number(): number {
    const type = this.#byte()
    if (type < 0x80) return type
    switch (type) {
      case 0xcc:
        return this.#unsigned(1)
      case 0xcd:
        return this.#unsigned(2)
      case 0xce:
        return this.#unsigned(4)
      case 0xcf:
        return this.#unsigned(4) * 2 ** 32 + this.#unsigned(4)
      case 0xd2:
        return this.#unsigned(4)
      // Lua has whole numbers as 64 bits with a sign; none of ours is less than 0.
      case 0xd3:
        return this.#unsigned(4) * 2 ** 32 + this.#unsigned(4)
      default:
        throw unexpected(type)
    }
  }

  boolean(): boolean {
    const type = this.#byte()
    if (type === TRUE) return true
    if (type === FALSE) return false
    throw unexpected(type)
  }

  text(): string {
    const length = this.#header()
    const from = this.#at
    this.#at += length
    return this.#buffer.toString('utf8', from, this.#at)
  }

  /** Bytes on their own, not a view of what came over the wire; null where there is `false`. */
  bytes(): Uint8Array | null {
    const view = this.view()
    return view === null ? null : new Uint8Array(view)
  }

  /** Bytes as they came, to be read at once; null where there is `false`. */
  view(): Buffer | null {
    if (this.isFalse()) return null
    if (this.isNumber) {
      const large = this.#large[this.number() - 1]
      if (large === undefined) throw new TypeError('a reply is without a payload')
      return large
    }
    const length = this.#header()
    const from = this.#at
    this.#at += length
    return this.#buffer.subarray(from, this.#at)
  }

  /** Whether the next value is `false`, which is then passed over. */
  isFalse(): boolean {
    if (this.#buffer[this.#at] !== FALSE) return false
    this.#at += 1
    return true
  }

  /** Whether the next value is a number. */
  get isNumber(): boolean {
    const type = this.#buffer[this.#at] ?? FALSE
    return type < 0x80 || (type >= 0xcc && type <= 0xd3)
  }

  #header(): number {
    const type = this.#byte()
    if (type >> 5 === 0x5) return type & 0x1f
    if (type === 0xd9) return this.#unsigned(1)
    if (type === 0xda) return this.#unsigned(2)
    if (type === 0xdb) return this.#unsigned(4)
    throw unexpected(type)
  }

  #byte(): number {
    const byte = this.#buffer[this.#at]
    if (byte === undefined) throw new TypeError('a reply is cut off')
    this.#at += 1
    return byte
  }

  #unsigned(bytes: number): number {
    let value = 0
    for (let index = 0; index < bytes; index += 1) value = value * 256 + this.#byte()
    return value
  }
}

function unexpected(type: number): TypeError {
  return new TypeError(`a reply has a value of type ${type} where none is expected`)
}
