import { BackendError } from './errors.ts'

/** UTF-8 bytes of an id at most. */
export const MAX_ID_BYTES = 256
/** UTF-8 bytes of an error, a reason and the like at most. */
export const MAX_TEXT_BYTES: number = 64 * 1024
/** Tags of a task at most. */
export const MAX_TAGS = 32
/** Pending tasks of a fork at most. */
export const MAX_PENDING_TASKS = 1000
/** Tasks of one find or claim at most. */
export const MAX_TASK_LIMIT = 1000
/** Bytes of a payload at most, unless a backend is told otherwise. */
export const DEFAULT_MAX_PAYLOAD_BYTES: number = 16 * 1024 * 1024
/** Milliseconds of waiting worth one level of priority, unless a backend is told otherwise. */
export const DEFAULT_AGING_INTERVAL_MS = 300_000
/** The last instant that RFC 3339, and so the snapshot envelope, can name: the end of the year 9999. Durations never reach past it. */
export const MAX_TIME = 253_402_300_799_999
/** The priority of a task that has none. */
export const DEFAULT_PRIORITY = 3

const encoder = new TextEncoder()

/** Whether `text` has more than `max` bytes in UTF-8. */
function isLonger(text: string, max: number): boolean {
  // One to three bytes a code unit: most ids need no encoding to be measured.
  return text.length > max || (text.length * 3 > max && encoder.encode(text).length > max)
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') {
    const { name = 'Object' } = value.constructor ?? {}
    return name === 'Object' ? 'an object' : `an object of ${name}`
  }
  return typeof value === 'string' ? 'a string' : `${typeof value} ${String(value).slice(0, 40)}`
}

/** An id: a well-formed string of 1 to 256 UTF-8 bytes without U+0000. Throws `TypeError`. */
export function checkId(value: unknown, name: string): string {
  if (typeof value !== 'string')
    throw new TypeError(`${name} must be a string, got ${describe(value)}`)
  if (value.length === 0) throw new TypeError(`${name} must not be empty`)
  if (value.includes('\0')) throw new TypeError(`${name} must not contain U+0000`)
  if (!value.isWellFormed())
    throw new TypeError(`${name} must be well-formed Unicode (it has a lone surrogate)`)
  if (isLonger(value, MAX_ID_BYTES)) {
    throw new TypeError(`${name} must be at most ${MAX_ID_BYTES} bytes in UTF-8`)
  }
  return value
}

/** An id, or null where it is null or left out. */
export function checkIdOrNull(value: unknown, name: string): string | null {
  return value === null || value === undefined ? null : checkId(value, name)
}

/** A well-formed string up to 64 KiB. Throws `TypeError`. */
export function checkText(value: unknown, name: string): string {
  if (typeof value !== 'string')
    throw new TypeError(`${name} must be a string, got ${describe(value)}`)
  if (!value.isWellFormed())
    throw new TypeError(`${name} must be well-formed Unicode (it has a lone surrogate)`)
  if (isLonger(value, MAX_TEXT_BYTES)) {
    throw new TypeError(`${name} must be at most ${MAX_TEXT_BYTES} bytes in UTF-8`)
  }
  return value
}

/** A text, or null where it is null or left out. */
export function checkTextOrNull(value: unknown, name: string): string | null {
  return value === null || value === undefined ? null : checkText(value, name)
}

/** A whole number from `min` to `max`. Throws `TypeError` for no number, `RangeError` for a wrong one. */
export function checkInteger(
  value: unknown,
  name: string,
  min: number,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number')
    throw new TypeError(`${name} must be a number, got ${describe(value)}`)
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `from ${min} to ${max}`
    throw new RangeError(`${name} must be a whole number, ${range}, got ${value}`)
  }
  return value === 0 ? 0 : value
}

/** An instant in epoch milliseconds. */
export function checkTime(value: unknown, name: string): number {
  return checkInteger(value, name, 0, MAX_TIME)
}

/** A finite duration of more than 0 milliseconds, rounded up to whole ones. Throws `TypeError`/`RangeError`. */
export function checkTtl(value: unknown, name: string): number {
  return checkDuration(value, name, true)
}

/** A finite duration of 0 milliseconds or more, rounded up to whole ones. Throws `TypeError`/`RangeError`. */
export function checkDelay(value: unknown, name: string): number {
  return checkDuration(value, name, false)
}

/** A time to live, or null for a claim that never expires. */
export function checkTtlOrNull(value: unknown, name: string): number | null {
  return value === null ? null : checkTtl(value, name)
}

