import { isUtf8 } from 'node:buffer'
import { BackendError, quote } from './errors.ts'

/** A number that is no safe integer as it is written: with a fraction or an exponent, `-0`, or too large. */
export class JsonNumber {
  /** The nearest number; infinite if there is none. */
  readonly value: number

  constructor(value: number) {
    this.value = value
  }
}

/** A tree of JSON. What is a `number` in it was written as an integer and is exactly that. */
export type JsonValue = null | boolean | number | string | JsonNumber | JsonArray | JsonObject
/** An array; a long one of integers from 0 to 255 comes as bytes. */
export type JsonArray = readonly JsonValue[] | Uint8Array
/** An object in the order of its text: a `Map`, because an object would sort `"2"` and mistake `"__proto__"`. */
export type JsonObject = ReadonlyMap<string, JsonValue>

/** Levels of nesting at most: as many as serde_json allows. */
const MAX_DEPTH = 128
/**
 * Numbers that an array must have to be packed into bytes. A typed array costs some 200 bytes of
 * memory however short it is, so packing the short ones would only help who sends a million of them.
 */
const MIN_PACKED = 32

const QUOTE = 0x22
const COMMA = 0x2c
const MINUS = 0x2d
const PLUS = 0x2b
const DOT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

const isDigit = (byte: number | undefined): boolean =>
  byte !== undefined && byte >= ZERO && byte <= NINE
const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

/**
 * Reads one JSON text in UTF-8, in time and memory linear in its length. Stricter than `JSON.parse`:
 * duplicate keys, lone surrogates and more than 128 levels of nesting are refused.
 *
 * @throws `SERIALIZATION`, with the byte at which it went wrong.
 */
export function parseJson(bytes: Uint8Array): JsonValue {
  return new Parser(bytes).parse()
}

