import type { AttributeValue } from '@aws-sdk/client-dynamodb'
import type { Attributes } from './expressions.ts'

/** The attribute that holds the others. */
const PACKED = 'i'
/** What conditions, indexes, filters or the service itself look at: these stand for themselves. */
const APART: ReadonlySet<string> = new Set([
  ...['p', 's', 'w', 'z', 'st', 'dh', 'ttl'],
  ...['wp', 'ws', 'lp'],
])
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

/** Attributes as they were before they were stored. */
export function unpack(stored: Attributes): Attributes {
  const { [PACKED]: packed, ...apart } = stored
  const text = packed?.S
  if (text === undefined) return stored
  const attributes: Record<string, AttributeValue> = apart
  for (let at = 0; at < text.length; ) {
    const is = text.indexOf('=', at)
    const end = text.indexOf(END, is)
    attributes[text.slice(at, is)] = attributeOf(text.charAt(is + 1), text.slice(is + 2, end))
    at = end + 1
  }
  return attributes
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
