import { BackendError } from './errors.ts'
import { fields, readHead } from './head-record-reader.ts'
import { writeHead } from './head-record-writer.ts'
import type { SnapshotHead } from './snapshot.ts'

export { STORED_ELSEWHERE } from './stored-elsewhere.ts'

/** One more with every change that this reader would misread. */
const VERSION = 1

/** What of a head a backend keeps in columns of its own, beside the record. */
export interface HeadColumns {
  readonly instanceId: string
  readonly definitionHash: string
  readonly revision: number
  /** Epoch milliseconds. */
  readonly createdAt: number
  /** Epoch milliseconds. */
  readonly updatedAt: number
  readonly initialInput: Uint8Array | null
  /** Null unless the instance has completed. */
  readonly finalOutput: Uint8Array | null
}

/**
 * A head as the text that a backend stores next to its columns: compact JSON without what the
 * columns have, without defaults and without payloads. Maps are arrays of entries, so that their
 * order survives. Of a finished branch, an output that is {@link STORED_ELSEWHERE} is left to the
 * backend; any other is written as base64.
 */
export function encodeHead(head: SnapshotHead): string {
  return JSON.stringify({ v: VERSION, ...writeHead(head) })
}

/**
 * The head of a record and its columns. Outputs of finished branches that the record only refers to
 * are {@link STORED_ELSEWHERE}, for the backend to replace.
 *
 * @throws `SERIALIZATION` for a malformed record; `SCHEMA` for one of a newer version.
 */
export function decodeHead(text: string, columns: HeadColumns): SnapshotHead {
  const { instanceId } = columns
  try {
    const record = fields(JSON.parse(text), 'the record')
    const version = record.v
    if (typeof version !== 'number' || version < 1) throw new TypeError('its version is missing')
    if (version > VERSION) {
      throw new BackendError(
        'SCHEMA',
        `the stored head has version ${version}, and only ${VERSION} is known: it was written by a newer version; upgrade`,
        { instanceId },
      )
    }
    return {
      instanceId,
      definitionHash: columns.definitionHash,
      revision: columns.revision,
      createdAt: columns.createdAt,
      updatedAt: columns.updatedAt,
      initialInput: columns.initialInput,
      ...readHead(record, columns.finalOutput),
    }
  } catch (error) {
    if (BackendError.is(error)) throw error
    const { message } = error as Error
    throw new BackendError('SERIALIZATION', `the stored head can not be read: ${message}`, {
      cause: error,
      instanceId,
    })
  }
}
