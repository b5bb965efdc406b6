/** Bytes of the buffer that a writer begins with. */
const INITIAL_BYTES: number = 32 * 1024
/** Bytes of a buffer that is used again at most. */
const KEPT_BYTES: number = 1024 * 1024
/** Characters up to which a string is written one by one: a call into native code costs more. */
const SHORT = 24
/** Digits of a safe integer. */
const MAX_DIGITS = 16
const MILLION = 1_000_000

/**
 * Many arguments as one, a MessagePack array of strings, which Lua takes apart by one call: as
 * arguments of their own they would cost the driver and the server several times as much each.
 */
export class ArgumentWriter {
  #buffer = Buffer.allocUnsafe(INITIAL_BYTES)
  #end = 5
  #count = 0

  /** Begins a new array, in place of the one before. */
  start(): void {
    this.#end = 5
    this.#count = 0
    // One that was very large is not kept for ever.
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = Buffer.allocUnsafe(INITIAL_BYTES)
  }

  /** Adds texts, numbers as decimal text. */
  push(...values: readonly (string | number)[]): void {
    for (const value of values) this.text(typeof value === 'string' ? value : String(value))
  }

  /** Adds a whole number, 0 or more, as decimal text. */
  number(value: number): void {
    this.#reserve(MAX_DIGITS + 2)
    const start = this.#end
    this.#count += 1
    this.#end = start + 2
    this.#decimal(value)
    this.#buffer[start] = 0xd9
    this.#buffer[start + 1] = this.#end - start - 2
  }

  text(value: string): void {
    const { length } = value
    this.#count += 1
    this.#reserve(length * 3 + 5)
    const buffer = this.#buffer
    const start = this.#end
    if (length < SHORT && this.#ascii(value, start + 2, length)) {
      buffer[start] = 0xd9
      buffer[start + 1] = length
      this.#end = start + 2 + length
      return
    }
    const written = buffer.write(value, start + 5)
    this.#header(start, written)
    this.#end = start + 5 + written
  }

  /** Adds two texts with a zero byte between them, as one. */
  pair(first: string, second: string): void {
    const length = first.length + 1 + second.length
    if (length < SHORT) {
      this.#reserve(length + 2)
      const buffer = this.#buffer
      const from = this.#end + 2
      const zero = from + first.length
      if (this.#ascii(first, from, first.length) && this.#ascii(second, zero + 1, second.length)) {
        buffer[this.#end] = 0xd9
        buffer[this.#end + 1] = length
        buffer[zero] = 0
        this.#count += 1
        this.#end = from + length
        return
      }
    }
    this.text(`${first}\0${second}`)
  }

  /** Adds a whole number from 0 to 65,535, which Lua reads as a number. */
  small(value: number): void {
    this.#reserve(3)
    this.#count += 1
    if (value >= 0x80) {
      this.#buffer[this.#end] = 0xcd
      this.#buffer[this.#end + 1] = value >>> 8
      this.#end += 2
    }
    this.#buffer[this.#end] = value
    this.#end += 1
  }

  /** Adds a whole number, 0 or more, which Lua reads as a number. */
  whole(value: number): void {
    this.#reserve(9)
    this.#count += 1
    this.#buffer[this.#end] = 0xcf
    this.#buffer.writeUInt32BE(Math.floor(value / 2 ** 32), this.#end + 1)
    this.#buffer.writeUInt32BE(value >>> 0, this.#end + 5)
    this.#end += 9
  }

  bytes(value: Uint8Array): void {
    const { length } = value
    this.#count += 1
    this.#reserve(length + 5)
    this.#header(this.#end, length)
    this.#end += 5
    const buffer = this.#buffer
    if (length < SHORT) {
      for (let index = 0; index < length; index += 1) buffer[this.#end + index] = value[index] ?? 0
    } else buffer.set(value, this.#end)
    this.#end += length
  }

  #decimal(value: number): void {
    this.#reserve(MAX_DIGITS)
    if (value >= MILLION) {
      const high = Math.floor(value / MILLION)
      this.#decimal(high)
      this.#digits(value - high * MILLION, 6)
      return
    }
    let width = 1
    for (let limit = 10; value >= limit; limit *= 10) width += 1
    this.#digits(value, width)
  }

  /** A place for a number that is not known yet; see {@link ArgumentWriter.fill}. */
  hole(): number {
    this.text('0000')
    return this.#end - 4
  }

  /** Writes a number of at most four digits into a hole. */
  fill(hole: number, value: number): void {
    this.#buffer.write(String(value).padStart(4, '0'), hole, 'latin1')
  }

  /** What was written, until the next is begun. */
  finish(): Buffer {
    this.#header(0, this.#count)
    this.#buffer[0] = 0xdd
    return this.#buffer.subarray(0, this.#end)
  }

  #digits(value: number, width: number): void {
    const buffer = this.#buffer
    let rest = value | 0
    for (let at = this.#end + width - 1; at >= this.#end; at -= 1) {
      const next = (rest / 10) | 0
      buffer[at] = 48 + rest - next * 10
      rest = next
    }
    this.#end += width
  }

  /** Writes characters one by one; whether all of them are of one byte. */
  #ascii(value: string, from: number, length: number): boolean {
    const buffer = this.#buffer
    for (let index = 0; index < length; index += 1) {
      const code = value.charCodeAt(index)
      if (code > 0x7f) return false
      buffer[from + index] = code
    }
    return true
  }

  /** Length and type of a string. */
  #header(at: number, length: number): void {
    const buffer = this.#buffer
    buffer[at] = 0xdb
    buffer[at + 1] = length >>> 24
    buffer[at + 2] = length >>> 16
    buffer[at + 3] = length >>> 8
    buffer[at + 4] = length
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes
    if (needed <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2))
    this.#buffer.copy(larger, 0, 0, this.#end)
    this.#buffer = larger
  }
}
