import { checkId, checkTags, checkText } from './check.ts'
import { quote } from './errors.ts'
import { parseInstant } from './instant.ts'
import { type JsonArray, JsonNumber, type JsonObject, type JsonValue } from './json.ts'
import type { TaskResult } from './position.ts'

/** A field of an object, or undefined where it is missing. */
export type Field = JsonValue | undefined
/** Reads the field at `path`. Throws `TypeError` or `RangeError`, naming the path. */
export type Read<T> = (value: Field, path: string) => T

/** The largest of Rust's `u32`. */
export const MAX_U32 = 0xffff_ffff

const encoder = new TextEncoder()

function wrongKind(path: string, wanted: string, value: Field): TypeError {
  return new TypeError(
    value === undefined ? `${path} is missing` : `${path} must be ${wanted}, got ${kindOf(value)}`,
  )
}

function kindOf(value: JsonValue): string {
  if (value === null) return 'null'
  if (typeof value === 'string') return `the string ${quote(value)}`
  if (value instanceof JsonNumber)
    return `the number ${Object.is(value.value, -0) ? '-0' : value.value}`
  if (typeof value === 'object') return isArray(value) ? 'an array' : 'an object'
  return `the ${typeof value} ${value}`
}

function isArray(value: Field): value is JsonArray {
  return Array.isArray(value) || value instanceof Uint8Array
}

/** What `read` makes of the field, or null where it is null or missing: Rust's reader takes the two for the same. */
export function orNull<T>(value: Field, path: string, read: Read<T>): T | null {
  return value === null || value === undefined ? null : read(value, path)
}

/** What `read` makes of the field, or `fallback` where it is missing. */
export function orElse<T>(value: Field, path: string, read: Read<T>, fallback: T): T {
  return value === undefined ? fallback : read(value, path)
}

export function readObject(value: Field, path: string): JsonObject {
  if (value instanceof Map) return value as JsonObject
  throw wrongKind(path, 'an object', value)
}

export function readArray(value: Field, path: string): JsonArray {
  if (isArray(value)) return value
  throw wrongKind(path, 'an array', value)
}

function readString(value: Field, path: string): string {
  if (typeof value === 'string') return value
  throw wrongKind(path, 'a string', value)
}

export function readId(value: Field, path: string): string {
  return checkId(readString(value, path), path)
}

export function readText(value: Field, path: string): string {
  return checkText(readString(value, path), path)
}

export function readTags(value: Field, path: string): readonly string[] {
  return checkTags(Array.from(readArray(value, path)), path)
}

/** An integer as it was written, never a fraction. */
export function readInteger(value: Field, path: string, min: number, max: number): number {
  if (typeof value === 'number' && value >= min && value <= max) return value
  throw wrongKind(path, `a whole number from ${min} to ${max}`, value)
}

export function readCount(value: Field, path: string): number {
  return readInteger(value, path, 0, Number.MAX_SAFE_INTEGER)
}

export function readU32(value: Field, path: string): number {
  return readInteger(value, path, 0, MAX_U32)
}

export function readPriority(value: Field, path: string): number {
  return readInteger(value, path, 1, 5)
}

export function readInstant(value: Field, path: string): number {
  return parseInstant(readString(value, path), path)
}

/** Any number, a fraction or not. */
export function readNumber(value: Field, path: string): number {
  const number = value instanceof JsonNumber ? value.value : value
  if (typeof number === 'number' && Number.isFinite(number) && number >= 0) return number
  throw wrongKind(path, 'a finite number, 0 or more', value)
}

/** A flag that is there only when it is true. */
export function readFlag(value: Field, path: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value === true
  throw wrongKind(path, 'true or false', value)
}

/** Payload bytes: an array of numbers, or a string that stands for its UTF-8. */
export function readBytes(value: Field, path: string): Uint8Array {
  if (typeof value === 'string') return encoder.encode(value)
  if (value instanceof Uint8Array) return value
  if (!isArray(value)) throw wrongKind(path, 'bytes: an array of numbers, or a string', value)
  return Uint8Array.from(value, (byte, index) => readInteger(byte, `${path}[${index}]`, 0, 255))
}

/** The entries of an object, in its order, by id. */
export function readMap<T>(
  value: Field,
  path: string,
  read: (value: Field, path: string, key: string) => T,
): Map<string, T> {
  const map = new Map<string, T>()
  for (const [key, entry] of readObject(value, path)) {
    const place = `${path}[${quote(key)}]`
    map.set(checkId(key, `the key ${place}`), read(entry, place, key))
  }
  return map
}

export function readResult(value: Field, path: string): TaskResult {
  const from = readObject(value, path)
  return {
    taskId: readId(from.get('task_id'), `${path}.task_id`),
    output: readBytes(from.get('output'), `${path}.output`),
  }
}

/** An enum's variant and its content, as serde writes them: a string, or an object of one field. */
export function readVariant(value: Field, path: string): readonly [name: string, content: Field] {
  if (typeof value === 'string') return [value, undefined]
  const object = readObject(value, path)
  const [only] = object
  if (only === undefined || object.size > 1)
    throw new TypeError(`${path} must be an object of exactly one field`)
  return only
}

/** That a variant is of a later version, or nonsense. */
export function unknownVariant(path: string, name: string): TypeError {
  return new TypeError(`${path} is of an unknown kind, ${quote(name)}`)
}
