const encoder = new TextEncoder()

const ZERO = 0x30
const COMMA = 0x2c

/** Collects a JSON text as UTF-8, in one buffer that grows: a payload is four times as long as JSON. */
export class EnvelopeOutput {
  #buffer: Uint8Array
  #length: number
  /** What is not yet in the buffer, because many short pieces are encoded faster as one. */
  #text = ''

  constructor(header: Uint8Array) {
    this.#buffer = new Uint8Array(1024)
    this.#buffer.set(header)
    this.#length = header.length
  }

  text(text: string): void {
    this.#text += text
  }

  /** A JSON array of numbers. */
  bytes(payload: Uint8Array): void {
    this.#text += '['
    this.#flush()
    this.#reserve(payload.length * 4)
    const buffer = this.#buffer
    let at = this.#length
    for (let index = 0; index < payload.length; index += 1) {
      const byte = payload[index] as number
      if (index > 0) buffer[at++] = COMMA
      if (byte > 99) buffer[at++] = ZERO + Math.floor(byte / 100)
      if (byte > 9) buffer[at++] = ZERO + (Math.floor(byte / 10) % 10)
      buffer[at++] = ZERO + (byte % 10)
    }
    this.#length = at
    this.#text = ']'
  }

  /** An object with one field an entry, in their order. */
  map<T>(entries: ReadonlyMap<string, T>, write: (value: T) => void): void {
    let before = '{'
    for (const [key, value] of entries) {
      this.text(`${before}${JSON.stringify(key)}:`)
      write(value)
      before = ','
    }
    this.text(entries.size === 0 ? '{}' : '}')
  }

  finish(): Uint8Array {
    this.#flush()
    return this.#buffer.slice(0, this.#length)
  }

  #flush(): void {
    // A code unit takes three bytes at most.
    this.#reserve(this.#text.length * 3)
    this.#length += encoder.encodeInto(this.#text, this.#buffer.subarray(this.#length)).written
    this.#text = ''
  }

  #reserve(more: number): void {
    const needed = this.#length + more
    if (needed <= this.#buffer.length) return
    const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
  }
}
