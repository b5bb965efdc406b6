import { expect, test } from 'vitest'
import { readTail, type TailEntry, writeTail } from '../src/instance-item.ts'
import { fromIndex, pack, packWhole, sizeOf, unpack } from '../src/packing.ts'

const attributes = {
  w: { S: 'AAAAAAAA' },
  st: { S: 'i' },
  wp: { S: 'sayiir#R#0#x' },
  ws: { N: '1795702999754.5' },
  g: { S: '' },
  v: { N: '0' },
  k: { N: String(Number.MAX_SAFE_INTEGER) },
  q: { N: '-1' },
  a: { N: '0.25' },
  b: { N: '9e15' },
  ft: { S: 'a=b\n\u{1f600}=\u0001' },
  e: { S: '[["\\u0000","é"]]' },
  nul: { S: 'a\0b=Sc' },
  long: { S: 'x'.repeat(5000) },
  hr: { BOOL: true },
  no: { BOOL: false },
  ii: { B: Uint8Array.of(0, 61, 255) },
}

test('what was packed is what is unpacked, whatever is in the attributes', () => {
  const stored = pack(attributes)
  // Conditions and indexes need these as they are; bytes and long texts are not sent again with the rest.
  expect(Object.keys(stored).toSorted()).toEqual(
    ['a', 'b', 'i', 'ii', 'long', 'no', 'nul', 'w', 'wp', 'ws'].toSorted(),
  )
  expect(unpack(stored)).toEqual(attributes)
  expect(unpack(pack({ w: { S: 'a' } }))).toEqual({ w: { S: 'a' } })
})

test('what waits for a worker is in the index whole, where that needs no more room than there is', () => {
  const { long: _, a: _a, b: _b, nul: _n, no: _o, ...small } = attributes
  const stored = packWhole(small, 1000) ?? expect.fail('there is room')
  expect(Object.keys(stored).toSorted()).toEqual(['o', 'w', 'wp', 'ws'])
  expect(unpack(stored)).toEqual(small)
  const { wp, ws, o } = stored
  const entry = { p: { S: 'sayiir#I#i' }, s: { S: 'H' }, wp, ws, o } as typeof stored
  const there = fromIndex(entry) ?? expect.fail('the index has it')
  expect(there).toEqual({ stored, attributes: small })
  expect(packWhole(small, sizeOf(stored))).not.toBeNull()
  expect(packWhole(small, sizeOf(stored) - 1)).toBeNull()
  // What can't be a part of a text, or is long, has to be read.
  for (const name of ['nul', 'long', 'no'] as const)
    expect(packWhole({ ...small, [name]: attributes[name] }, 10_000)).toBeNull()
  const { o: __, ...keysOnly } = entry
  expect(fromIndex(keysOnly)).toBeNull()
})

test('the newest results and commits are read as they were written, byte for byte', () => {
  const every = Uint8Array.from({ length: 256 }, (_, index) => index)
  const record = { workerId: 'w"\n', token: 7, revision: 2, status: 'completed' as const }
  const tail: TailEntry[] = [
    { taskId: '.', version: 1, result: { order: 0, output: every } },
    { taskId: '-', version: 2, result: null, record: null },
    { taskId: 'ключ\n', version: 3, result: { order: 4_194_304, output: new Uint8Array(0) } },
    { taskId: 'd', version: 4, result: { order: 9, output: { reference: 'life~name.12' } } },
    { taskId: 'e', version: 5, record: { ...record, next: null } },
    {
      taskId: 'f',
      version: 6,
      result: { order: 10, output: every.subarray(200) },
      record: { ...record, next: { instanceId: 'i', taskId: 't', token: 8 } },
    },
  ]
  expect(readTail(writeTail(tail))).toEqual(tail)
  expect(readTail(writeTail([]))).toEqual([])
  expect(readTail(undefined)).toEqual([])
  const { B: whole = new Uint8Array() } = writeTail(tail)
  expect(() => readTail({ B: whole.subarray(0, -1) })).toThrow(
    expect.objectContaining({ code: 'SERIALIZATION' }),
  )
})