class Parser {
  readonly #bytes: Uint8Array
  readonly #buffer: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  parse(): JsonValue {
    // Checked once for all, so that strings can be cut out with a decoder that does not check.
    if (!isUtf8(this.#bytes)) this.#fail('not UTF-8')
    const value = this.#value(0)
    if (this.#next() !== undefined) this.#fail('something follows the end')
    return value
  }

  /** The next byte that is no white space, still to be read. */
  #next(): number | undefined {
    while (isSpace(this.#bytes[this.#at])) this.#at += 1
    return this.#bytes[this.#at]
  }

  #value(depth: number): JsonValue {
    const byte = this.#next()
    switch (byte) {
      case OPEN_OBJECT:
        return this.#object(this.#deeper(depth))
      case OPEN_ARRAY:
        return this.#packed() ?? this.#array(this.#deeper(depth))
      case QUOTE:
        return this.#string()
      case 0x6e:
        return this.#literal('null', null)
      case 0x74:
        return this.#literal('true', true)
      case 0x66:
        return this.#literal('false', false)
      default:
        if (byte === MINUS || isDigit(byte)) return this.#number()
        return this.#fail(byte === undefined ? 'it ends too early' : 'a value is missing')
    }
  }

  #deeper(depth: number): number {
    if (depth === MAX_DEPTH) this.#fail(`nested deeper than ${MAX_DEPTH} levels`)
    return depth + 1
  }

  #object(depth: number): JsonObject {
    const object = new Map<string, JsonValue>()
    this.#at += 1
    if (this.#next() === CLOSE_OBJECT) {
      this.#at += 1
      return object
    }
    for (;;) {
      if (this.#next() !== QUOTE) this.#fail('a key is missing')
      const start = this.#at
      const key = this.#string()
      if (object.has(key)) {
        this.#at = start
        this.#fail(`the key ${quote(key)} is there twice`)
      }
      if (this.#next() !== COLON) this.#fail("a ':' is missing")
      this.#at += 1
      object.set(key, this.#value(depth))
      const byte = this.#next()
      if (byte !== COMMA && byte !== CLOSE_OBJECT) this.#fail("a ',' or '}' is missing")
      this.#at += 1
      if (byte === CLOSE_OBJECT) return object
    }
  }

  #array(depth: number): JsonArray {
    const array: JsonValue[] = []
    this.#at += 1
    if (this.#next() === CLOSE_ARRAY) {
      this.#at += 1
      return array
    }
    for (;;) {
      array.push(this.#value(depth))
      const byte = this.#next()
      if (byte !== COMMA && byte !== CLOSE_ARRAY) this.#fail("a ',' or ']' is missing")
      this.#at += 1
      if (byte === CLOSE_ARRAY) return array
    }
  }

  /**
   * The array here as bytes, or undefined, with nothing read, if it is short or not one of integers
   * from 0 to 255. Payloads are such arrays: this reads 1 MiB of them in about an eighth of the
   * time that one value after the other takes. What it looks at in vain has no array inside, so that no
   * byte is ever looked at more than three times.
   */
  #packed(): Uint8Array | undefined {
    const bytes = this.#bytes
    let at = this.#at + 1
    let commas = 0
    while (isDigit(bytes[at]) || bytes[at] === COMMA || isSpace(bytes[at])) {
      if (bytes[at] === COMMA) commas += 1
      at += 1
    }
    if (bytes[at] !== CLOSE_ARRAY || commas + 1 < MIN_PACKED) return undefined
    const packed = new Uint8Array(commas + 1)
    at = this.#at
    for (let index = 0; index <= commas; index += 1) {
      // Steps over the bracket or the comma before the number.
      do at += 1
      while (isSpace(bytes[at]))
      const start = at
      let value = 0
      for (; isDigit(bytes[at]); at += 1) value = value * 10 + (bytes[at] as number) - ZERO
      const digits = at - start
      if (digits === 0 || value > 255 || (digits > 1 && bytes[start] === ZERO)) return undefined
      packed[index] = value
      while (isSpace(bytes[at])) at += 1
      if (bytes[at] !== (index < commas ? COMMA : CLOSE_ARRAY)) return undefined
    }
    this.#at = at + 1
    return packed
  }

  #string(): string {
    const bytes = this.#bytes
    const start = this.#at + 1
    let at = start
    let escaped = false
    for (;;) {
      const byte = bytes[at]
      if (byte === QUOTE) break
      if (byte === undefined || byte < 0x20) {
        this.#at = at
        this.#fail(byte === undefined ? 'a string does not end' : 'a control character in a string')
      }
      if (byte === BACKSLASH) {
        escaped = true
        at += 1
      }
      at += 1
    }
    const text = this.#buffer.toString('utf8', start, at)
    const value = escaped ? this.#unescape(text) : text
    this.#at = at + 1
    return value
  }

  #unescape(text: string): string {
    let value: string
    try {
      value = JSON.parse(`"${text}"`) as string
    } catch {
      return this.#fail('a bad escape in a string')
    }
    return value.isWellFormed() ? value : this.#fail('a lone surrogate in a string')
  }

  #number(): number | JsonNumber {
    const bytes = this.#bytes
    const start = this.#at
    const negative = bytes[start] === MINUS
    if (negative) this.#at += 1
    const first = this.#at
    const size = this.#digits()
    if (size > 1 && bytes[first] === ZERO) this.#fail('a number starts with 0')
    let whole = true
    if (bytes[this.#at] === DOT) {
      whole = false
      this.#at += 1
      this.#digits()
    }
    const exponent = bytes[this.#at]
    if (exponent === 0x65 || exponent === 0x45) {
      whole = false
      this.#at += 1
      const sign = bytes[this.#at]
      if (sign === PLUS || sign === MINUS) this.#at += 1
      this.#digits()
    }
    const value = Number(this.#buffer.toString('latin1', start, this.#at))
    return whole && Number.isSafeInteger(value) && !Object.is(value, -0)
      ? value
      : new JsonNumber(value)
  }

  /** Steps over digits, of which there must be one. */
  #digits(): number {
    const start = this.#at
    while (isDigit(this.#bytes[this.#at])) this.#at += 1
    if (this.#at === start) this.#fail('a digit is missing')
    return this.#at - start
  }

  #literal<T extends null | boolean>(word: string, value: T): T {
    const end = this.#at + word.length
    if (this.#buffer.toString('latin1', this.#at, end) !== word) this.#fail('a value is missing')
    this.#at = end
    return value
  }

  #fail(what: string): never {
    throw new BackendError('SERIALIZATION', `malformed JSON at byte ${this.#at}: ${what}`)
  }
}
