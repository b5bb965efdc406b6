/** Bytes of the buffer that a writer begins with. */
const INITIAL_BYTES: number = 16 * 1024
/** Characters up to which a string is written one by one: a call into native code costs more. */
const SHORT = 40

/**
 * Many arguments as one, a MessagePack array of strings, which Lua takes apart by one call: as
 * arguments of their own they would cost the driver and the server several times as much each.
 */
export class ArgumentWriter {
  #buffer = Buffer.allocUnsafe(INITIAL_BYTES)
  #end = 5
  #count = 0

  /** Adds texts, numbers as decimal text. */
  push(...values: readonly (string | number)[]): void {
    for (const value of values) this.text(typeof value === 'string' ? value : String(value))
  }

  text(value: string): void {
    const { length } = value
    this.#count += 1
    this.#reserve(length * 3 + 5)
    const buffer = this.#buffer
    if (length < SHORT) {
      const start = this.#end
      // Fewer than 256 bytes: one for the length.
      let at = start + 2
      for (let index = 0; index < length; index += 1) {
        const code = value.charCodeAt(index)
        if (code > 0x7f) {
          at = start + 2 + buffer.write(value, start + 2, 'utf8')
          break
        }
        buffer[at] = code
        at += 1
      }
      buffer[start] = 0xd9
      buffer[start + 1] = at - start - 2
      this.#end = at
      return
    }
    const written = buffer.write(value, this.#end + 5, 'utf8')
    this.#header(written)
    this.#end += written
  }

  bytes(value: Uint8Array): void {
    const { length } = value
    this.#count += 1
    this.#reserve(length + 5)
    this.#header(length)
    this.#buffer.set(value, this.#end)
    this.#end += length
  }

  /** A place for a number that is not known yet; see {@link ArgumentWriter.fill}. */
  hole(): number {
    this.push('0000')
    return this.#end - 4
  }

  /** Writes a number of at most four digits into a hole. */
  fill(hole: number, value: number): void {
    this.#buffer.write(String(value).padStart(4, '0'), hole, 'latin1')
  }

  /** What was written, on its own. */
  finish(): Buffer {
    this.#buffer[0] = 0xdd
    this.#buffer.writeUInt32BE(this.#count, 1)
    return this.#buffer.subarray(0, this.#end)
  }

  #header(length: number): void {
    this.#buffer[this.#end] = 0xdb
    this.#buffer.writeUInt32BE(length, this.#end + 1)
    this.#end += 5
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes
    if (needed <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2))
    this.#buffer.copy(larger, 0, 0, this.#end)
    this.#buffer = larger
  }
}
