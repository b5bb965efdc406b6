import type { ChangeStream, Document } from 'mongodb'
import type { Database } from './database.ts'
import { isPassing, toBackendError } from './errors.ts'
import type { InstanceDoc } from './records.ts'

/** Milliseconds that the server holds an answer back while there is no news, at most. */
const AWAIT_MS = 1000
/** Milliseconds for which the stream stays open once nobody waits: a worker comes back soon. */
const LINGER_MS = 10_000
/** Milliseconds until a stream that failed is opened again: the first time, and at most. */
const REOPEN_MS = 250
const MAX_REOPEN_MS = 30_000
/** Connections that a pool must have: the stream holds one. */
const MIN_POOL = 2

const FIELDS = 'updateDescription.updatedFields'

/**
 * Changes by which an instance may have work: it is new or replaced and has some, or its slot in
 * the index of ready tasks was written. Of each only its name comes here: whoever waits looks for
 * himself.
 */
const HAS_WORK: readonly Document[] = [
  {
    $match: {
      $or: [
        { 'fullDocument.q.k': { $gt: 0 } },
        // All of the slot, unless it was emptied.
        { [`${FIELDS}.q`]: { $ne: null } },
        // Some of its fields: each is a key of its own, with a dot.
        {
          $expr: {
            $anyElementTrue: [
              {
                $map: {
                  input: { $objectToArray: { $ifNull: [`$${FIELDS}`, {}] } },
                  as: 'one',
                  in: { $regexMatch: { input: '$$one.k', regex: '^q[.]' } },
                },
              },
            ],
          },
        },
      ],
    },
  },
  { $project: { _id: 1 } },
]

/**
 * Tells of work that other processes make available, by a change stream: one for a backend, and
 * only while somebody waits and a little longer. What it tells is a hint, so one that failed is not
 * resumed but opened anew, and everybody looks.
 */
export class Changes {
  readonly #db: Database
  readonly #tell: () => void
  /** Whether the server has change streams. */
  readonly isSupported: boolean
  #stream: ChangeStream<InstanceDoc> | null = null
  #isListening = false
  #wantedAt = 0
  #failures = 0
  #retryAt = Number.NEGATIVE_INFINITY
  #isClosed = false

  /** @param tell Has everybody look who waits. */
  constructor(db: Database, isSupported: boolean, tell: () => void) {
    this.#db = db
    this.#tell = tell
    this.isSupported = isSupported
  }

  /** Whether work is told of from now on. If not, a stream is opened, where that may help, and it is told when it is there. */
  listens(): boolean {
    this.#wantedAt = performance.now()
    if (this.isSupported && this.#stream === null && !this.#isClosed) {
      if (performance.now() >= this.#retryAt) this.#open()
    }
    return this.#isListening
  }

  #open(): void {
    const stream = open(this.#db)
    this.#stream = stream
    void this.#listen(stream)
  }

  async #listen(stream: ChangeStream<InstanceDoc>): Promise<void> {
    try {
      for (;;) {
        const change = await this.#db.raw(() => stream.tryNext())
        // The first answer is that it is open.
        const isNew = !this.#isListening
        this.#isListening = !stream.closed
        if (stream.closed) break
        this.#failures = 0
        if (isNew || change !== null) this.#tell()
        if (performance.now() - this.#wantedAt > LINGER_MS) break
      }
    } catch {
      this.#failures += 1
      const pauseMs = Math.min(REOPEN_MS * 2 ** (this.#failures - 1), MAX_REOPEN_MS)
      this.#retryAt = performance.now() + pauseMs * (0.5 + Math.random() / 2)
    } finally {
      this.#isListening = false
      this.#stream = null
      await stream.close().catch(() => undefined)
      // What nobody tells of has to be looked for.
      this.#tell()
    }
  }

  /** Ends it; who waits does not hear of anything any more. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#stream?.close().catch(() => undefined)
  }
}

function open(db: Database): ChangeStream<InstanceDoc> {
  return db.instances.watch<InstanceDoc>([...HAS_WORK], {
    maxAwaitTimeMS: Math.min(AWAIT_MS, Math.ceil(db.timeoutMs / 4)),
    readConcern: { level: 'majority' },
  })
}

/** Whether the server has change streams, found out by opening one. */
export async function hasChangeStreams(db: Database): Promise<boolean> {
  // Zero is no limit.
  const { maxPoolSize = 0 } = db.db.client.options
  if (maxPoolSize > 0 && maxPoolSize < MIN_POOL) return false
  const stream = open(db)
  try {
    await db.raw(() => stream.tryNext())
    return true
  } catch (error) {
    // A server without them, or a standalone one, or a user who may not.
    if (!isPassing(error)) return false
    throw toBackendError(error)
  } finally {
    await stream.close().catch(() => undefined)
  }
}
