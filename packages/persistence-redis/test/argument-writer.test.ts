import { Redis } from 'ioredis'
import { afterAll, expect, inject, test } from 'vitest'
import { type ArgumentWriter, pack } from '../src/argument-writer.ts'

const redis = new Redis(inject('redis').url)

afterAll(() => redis.quit())

/** What Lua makes of what was written: each value as its type and its bytes. */
async function read(
  write: (args: ArgumentWriter) => void,
): Promise<[type: string, bytes: string][]> {
  const { message } = pack((args) => {
    write(args)
    return []
  })
  const script = `
    local values, list = {}, cmsgpack.unpack(ARGV[1])
    for index = 2, #ARGV, 2 do list[tonumber(ARGV[index])] = ARGV[index + 1] end
    for index, value in ipairs(list) do
      values[index] = { type(value), type(value) == 'number' and string.format('%.0f', value) or value }
    end
    return values`
  const apart = message.apart.map((one) => (typeof one === 'number' ? one : Buffer.from(one)))
  const reply = await redis.callBuffer(
    'eval',
    script,
    0,
    Buffer.from(message.bytes, 'latin1'),
    ...apart,
  )
  return (reply as [Buffer, Buffer][]).map(([type, bytes]) => [
    type.toString(),
    bytes.toString('latin1'),
  ])
}

const every = Uint8Array.from({ length: 256 }, (_, index) => index)

test('D10 what travels together arrives as it was, of whatever length and characters', async () => {
  const lengths = [0, 1, 31, 32, 127, 128, 255, 256, 65_535, 65_536]
  for (const character of ['a', 'é', '試', '😀', '\0']) {
    const texts = lengths.map((length) => character.repeat(length))
    const expected = texts.map((text) => ['string', Buffer.from(text).toString('latin1')])
    await expect(read((args) => args.push(...texts))).resolves.toEqual(expected)
  }
})

test('D10 bytes that travel together arrive as they were, beside texts of any characters', async () => {
  const large = new Uint8Array(70_000).fill(0xff)
  for (const text of ['plain', 'ü', '\u{10ffff}']) {
    await expect(
      read((args) => {
        args.bytes(every)
        args.text(text)
        args.bytes(every.subarray(200))
        args.bytes(new Uint8Array(0))
        args.bytes(large)
      }),
    ).resolves.toEqual([
      ['string', Buffer.from(every).toString('latin1')],
      ['string', Buffer.from(text).toString('latin1')],
      ['string', Buffer.from(every.subarray(200)).toString('latin1')],
      ['string', ''],
      ['string', Buffer.from(large).toString('latin1')],
    ])
  }
})

test('D10 numbers that travel together arrive as they were', async () => {
  const small = [0, 1, 127, 128, 255, 256, 65_535]
  const whole = [0, 255, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 1_795_726_443_554, Number.MAX_SAFE_INTEGER]
  const expected = [...small, ...whole].map((value) => ['number', String(value)])
  await expect(
    read((args) => {
      for (const value of small) args.small(value)
      for (const value of whole) args.whole(value)
      args.push(17, 1_795_726_443_554)
    }),
  ).resolves.toEqual([...expected, ['string', '17'], ['string', '1795726443554']])
})
