import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { envelope, HEADER, read, readWell, withFields } from './envelopes.ts'
import { samples } from './interop.ts'

describe('any bytes are read or refused', () => {
  const decoder = new TextDecoder()
  const prototype = Object.getOwnPropertyNames(Object.prototype)
  const few = ['retry-attempt-1', 'paused-while-waiting', 'loop-iter-2', 'linear-completed']
  const chosen = samples.filter(({ name }) => few.includes(name))

  test('at random', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => readWell(bytes)))
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => readWell(Uint8Array.from([...HEADER, ...bytes]))),
    )
    fc.assert(fc.property(fc.json(), (json) => readWell(envelope(json))))
  })

  test('samples cut at every length', () => {
    expect(chosen).toHaveLength(few.length)
    for (const { bytes } of chosen) {
      for (let length = 0; length < bytes.length; length += 1) {
        expect(read(bytes.subarray(0, length))).toBeUndefined()
      }
      expect(read(Uint8Array.from([...bytes, 0x20]))).toBeDefined()
      expect(read(Uint8Array.from([...bytes, 0x7d]))).toBeUndefined()
    }
  })

  test('samples with any bytes changed', () => {
    const change = fc.record({
      at: fc.nat(),
      drop: fc.nat(4),
      put: fc.uint8Array({ maxLength: 4 }),
    })
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.array(change, { minLength: 1 }),
        (from, changes) => {
          const bytes = [...from.bytes]
          for (const { at, drop, put } of changes) bytes.splice(at % bytes.length, drop, ...put)
          readWell(Uint8Array.from(bytes))
        },
      ),
      { numRuns: 2000 },
    )
  })

  test('samples with any value replaced', () => {
    const odd = ['null', '-1', '1.5', '1e999', '""', '"x"', '[]', '{}', '[[1]]', '{"__proto__":1}']
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.nat(),
        fc.constantFrom(...odd),
        ({ bytes }, pick, value) => {
          const json = decoder.decode(bytes.subarray(6))
          const places = [...json.matchAll(/(?<=":)("[^"]*"|\d+|\[[\d,]*\]|null|\{\})/g)]
          const place = places[pick % places.length] as RegExpExecArray
          const after = json.slice(place.index + place[0].length)
          readWell(envelope(json.slice(0, place.index) + value + after))
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('every key twice, and every key __proto__', () => {
    for (const { bytes } of chosen) {
      const json = decoder.decode(bytes.subarray(6))
      for (const { index, 0: key } of json.matchAll(/"\w+":/g)) {
        const twice = `${json.slice(0, index)}${key}null,${json.slice(index)}`
        expect(read(envelope(twice))).toBeUndefined()
        const rest = json.slice(index + key.length)
        readWell(envelope(`${json.slice(0, index)}"__proto__":${rest}`))
        // One more field is ignored in an object of fields, and an entry too many in a map.
        readWell(envelope(`${json.slice(0, index)}"__proto__":{"polluted":1},${json.slice(index)}`))
      }
    }
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
    expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(prototype)
  })

  // A second on a small machine. Anything quadratic would take hours: the limit is for that alone.
  test('hostile nesting and numbers, soon', { timeout: 300_000 }, () => {
    for (const hostile of [
      '['.repeat(1_000_000),
      '{"a":'.repeat(1_000_000),
      `${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`,
      '9'.repeat(1_000_000),
      `[${'9'.repeat(1_000_000)}]`,
      `1e${'9'.repeat(1_000_000)}`,
      `"${'\\u0000'.repeat(1_000_000)}"`,
    ]) {
      expect(read(envelope(hostile))).toBeUndefined()
      for (const name of ['instance_id', 'state', 'created_at', 'task_tags', 'task_retries']) {
        expect(read(withFields({ [name]: hostile })), name).toBeUndefined()
      }
      read(withFields({ unknown: hostile }))
    }
  })
})
