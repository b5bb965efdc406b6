import { BackendError } from '@sayiir/persistence-core'
import { RedisBackend } from '@sayiir/persistence-redis'
import { expect, test } from 'vitest'
import { mayBeSentAgain, toBackendError } from '../src/errors.ts'
import { failureOf } from './workflows.ts'

function reply(message: string): Error {
  return Object.assign(new Error(message), { name: 'ReplyError' })
}

test.each([
  ['OOM command not allowed when used memory > maxmemory', 'UNAVAILABLE', false],
  ['LOADING Redis is loading the dataset in memory', 'UNAVAILABLE', true],
  ['BUSY Redis is busy running a script', 'UNAVAILABLE', true],
  ['CLUSTERDOWN The cluster is down', 'UNAVAILABLE', true],
  ['TRYAGAIN Multiple keys request during rehashing of slot', 'UNAVAILABLE', true],
  ['MASTERDOWN Link with MASTER is down', 'UNAVAILABLE', true],
  ['READONLY You can’t write against a read only replica', 'UNAVAILABLE', true],
  ['MOVED 1 127.0.0.1:1', 'UNAVAILABLE', true],
  ['NOREPLICAS Not enough good replicas to write', 'UNAVAILABLE', false],
  ['MISCONF Redis is configured to save RDB snapshots', 'UNAVAILABLE', false],
  ['NOAUTH Authentication required', 'BACKEND', false],
  ['WRONGPASS invalid username-password pair', 'BACKEND', false],
  ['NOPERM this user has no permissions', 'BACKEND', false],
  ['CROSSSLOT Keys in request don’t hash to the same slot', 'BACKEND', false],
  ['WRONGTYPE Operation against a key', 'SCHEMA', false],
  ['ERR whatever', 'BACKEND', false],
] as const)('%s is %s', (message, code, again) => {
  const error = reply(message)
  expect(toBackendError(error)).toMatchObject({ code, cause: error })
  expect(mayBeSentAgain(error)).toBe(again)
})

test.each([
  Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' }),
  Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }),
  new Error('Connection is closed.'),
  new Error('Socket timeout. Expecting data, but didn’t receive any in 5ms.'),
  Object.assign(new Error('gone'), { name: 'MaxRetriesPerRequestError' }),
  Object.assign(new Error('Failed to refresh slots cache.'), { name: 'ClusterAllFailedError' }),
])('$message is UNAVAILABLE, and sent again', (error) => {
  expect(toBackendError(error)).toMatchObject({ code: 'UNAVAILABLE', cause: error })
  expect(mayBeSentAgain(error)).toBe(true)
})

test('an error of our own stays what it is', () => {
  const ours = new BackendError('CLAIM_LOST', 'lost')
  expect(toBackendError(ours)).toBe(ours)
  const wrong = new TypeError('wrong')
  expect(toBackendError(wrong)).toBe(wrong)
})

test('what a command was given, a password among it, is not in an error', () => {
  const error = Object.assign(reply('WRONGPASS invalid'), {
    command: { name: 'auth', args: ['user', 'hunter2'] },
  })
  expect(JSON.stringify(toBackendError(error), Object.getOwnPropertyNames(error))).not.toContain(
    'hunter2',
  )
  expect((toBackendError(error) as { cause: unknown }).cause).toMatchObject({
    command: { name: 'auth' },
  })
})

test('a server that is not there is UNAVAILABLE in bounded time, and the password is not told', async () => {
  const startedAt = performance.now()
  const url = 'redis://someone:hunter2@127.0.0.1:1'
  const error = await failureOf(RedisBackend.connect({ url, commandTimeoutMs: 500 }))
  expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
  expect(performance.now() - startedAt).toBeLessThan(3000)
  expect(error.message).toContain('ECONNREFUSED')
  expect(error.message).not.toContain('hunter2')
})

test.each([
  {},
  { url: 'redis://127.0.0.1', options: {} },
  { url: 'http://127.0.0.1' },
  { cluster: { nodes: [] } },
  { url: 'redis://127.0.0.1', keyPrefix: 'a{b}' },
  { url: 'redis://127.0.0.1', keyPrefix: '' },
  { url: 'redis://127.0.0.1', shards: 0 },
  { url: 'redis://127.0.0.1', commandTimeoutMs: 0 },
  { url: 'redis://127.0.0.1', pollIntervalMs: -1 },
  { url: 'redis://127.0.0.1', waitReplicas: { count: 0 } },
])('wrong options %j never reach a server', async (options) => {
  const error = await failureOf(RedisBackend.connect(options as never))
  expect(error.constructor === TypeError || error.constructor === RangeError).toBe(true)
})
