import type { Nudge } from '@sayiir/persistence-core/adapter'
import { whileBusy } from './busy.ts'
import type { Connection } from './database.ts'
import type { DatabaseFile } from './database-file.ts'
import { isBusy, isFull, mayHaveRolledBack, toBackendError } from './errors.ts'
import type { Routes } from './routes.ts'
import { Transaction } from './transaction.ts'

/** Milliseconds after which a batch takes no more: the event loop has other work. */
const BATCH_MS = 10

interface Operation {
  readonly work: (transaction: Transaction) => unknown
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
  /** Tells the caller how its last run ended. */
  settle?: () => void
}

/** What a queue works with. */
export interface WriteQueueParts {
  readonly db: Connection
  readonly file: DatabaseFile
  readonly routes: Routes
  /** For those of this process who wait for work. */
  readonly nudge: Nudge
  /** How long an operation waits for the lock. */
  readonly busyTimeoutMs: number
}

/**
 * Write operations that are in flight together share a transaction, so one disk flush, and each
 * still succeeds or fails on its own (rule D10). A lone one starts in the next turn of the event
 * loop. An operation checks first and writes after, so one that fails has written nothing and needs
 * no savepoint; should one fail in the middle, by a full disk say, the batch is rolled back and the
 * others run again without it. How one ended is told once the batch is committed: a conflict may be
 * with another of the batch, which would not stand if that were rolled back.
 */
export class WriteQueue {
  readonly #db: Connection
  readonly #file: DatabaseFile
  readonly #routes: Routes
  readonly #busyTimeoutMs: number
  readonly #nudge: Nudge
  readonly #waiting: Operation[] = []
  #draining = false
  /** Operations that get a transaction of their own, because together they did not fit on the disk. */
  #alone = 0

  constructor({ db, file, routes, nudge, busyTimeoutMs }: WriteQueueParts) {
    this.#db = db
    this.#file = file
    this.#routes = routes
    this.#busyTimeoutMs = busyTimeoutMs
    this.#nudge = nudge
  }

  /** Runs `work` in a transaction, with what else is waiting, and resolves once it is committed. */
  run<T>(work: (transaction: Transaction) => T): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    this.#waiting.push({ work, resolve, reject })
    if (!this.#draining) {
      this.#draining = true
      setImmediate(() => void this.#drain())
    }
    return promise
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Those that come while the database is locked have time of their own.
      const count = this.#waiting.length
      try {
        await whileBusy(this.#busyTimeoutMs, () => this.#runBatch())
      } catch (error) {
        const failed = this.#waiting.splice(0, count)
        for (const { reject } of failed) reject(toBackendError(error))
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#draining = false
  }

  /** Throws, with every operation still waiting, if nothing could be begun or the database is locked. */
  #runBatch(): void {
    const db = this.#db
    this.#file.check()
    db.control('BEGIN IMMEDIATE')
    const taken: Operation[] = []
    let transaction: Transaction
    try {
      transaction = new Transaction(db, this.#routes)
      const end = performance.now() + BATCH_MS
      do {
        const operation = this.#waiting[taken.length] as Operation
        const writes = db.writes
        try {
          const result = operation.work(transaction)
          operation.settle = () => operation.resolve(result as never)
        } catch (error) {
          if (db.writes !== writes || mayHaveRolledBack(error)) {
            this.#abandon(operation, taken.length, error)
            return
          }
          operation.settle = () => operation.reject(toBackendError(error))
        }
        taken.push(operation)
      } while (taken.length < this.#waiting.length && this.#alone === 0 && performance.now() < end)
      transaction.commit()
      // After the commit: what landed in a file that is no longer there is not told as done.
      this.#file.check()
    } catch (error) {
      db.rollback()
      this.#routes.forget()
      if (isBusy(error) || taken.length === 0) throw error
      this.#failed(taken, error)
      return
    }
    this.#alone = Math.max(0, this.#alone - 1)
    this.#waiting.splice(0, taken.length)
    for (const { settle } of taken) settle?.()
    if (transaction.madeAvailable) this.#nudge.nudge()
  }

  /** What could not be committed is rejected, or tried one by one where only some may be too large. */
  #failed(taken: readonly Operation[], error: unknown): void {
    if (isFull(error) && taken.length > 1) {
      this.#alone = taken.length
      return
    }
    this.#alone = Math.max(0, this.#alone - 1)
    this.#waiting.splice(0, taken.length)
    for (const { reject } of taken) reject(toBackendError(error))
  }

  /** Leaves the others waiting, for the next batch. */
  #abandon(operation: Operation, index: number, error: unknown): void {
    this.#db.rollback()
    this.#routes.forget()
    if (isBusy(error)) throw error
    if (isFull(error) && index > 0) {
      // It may be the others that did not fit.
      this.#alone = index + 1
      return
    }
    this.#alone = Math.max(0, this.#alone - 1)
    this.#waiting.splice(index, 1)
    operation.reject(toBackendError(error))
  }
}
