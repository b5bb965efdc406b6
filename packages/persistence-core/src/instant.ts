/** The last millisecond that RFC 3339 can name, with its years of four digits. */
export const MAX_INSTANT: number = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

const form = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/

/** An instant in RFC 3339, UTC, to the millisecond. Throws `RangeError` for one outside of the years 1970 to 9999. */
export function formatInstant(at: number, name: string): string {
  if (!(at >= 0 && at <= MAX_INSTANT))
    throw new RangeError(`${name} must be in the years 1970 to 9999, got ${at}`)
  return new Date(at).toISOString()
}

/**
 * Epoch milliseconds of an instant in RFC 3339, UTC, with up to nanoseconds, which are cut off.
 * Throws `RangeError` for anything else, such as the 30th of February, or before 1970.
 */
export function parseInstant(text: string, name: string): number {
  const parts = form.exec(text)
  if (parts !== null) {
    const [, seconds, fraction = ''] = parts
    const milliseconds = `${seconds}.${fraction.slice(0, 3).padEnd(3, '0')}Z`
    const at = Date.parse(milliseconds)
    // Date.parse takes the 30th of February for the 2nd of March, and 24:00 for the next day.
    if (at >= 0 && new Date(at).toISOString() === milliseconds) return at
  }
  const given = JSON.stringify(text.slice(0, 40))
  throw new RangeError(
    `${name} must be an instant like 2026-01-31T12:00:00.123Z, 1970 or later, got ${given}`,
  )
}