function checkDuration(value: unknown, name: string, positive: boolean): number {
  if (typeof value !== 'number')
    throw new TypeError(`${name} must be a number of milliseconds, got ${describe(value)}`)
  if (!Number.isFinite(value) || value < 0 || (positive && value === 0)) {
    throw new RangeError(
      `${name} must be finite and ${positive ? 'more than 0' : '0 or more'} milliseconds, got ${value}`,
    )
  }
  // Never 0 from -0, and nothing past the last instant there is.
  return Math.min(Math.ceil(value), MAX_TIME) + 0
}

/** `at` and `ms` later, but never past the last instant there is. */
export function later(at: number, ms: number): number {
  return Math.min(at + ms, MAX_TIME)
}

/** Bytes, as they are. Throws `TypeError`. */
export function checkBytes(value: unknown, name: string): Uint8Array {
  // By tag where `instanceof` fails: an array of another realm (a VM context) is as good.
  if (
    !ArrayBuffer.isView(value) ||
    !(
      value instanceof Uint8Array || Object.prototype.toString.call(value) === '[object Uint8Array]'
    )
  ) {
    throw new TypeError(`${name} must be a Uint8Array, got ${describe(value)}`)
  }
  return value as Uint8Array
}

/** A payload, copied, so that neither side sees the other's later writes. Throws `TypeError`, `PAYLOAD_TOO_LARGE`. */
export function checkPayload(value: unknown, name: string, maxPayloadBytes: number): Uint8Array {
  const bytes = checkBytes(value, name)
  if (bytes.byteLength > maxPayloadBytes) {
    throw new BackendError(
      'PAYLOAD_TOO_LARGE',
      `${name} has ${bytes.byteLength} bytes, more than the ${maxPayloadBytes} that maxPayloadBytes allows; store it elsewhere and keep a reference`,
    )
  }
  return copyBytes(bytes)
}

/** A fresh, plain copy (never a `Buffer` that shares a pool). */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes)
}

/** A priority from 1 to 5, or null where it is null or left out. */
export function checkPriority(value: unknown, name: string): number | null {
  return value === null || value === undefined ? null : checkInteger(value, name, 1, 5)
}

/** At most 32 ids, copied. */
export function checkTags(value: unknown, name: string): readonly string[] {
  // Most have none, which there is nothing to copy of.
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return []
  const tags = checkIds(value, name)
  if (tags.length > MAX_TAGS)
    throw new RangeError(`${name} must have at most ${MAX_TAGS} tags, got ${tags.length}`)
  return tags
}

/** An array of ids, copied. */
export function checkIds(value: unknown, name: string): string[] {
  return checkArray(value, name).map((id, index) => checkId(id, `${name}[${index}]`))
}

/** An array. */
export function checkArray(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`${name} must be an array, got ${describe(value)}`)
  return Array.from(value as readonly unknown[])
}

/** An object whose fields can be read. */
export function checkObject(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null)
    throw new TypeError(`${name} must be an object, got ${describe(value)}`)
  return value as Readonly<Record<string, unknown>>
}

/** The entries of a `Map`. */
export function checkMap(value: unknown, name: string): ReadonlyMap<unknown, unknown> {
  if (Object.prototype.toString.call(value) !== '[object Map]') {
    throw new TypeError(`${name} must be a Map, got ${describe(value)}`)
  }
  return value as ReadonlyMap<unknown, unknown>
}

/** One of `allowed`. Throws `TypeError`. */
export function checkOneOf<const T extends string>(
  value: unknown,
  name: string,
  allowed: readonly T[],
): T {
  if (!allowed.includes(value as T)) {
    const given = typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : describe(value)
    throw new TypeError(
      `${name} must be one of ${allowed.map((one) => `'${one}'`).join(', ')}, got ${given}`,
    )
  }
  return value as T
}

/** A boolean, false where it is left out. */
export function checkFlag(value: unknown, name: string): boolean {
  if (value === undefined) return false
  if (typeof value !== 'boolean')
    throw new TypeError(`${name} must be true or false, got ${describe(value)}`)
  return value
}

/** The options that every backend takes, with their defaults. */
export function checkBackendOptions(options: {
  agingIntervalMs?: unknown
  maxPayloadBytes?: unknown
}): {
  agingIntervalMs: number
  maxPayloadBytes: number
} {
  const {
    agingIntervalMs = DEFAULT_AGING_INTERVAL_MS,
    maxPayloadBytes = DEFAULT_MAX_PAYLOAD_BYTES,
  } = options
  return {
    agingIntervalMs: checkTtl(agingIntervalMs, 'agingIntervalMs'),
    maxPayloadBytes: checkInteger(maxPayloadBytes, 'maxPayloadBytes', 1),
  }
}
