import type { BackendOptions } from '@sayiir/persistence-core'
import { MongoBackend, type MongoConnectOptions } from '@sayiir/persistence-mongo'
import { type Collection, type Db, type Document, MongoClient } from 'mongodb'
import { inject } from 'vitest'
import { DATABASE } from './process.ts'

let namespaces = 0

/** A namespace on the tests' server, with a look behind the backend. */
export class TestCollections implements AsyncDisposable {
  readonly prefix: string
  readonly url: string
  readonly client: MongoClient
  readonly #backends: MongoBackend[] = []

  constructor(url: string = inject('mongodb').url) {
    namespaces += 1
    this.prefix = `f${process.pid}_${Date.now().toString(36)}_${namespaces}_`
    this.url = url
    this.client = new MongoClient(url)
  }

  get db(): Db {
    return this.client.db(DATABASE)
  }

  get instances(): Collection<Document & { _id: string }> {
    return this.db.collection(`${this.prefix}instances`)
  }

  get parts(): Collection<Document & { _id: string }> {
    return this.db.collection(`${this.prefix}parts`)
  }

  get meta(): Collection<Document & { _id: string }> {
    return this.db.collection(`${this.prefix}meta`)
  }

  get options(): MongoConnectOptions {
    return { url: this.url, database: DATABASE, collectionPrefix: this.prefix }
  }

  async open(options?: Partial<MongoConnectOptions> & BackendOptions): Promise<MongoBackend> {
    const backend = await MongoBackend.connect({ ...this.options, ...options })
    this.#backends.push(backend)
    return backend
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#backends.map((backend) => backend.close()))
    for (const collection of [this.instances, this.parts, this.meta])
      await collection.drop().catch(() => undefined)
    await this.client.close()
  }
}
