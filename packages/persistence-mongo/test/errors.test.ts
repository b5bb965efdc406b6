import { BackendError, createSnapshot } from '@sayiir/persistence-core'
import { MongoBackend } from '@sayiir/persistence-mongo'
import {
  MongoBulkWriteError,
  type MongoClient,
  MongoNetworkError,
  MongoServerError,
  MongoServerSelectionError,
} from 'mongodb'
import { MongoClient as OldestClient } from 'mongodb-oldest'
import { expect, test } from 'vitest'
import { bulkError, isPassing, toBackendError } from '../src/errors.ts'
import { TestCollections } from './collections.ts'

function serverError(code: number, message = 'as the server says it', labels: string[] = []) {
  return new MongoServerError({ message, errmsg: message, code, errorLabels: labels })
}

test.each([
  ['HostUnreachable', 6, 'UNAVAILABLE'],
  ['Unauthorized', 13, 'BACKEND'],
  ['AuthenticationFailed', 18, 'BACKEND'],
  ['LockTimeout', 24, 'UNAVAILABLE'],
  ['NamespaceNotFound', 26, 'SCHEMA'],
  ['CursorNotFound', 43, 'UNAVAILABLE'],
  ['MaxTimeMSExpired', 50, 'UNAVAILABLE'],
  ['WriteConcernFailed', 64, 'UNAVAILABLE'],
  ['InvalidNamespace', 73, 'SCHEMA'],
  ['IndexOptionsConflict', 85, 'SCHEMA'],
  ['ShutdownInProgress', 91, 'UNAVAILABLE'],
  ['WriteConflict', 112, 'UNAVAILABLE'],
  ['PrimarySteppedDown', 189, 'UNAVAILABLE'],
  ['CursorKilled', 237, 'UNAVAILABLE'],
  ['ExceededTimeLimit', 262, 'UNAVAILABLE'],
  ['NotWritablePrimary', 10107, 'UNAVAILABLE'],
  ['BSONObjectTooLarge', 10334, 'PAYLOAD_TOO_LARGE'],
  ['InterruptedAtShutdown', 11600, 'UNAVAILABLE'],
  ['NotPrimaryNoSecondaryOk', 13435, 'UNAVAILABLE'],
  ['OutOfDiskSpace', 14031, 'UNAVAILABLE'],
  ['a code of a later version', 99_999, 'BACKEND'],
])('%s (%i) is %s', (_, number, code) => {
  const cause = serverError(number)
  const error = toBackendError(cause)
  expect(error).toBeInstanceOf(BackendError)
  expect(error).toMatchObject({ code, cause, retryable: code === 'UNAVAILABLE' })
  expect((error as Error).message).toContain(cause.message)
  expect(isPassing(cause)).toBe(code === 'UNAVAILABLE')
})

test.each([
  'Size 17455651 is larger than MaxDocumentSize 16777216',
  'object to insert too large. size in bytes: 17455651, max size: 16777216',
])('a document that has grown too large (%s)', (message) => {
  const cause = serverError(99_999, message)
  expect(toBackendError(cause)).toMatchObject({ code: 'PAYLOAD_TOO_LARGE', cause })
})

test.each([
  new MongoNetworkError('connection 1 to 127.0.0.1:1 closed'),
  new MongoServerSelectionError('connect ECONNREFUSED', {} as never),
  serverError(99_999, 'later', ['RetryableWriteError']),
  serverError(1, 'deadlock detected'),
  serverError(1, 'read tcp 127.0.0.1:1->127.0.0.1:2: use of closed network connection'),
  Object.assign(new Error('This socket has been ended by the other party'), { code: 'EPIPE' }),
])('%s is that nobody answers, also in a bulkWrite', (cause) => {
  expect(toBackendError(cause)).toMatchObject({ code: 'UNAVAILABLE', cause })
  const ofMany = new MongoBulkWriteError(cause as never, {} as never)
  expect(toBackendError(ofMany)).toMatchObject({ code: 'UNAVAILABLE' })
  expect(isPassing(ofMany)).toBe(true)
})

test('a bulkWrite that not enough servers have acknowledged has not landed for sure, also where some of it was refused', () => {
  const refused = { message: 'refused', code: 11000, writeErrors: [{ index: 0, code: 11000 }] }
  const lacking = { matchedCount: 1, insertedCount: 0, getWriteConcernError: () => ({ code: 64 }) }
  const enough = { ...lacking, getWriteConcernError: () => undefined }
  const bulk = (result: object) => new MongoBulkWriteError(refused as never, result as never)
  expect(isPassing(bulk(lacking))).toBe(true)
  expect(toBackendError(bulk(lacking))).toMatchObject({ code: 'UNAVAILABLE' })
  expect(bulkError(bulk(lacking)).writeErrors).toHaveLength(0)
  expect(isPassing(bulk(enough))).toBe(false)
  expect(bulkError(bulk(enough)).writeErrors).toHaveLength(1)
})

test('a connection string never reaches a message', () => {
  const cause = new MongoNetworkError(
    'no answer from mongodb://user:secret@db.example/x?y=1 at all',
  )
  const { message } = toBackendError(cause) as Error
  expect(message).not.toContain('secret')
  expect(message).not.toContain('db.example')
  expect(message).toContain('at all')
})

test("what is not the driver's stays as it is", () => {
  const error = new TypeError('no')
  expect(toBackendError(error)).toBe(error)
  const own = new BackendError('CONFLICT', 'moved')
  expect(toBackendError(own)).toBe(own)
})

test('a client of another copy of the driver is told apart from what a server refuses', async () => {
  await using t = new TestCollections()
  const client = new OldestClient(t.url)
  await using backend = await MongoBackend.fromClient(client as unknown as MongoClient, t.options)
  const snapshot = createSnapshot({
    instanceId: 'i',
    definitionHash: 'd',
    initialInput: new Uint8Array(1),
  })
  await expect(backend.saveSnapshot(snapshot)).rejects.toMatchObject({
    code: 'BACKEND',
    message: expect.stringContaining('another version of the driver'),
  })
  await client.close()
})
