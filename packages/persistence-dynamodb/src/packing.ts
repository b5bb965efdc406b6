import type { AttributeValue } from '@aws-sdk/client-dynamodb'
import { BackendError } from '@sayiir/persistence-core'
import type { Attributes } from './expressions.ts'

/** The attribute that holds the others. Who reads less than whole items wants it, and the next one. */
export const PACKED = 'i'
/** The one that holds the whole item, and stands in the index `work`. */
export const WHOLE = 'o'
/** The item's place in that index: its entries have that anyway. */
const PLACE: ReadonlySet<string> = new Set(['wp', 'ws'])
/** No UTF-8 has this byte: the bytes of attributes that are no text come behind it. */
const PARTS = 0xff
/** What conditions, indexes, filters or the service itself look at: these stand for themselves. */
const APART: ReadonlySet<string> = new Set(['p', 's', 'w', 'z', 'ttl', 'wp', 'ws'])
/** Characters of a text from which on it stands for itself, so that an update need not send it again. */
const LONG_TEXT = 1024
/** Between two attributes: no id and no JSON has this character. */
const END = '\0'

/**
 * Attributes as they are stored: the many short ones that only this package reads are one text, since
 * the service takes its time over each attribute, and more than over its bytes.
 */
export function pack(attributes: Attributes): Attributes {
  const stored: Record<string, AttributeValue> = {}
  let packed = ''
  for (const name in attributes) {
    const value = attributes[name] as AttributeValue
    const text = APART.has(name) ? null : textOf(value)
    if (text === null) stored[name] = value
    else packed += `${name}=${text}${END}`
  }
  if (packed !== '') stored[PACKED] = { S: packed }
  return stored
}

/**
 * Attributes as they are stored where the whole of them is to stand in the index as well: what waits for
 * a worker, so that a look for work need not read it. Null: it is too large, and `pack` must do.
 *
 * @param room Bytes that there are beside the item's own key: an index entry has that, and this.
 */
export function packWhole(attributes: Attributes, room: number): Attributes | null {
  const texts: string[] = []
  const parts: Uint8Array[] = []
  const stored: Record<string, AttributeValue> = {}
  for (const name in attributes) {
    const value = attributes[name] as AttributeValue
    if (APART.has(name)) stored[name] = value
    if (PLACE.has(name)) continue
    if (value.B !== undefined) {
      parts.push(value.B)
      texts.push(`${name}=B${value.B.byteLength.toString(36)}${END}`)
      continue
    }
    const text = textOf(value)
    if (text === null) return null
    texts.push(`${name}=${text}${END}`)
  }
  const packed = Buffer.concat([Buffer.from(texts.join('')), Uint8Array.of(PARTS), ...parts])
  stored[WHOLE] = { B: packed }
  return sizeOf(stored) <= room ? stored : null
}

/** Attributes as they were before they were stored. */
export function unpack(stored: Attributes): Attributes {
  const { [PACKED]: packed, [WHOLE]: whole, ...apart } = stored
  if (whole?.B !== undefined) return { ...unpackWhole(whole.B), ...apart }
  const text = packed?.S
  if (text === undefined) return stored
  const attributes: Record<string, AttributeValue> = apart
  for (let at = 0; at < text.length; ) {
    const is = text.indexOf('=', at)
    const end = text.indexOf(END, is)
    if (is < 0 || end < 0) throw damaged()
    attributes[text.slice(at, is)] = attributeOf(text.charAt(is + 1), text.slice(is + 2, end))
    at = end + 1
  }
  return attributes
}

/** The item that an index entry has the whole of, as it is stored and as it was before; null: it has to be read. */
export function fromIndex(
  entry: Attributes,
): { readonly stored: Attributes; readonly attributes: Attributes } | null {
  const { [WHOLE]: whole, wp, ws } = entry
  if (whole?.B === undefined || wp === undefined || ws === undefined) return null
  const attributes: Attributes = { ...unpackWhole(whole.B), wp, ws }
  const stored: Record<string, AttributeValue> = { [WHOLE]: whole }
  for (const name in attributes)
    if (APART.has(name)) stored[name] = attributes[name] as AttributeValue
  return { stored, attributes }
}

function unpackWhole(whole: Uint8Array): Attributes {
  const bytes = Buffer.from(whole.buffer, whole.byteOffset, whole.byteLength)
  let part = bytes.indexOf(PARTS) + 1
  const text = bytes.toString('utf8', 0, part - 1)
  const attributes: Record<string, AttributeValue> = {}
  for (let at = 0; at < text.length; ) {
    const is = text.indexOf('=', at)
    const end = text.indexOf(END, is)
    if (is < 0 || end < 0) throw damaged()
    const kind = text.charAt(is + 1)
    const value = text.slice(is + 2, end)
    if (kind === 'B') {
      const next = part + Number.parseInt(value, 36)
      // Never a `Buffer`, of which `slice` is no copy.
      attributes[text.slice(at, is)] = {
        B: new Uint8Array(whole.buffer, whole.byteOffset + part, next - part),
      }
      part = next
    } else attributes[text.slice(at, is)] = attributeOf(kind, value)
    at = end + 1
  }
  return attributes
}

/** Bytes of an item that are paid for: names and values. */
export function sizeOf(attributes: Attributes): number {
  let size = 0
  for (const name in attributes) size += name.length + valueSize(attributes[name] as AttributeValue)
  return size
}

function valueSize(value: AttributeValue): number {
  if (value.S !== undefined) return Buffer.byteLength(value.S)
  if (value.N !== undefined) return Math.ceil(value.N.length / 2) + 1
  if (value.B !== undefined) return value.B.byteLength
  if (value.L !== undefined) return value.L.reduce((size, one) => size + 1 + valueSize(one), 3)
  if (value.M !== undefined) return Object.values(value.M).length + 3 + sizeOf(value.M)
  return 1
}

/** Null: it has to stand for itself. */
function textOf({ S, N, BOOL }: AttributeValue): string | null {
  if (S !== undefined) return S.length > LONG_TEXT || S.includes(END) ? null : `S${S}`
  if (N !== undefined) {
    const value = Number(N)
    return Number.isSafeInteger(value) && String(value) === N ? `N${value.toString(36)}` : null
  }
  return BOOL === true ? 'T' : null
}

function attributeOf(kind: string, text: string): AttributeValue {
  if (kind === 'N') return { N: String(Number.parseInt(text, 36)) }
  return kind === 'T' ? { BOOL: true } : { S: text }
}

function damaged(): BackendError {
  return new BackendError('SERIALIZATION', 'the stored instance can not be read: it is cut off')
}
