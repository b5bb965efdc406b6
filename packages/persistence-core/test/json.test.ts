import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BackendError } from '../src/errors.ts'
import { JsonNumber, type JsonValue, parseJson } from '../src/json.ts'

const encoder = new TextEncoder()
const parse = (text: string): JsonValue => parseJson(encoder.encode(text))

/** What `JSON.parse` would give, which is right for all that has no awkward keys. */
function plain(value: JsonValue): unknown {
  if (value instanceof JsonNumber) return value.value
  if (value instanceof Map)
    return Object.fromEntries(Array.from(value, ([key, v]) => [key, plain(v)]))
  if (typeof value === 'object' && value !== null) return Array.from(value as JsonValue[], plain)
  return value
}

function refuses(input: string | Uint8Array, message: RegExp | string = /./): void {
  const bytes = typeof input === 'string' ? encoder.encode(input) : input
  try {
    parseJson(bytes)
  } catch (error) {
    expect(BackendError.is(error, 'SERIALIZATION'), String(error)).toBe(true)
    expect((error as Error).message).toMatch(message)
    return
  }
  expect.fail(`took ${JSON.stringify(String(input).slice(0, 80))}`)
}

describe('reads', () => {
  test('what JSON.parse reads, white space or not', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), fc.nat(4), (value, indent) => {
        const text = JSON.stringify(value, null, indent)
        expect(plain(parse(`\r\n\t ${text} `))).toEqual(JSON.parse(text))
      }),
    )
  })

  test('keys in their order, none of them special', () => {
    const object = parse('{"2":1,"1":2,"__proto__":{"x":3},"constructor":4,"":5,"\\u0061":6}')
    expect(object).toBeInstanceOf(Map)
    const keys = [...(object as Map<string, JsonValue>).keys()]
    expect(keys.join()).toBe('2,1,__proto__,constructor,,a')
    expect(Object.hasOwn(Object.prototype, 'x')).toBe(false)
  })

  test('strings of any Unicode, escaped or not', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(parse(JSON.stringify(text))).toBe(text)
        const escaped = Array.from(
          { length: text.length },
          (_, at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`,
        ).join('')
        expect(parse(`"${escaped}"`)).toBe(text)
      }),
    )
    expect(parse('"\\"\\\\\\/\\b\\f\\n\\r\\t"')).toBe('"\\/\b\f\n\r\t')
  })

  test('integers as numbers, and other numbers as something else', () => {
    for (const [text, value] of [
      ['0', 0],
      ['-1', -1],
      ['9007199254740991', 9007199254740991],
      ['-9007199254740991', -9007199254740991],
    ] as const) {
      expect(parse(text)).toBe(value)
    }
    for (const [text, value] of [
      ['1.0', 1],
      ['-0', -0],
      ['1e0', 1],
      ['1E+2', 100],
      ['-0.5e-1', -0.05],
      ['9007199254740992', 9007199254740992],
      ['18446744073709551615', 18446744073709552000],
      ['1e999', Number.POSITIVE_INFINITY],
    ] as const) {
      expect(parse(text)).toEqual(new JsonNumber(value))
    }
  })

  test('long arrays of bytes as bytes, and all others as arrays', () => {
    const numbers = Array.from({ length: 300 }, (_, index) => index % 256)
    expect(parse(JSON.stringify(numbers))).toEqual(Uint8Array.from(numbers))
    expect(parse(JSON.stringify(numbers, null, 3))).toEqual(Uint8Array.from(numbers))
    expect(parse('[]')).toEqual([])
    expect(parse('[ ]')).toEqual([])
    for (const odd of [256, -1, 1.5, 1e300, '1', null, [], [1]]) {
      for (const at of [0, 150, 300]) {
        const array = numbers.toSpliced(at, 0, odd as number)
        const read = parse(JSON.stringify(array))
        expect(read).toBeInstanceOf(Array)
        expect(plain(read)).toEqual(array)
      }
    }
  })
})

describe('refuses', () => {
  const list = (last: string): string => `[${'1,'.repeat(100)}${last}]`

  test.each([
    ['nothing', ''],
    ['only white space', ' \n'],
    ['a cut literal', 'tru'],
    ['another literal', 'True'],
    ['NaN', 'NaN'],
    ['an identifier', 'undefined'],
    ['single quotes', "'a'"],
    ['a comment', '1 // one'],
    ['a byte order mark', '\ufeff1'],
    ['white space that is none in JSON', '\u00a01'],
    ['a second value', '1 1'],
    ['a closing bracket too many', '[1]]'],
    ['an open array', '[1,2'],
    ['an open object', '{"a":1'],
    ['a cut object', '{"a"'],
    ['an open string', '"abc'],
    ['a string that ends in a backslash', '"abc\\'],
    ['a trailing comma', '[1,]'],
    ['a leading comma', '[,1]'],
    ['a trailing comma in an object', '{"a":1,}'],
    ['a missing comma', '[1 2]'],
    ['a missing colon', '{"a" 1}'],
    ['a missing value', '{"a":}'],
    ['a key without quotes', '{a:1}'],
    ['a number for a key', '{1:1}'],
    ['a plus sign', '+1'],
    ['a lone minus', '-'],
    ['a leading zero', '01'],
    ['a leading zero after the sign', '-01'],
    ['a leading zero in a long array', list('01')],
    ['a trailing comma in a long array', list('')],
    ['a gap in a long array', list('1,,1')],
    ['a missing comma in a long array', list('1 1')],
    ['a number that starts with a dot', '.5'],
    ['a number that ends with a dot', '1.'],
    ['a number without its exponent', '1e'],
    ['a hexadecimal number', '0x10'],
    ['a separator in a number', '1_000'],
    ['a control character in a string', '"a\nb"'],
    ['U+0000 in a string', '"a\0b"'],
    ['an unknown escape', '"\\x41"'],
    ['a cut escape', '"\\u12"'],
    ['a lone high surrogate', '"\\ud800"'],
    ['a lone low surrogate', '"\\udc00"'],
    ['surrogates in the wrong order', '"\\udc00\\ud800"'],
    ['a lone surrogate for a key', '{"\\ud800":1}'],
  ])('%s', (_, text) => refuses(text))

  test('a key that is there twice, at any depth, escaped or not', () => {
    refuses('{"a":1,"a":1}', 'the key "a" is there twice')
    refuses('{"a":1,"\\u0061":1}')
    refuses('[{"x":{"__proto__":1,"b":2,"__proto__":3}}]', 'at byte 27: the key "__proto__"')
  })

  test('what is not UTF-8', () => {
    for (const bytes of [
      [0x22, 0xff, 0x22],
      [0x22, 0xc0, 0x80, 0x22],
      // A lone surrogate, as CESU-8 has it.
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22],
      [0x22, 0xc3],
    ]) {
      refuses(Uint8Array.from(bytes), 'not UTF-8')
    }
  })

  test('deep nesting, without running out of stack', () => {
    expect(plain(parse(`${'['.repeat(128)}${']'.repeat(128)}`))).toBeInstanceOf(Array)
    refuses(`${'['.repeat(129)}${']'.repeat(129)}`, 'nested deeper than 128 levels')
    refuses('['.repeat(1_000_000), 'nested deeper')
    refuses('{"a":'.repeat(1_000_000), 'nested deeper')
    refuses('[{"a":'.repeat(1_000_000), 'nested deeper')
  })
})

test('any bytes are read or refused, and what is read agrees with JSON.parse', () => {
  const text = fc.oneof(
    fc.string({ unit: fc.constantFrom(...'[]{}",:\\u0019.eE+-truefalsn \n') }),
    fc.string({ unit: 'binary' }),
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        text.map((one) => encoder.encode(one)),
      ),
      (bytes) => {
        let value: JsonValue
        try {
          value = parseJson(bytes)
        } catch (error) {
          expect(BackendError.is(error, 'SERIALIZATION'), String(error)).toBe(true)
          return
        }
        expect(plain(value)).toEqual(JSON.parse(new TextDecoder().decode(bytes)))
      },
    ),
    { numRuns: 2000 },
  )
})

test('the time is linear: no input of two megabytes takes long', () => {
  const million = 500_000
  const inputs = [
    '1'.repeat(4 * million),
    `[${'1'.repeat(4 * million)}]`,
    `[${'256,'.repeat(million)}1]`,
    `[${'[1],'.repeat(million)}1]`,
    `[${'1,'.repeat(million)}[${'1,'.repeat(million)}[`,
    `[${','.repeat(4 * million)}`,
    `[${' '.repeat(4 * million)}`,
    `["${'\\u0041'.repeat(million)}`,
    `{${Array.from({ length: million / 4 }, (_, index) => `"${index}":1`).join()}}`,
  ]
  for (const input of inputs) {
    const start = performance.now()
    try {
      parse(input)
    } catch (error) {
      expect(BackendError.is(error, 'SERIALIZATION'), String(error)).toBe(true)
    }
    // A tenth of it is plenty here; quadratic time would be hours.
    expect(performance.now() - start, input.slice(0, 20)).toBeLessThan(5000)
  }
})
