/**
 * Arrays as the text of PostgreSQL's array literals. Statements take nothing but texts, which they
 * cast: so no setting of the client (custom types, transforms, `fetch_types`) can change what is sent.
 */

/** Ids and other texts. Where all are `usual`, none: the statement puts that in their place. */
export function texts(values: readonly (string | null)[], usual?: string | null): string {
  if (usual !== undefined && values.every((value) => value === usual)) return '{}'
  let literal = '{'
  for (const [index, value] of values.entries()) {
    if (index > 0) literal += ','
    literal += value === null ? 'NULL' : `"${escaped(value)}"`
  }
  return `${literal}}`
}

/** The values, or the first one only where all are the same: the statement repeats it. */
export function alike<T>(values: readonly T[]): readonly T[] {
  const [first] = values
  return first !== undefined && values.every((value) => value === first) ? [first] : values
}

/** Numbers, and other values that need no quotes. Where all are `usual`, none. */
export function plain(values: readonly (number | string | null)[], usual?: number): string {
  if (usual !== undefined && values.every((value) => value === usual)) return '{}'
  return `{${values.map((value) => value ?? 'NULL').join(',')}}`
}

/** Booleans. Where all are `usual`, none. */
function flags(values: readonly boolean[], usual?: boolean): string {
  if (values.every((value) => value === usual)) return '{}'
  return `{${values.map((value) => (value ? 't' : 'f')).join(',')}}`
}

/** Payloads, in hexadecimal. Where all are null, none. */
function payloads(values: readonly (Uint8Array | null)[]): string {
  if (values.every((value) => value === null)) return '{}'
  return `{${values.map((value) => (value === null ? 'NULL' : `"\\\\x${hexOf(value)}"`)).join(',')}}`
}

/** JSON texts, which contain no control characters, between two of those. */
export function jsonTexts(values: readonly string[]): string {
  return values.join('\u0001')
}

function escaped(value: string): string {
  return /["\\]/.test(value) ? value.replaceAll(/["\\]/g, '\\$&') : value
}

/** Columns of rows as such literals, each of what a row has in it. */
export class Columns<Row> {
  readonly #rows: readonly Row[]

  constructor(rows: readonly Row[]) {
    this.#rows = rows
  }

  texts(cellOf: (row: Row, index: number) => string | null, usual?: string | null): string {
    return texts(this.#rows.map(cellOf), usual)
  }

  plain(cellOf: (row: Row, index: number) => number | string | null, usual?: number): string {
    return plain(this.#rows.map(cellOf), usual)
  }

  flags(cellOf: (row: Row, index: number) => boolean, usual?: boolean): string {
    return flags(this.#rows.map(cellOf), usual)
  }

  payloads(cellOf: (row: Row, index: number) => Uint8Array | null): string {
    return payloads(this.#rows.map(cellOf))
  }
}

/** Bytes, in hexadecimal. */
export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}
