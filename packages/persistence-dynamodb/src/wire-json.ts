/** A request as JSON: bytes in base64, as the service takes them. */
export function toWire(input: object): string {
  return JSON.stringify(encoded(input))
}

/**
 * A reply from JSON. Only a value of an attribute has text under `B`, whatever attributes are
 * called: what stands under an attribute's own name is an object.
 */
export function fromWire(text: string): Record<string, unknown> {
  const reply: unknown = text === '' ? {} : JSON.parse(text)
  if (typeof reply !== 'object' || reply === null) throw new SyntaxError('the reply is no object')
  decode(reply)
  return reply as Record<string, unknown>
}

function encoded(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
  if (Array.isArray(value)) return value.map(encoded)
  const copy: Record<string, unknown> = {}
  for (const name in value) copy[name] = encoded((value as Record<string, unknown>)[name])
  return copy
}

function decode(value: object): void {
  const members = value as Record<string, unknown>
  for (const name in members) {
    const member = members[name]
    if (typeof member === 'object') {
      if (member !== null) decode(member)
    } else if (name === 'B' && typeof member === 'string') {
      const { buffer, byteOffset, byteLength } = Buffer.from(member, 'base64')
      members[name] = new Uint8Array(buffer, byteOffset, byteLength)
    }
  }
}
