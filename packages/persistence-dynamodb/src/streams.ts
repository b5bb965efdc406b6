import { HEAD, Keys } from './keys.ts'
import { markedClassOf } from './markers.ts'

/** Attributes, as far as they are read here. */
type Image = Readonly<
  Record<string, { readonly S?: string | undefined; readonly N?: string | undefined }>
>

/** What is read of a record of the table's stream, as a Lambda function or `GetRecords` gets it. */
export interface StreamRecordLike {
  /** `INSERT`, `MODIFY` or `REMOVE`. */
  readonly eventName?: string | undefined
  readonly dynamodb?:
    | {
        readonly Keys?: Image | undefined
        readonly NewImage?: Image | undefined
        readonly OldImage?: Image | undefined
      }
    | undefined
}

/**
 * Whether a record of the table's stream tells of work that has become available, or will at a time
 * that is known: which of the many records are worth telling workers about. Best with a stream of
 * `NEW_AND_OLD_IMAGES`; with less in a record it says yes where it can't be sure.
 *
 * @param keyPrefix That of the backends that are to be told.
 * @example
 * ```ts
 * import { type StreamRecordLike, tellsOfWork } from '@sayiir/persistence-dynamodb'
 *
 * export async function onStream({ Records }: { Records: StreamRecordLike[] }): Promise<void> {
 *   if (Records.some((record) => tellsOfWork(record))) await tellWorkers()
 * }
 *
 * async function tellWorkers(): Promise<void> {
 *   // A message by SNS, a queue or a socket; each worker then calls backend.notify().
 * }
 * ```
 */
export function tellsOfWork(record: StreamRecordLike, keyPrefix = 'sayiir'): boolean {
  const { eventName, dynamodb } = record
  const { Keys: key, NewImage: now, OldImage: before } = dynamodb ?? {}
  const p = key?.p?.S ?? ''
  const s = key?.s?.S ?? ''
  const keys = new Keys(keyPrefix)
  if (!p.startsWith(keys.instance(''))) return false
  if (s !== HEAD && markedClassOf(s) === null) return false
  if (eventName === 'REMOVE') return false
  if (now === undefined) return true
  if (!keys.isReady(now.wp?.S)) return false
  return before?.wp?.S !== now.wp?.S || before?.ws?.N !== now.ws?.N
}
