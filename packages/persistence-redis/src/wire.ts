/** A text as it goes over the wire. */
export function wireText(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`
}
