import { expect, test } from 'vitest'
import { readTail, type TailEntry, writeTail } from '../src/instance-item.ts'
import { pack, unpack } from '../src/packing.ts'

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
    ['a', 'b', 'i', 'ii', 'long', 'no', 'nul', 'st', 'w', 'wp', 'ws'].toSorted(),
  )
  expect(unpack(stored)).toEqual(attributes)
  expect(unpack(pack({ w: { S: 'a' } }))).toEqual({ w: { S: 'a' } })
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
