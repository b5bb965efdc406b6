/** Characters that a length begins with: see {@link headerOf}. */
const SHORT = 256
/** Bytes of 0x80 and above in UTF-8 are two. */
const ASCII = 0x80

/** What the values up to `SHORT` bytes begin with: type and length. */
const HEADERS: readonly string[] = Array.from({ length: SHORT }, (_, length) =>
  bytesOf(0xd9, length),
)
/** Small whole numbers. */
const SMALL: readonly string[] = Array.from({ length: ASCII }, (_, value) => bytesOf(value))

/** Bytes up to which a payload goes with the others; Lua hashes all that it is given, and again what it takes out of it. */
const LARGE = 512

/** What was written. */
export interface Message {
  /** Bytes, each a character. */
  readonly bytes: string
  /** Places in it, from 1, and what is to be there: large payloads. */
  readonly apart: readonly (number | Uint8Array)[]
}

/** What was written, and the keys that it refers to. */
export interface Packed {
  readonly keys: readonly string[]
  readonly message: Message
}

/** Writes arguments; `write` gives the keys, and may be called again. */
export function pack(write: (args: ArgumentWriter) => readonly string[]): Packed {
  // Most are of ASCII alone. That is found out in one go: to look at each costs as much as to write it.
  const args = new ArgumentWriter(false)
  const keys = write(args)
  const message = args.finish()
  if (message !== null) return { keys, message }
  const again = new ArgumentWriter(true)
  return { keys: write(again), message: again.finish() ?? { bytes: '', apart: [] } }
}

/**
 * Many arguments as one, a MessagePack array, which Lua takes apart by one call: as arguments of
 * their own they would cost the driver and the server several times as much each. It is put together
 * as a string, each character a byte: JavaScript is several times faster at that than at bytes.
 */
export class ArgumentWriter {
  readonly #encodes: boolean
  #bytes = ''
  #count = 0
  /** Bytes so far that are not of ASCII, if all texts are. */
  #high = 0
  readonly #apart: (number | Uint8Array)[] = []

  /** @param encodes Whether texts may have other characters than those of ASCII. */
  constructor(encodes: boolean) {
    this.#encodes = encodes
  }

  /** Adds texts, numbers as decimal text. */
  push(...values: readonly (string | number)[]): void {
    for (const value of values) this.text(typeof value === 'string' ? value : `${value}`)
  }

  /** Adds a text. */
  text(value: string): void {
    this.#string(this.#encodes ? Buffer.from(value).toString('latin1') : value)
  }

  /** Adds a whole number from 0 to 65,535, which Lua reads as a number. */
  small(value: number): void {
    this.#count += 1
    if (value < ASCII) this.#bytes += SMALL[value] as string
    else this.#raw(bytesOf(0xcd, value >>> 8, value & 0xff))
  }

  /** Adds a whole number, 0 or more, which Lua reads as a number. */
  whole(value: number): void {
    this.#count += 1
    this.#raw(`\xcf${fourBytes(Math.floor(value / 2 ** 32))}${fourBytes(value)}`)
  }

  /** Adds bytes. Large ones must stay as they are until the reply has come. */
  bytes(value: Uint8Array): void {
    if (value.byteLength > LARGE) {
      this.#string('')
      this.#apart.push(this.#count, value)
      return
    }
    const text = latin1Of(value)
    this.#string(text)
    this.#high += highOf(text)
  }

  /** Adds a text and the bytes that follow it, as one. */
  textAndBytes(text: string, value: Uint8Array): void {
    const start = this.#encodes ? Buffer.from(text).toString('latin1') : text
    const rest = latin1Of(value)
    this.#string(start + rest)
    this.#high += highOf(rest)
  }

  /** What was written; null where a text was of other characters than those of ASCII, which must be encoded. */
  finish(): Message | null {
    const bytes = this.#bytes
    if (!this.#encodes && highOf(bytes) !== this.#high) return null
    return { bytes: `\xdd${fourBytes(this.#count)}${bytes}`, apart: this.#apart }
  }

  #string(value: string): void {
    const { length } = value
    this.#count += 1
    if (length < SHORT) {
      this.#bytes += (HEADERS[length] as string) + value
      this.#high += length < ASCII ? 1 : 2
    } else {
      this.#raw(`\xdb${fourBytes(length)}`)
      this.#bytes += value
    }
  }

  #raw(bytes: string): void {
    this.#bytes += bytes
    this.#high += highOf(bytes)
  }
}

/** Bytes, each a character. */
export function latin1Of({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('latin1')
}

/** How many of these bytes are not of ASCII; of other characters a larger number than they are. */
function highOf(bytes: string): number {
  return Buffer.byteLength(bytes) - bytes.length
}

function fourBytes(value: number): string {
  return bytesOf((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
}

function bytesOf(...bytes: readonly number[]): string {
  return String.fromCharCode(...bytes)
}
