import type { BackendOptions, Capabilities, PersistentBackend } from '../backend.ts'

/** How the suite starts and resets a backend. */
export interface ContractHarness {
  /** The backend's name: titles begin with it. */
  readonly name: string
  /**
   * What the backend promises: chooses the positive or the negative test. A test proves that the
   * backend says the same of itself.
   */
  readonly capabilities: Capabilities
  /**
   * A new backend object on a namespace (a key prefix, a schema, a file: what keeps two apart). Two
   * objects on one namespace see the same data, if the backend is `shared` or `durable`; two
   * namespaces never see each other. The suite closes it.
   *
   * @param namespace Letters, digits and underscores, at most 40, fresh for each test.
   */
  connect(namespace: string, options?: BackendOptions): Promise<PersistentBackend>
  /** Removes what a namespace left in the store; called after each test. */
  drop?(namespace: string): Promise<void>
  /**
   * Lets the store's clock pass `ms` milliseconds. Left out: waits in real time; a store whose
   * clock can be moved makes the suite faster.
   */
  elapse?(ms: number): Promise<void>
  /**
   * For a `shared` backend: a module, run by Node in processes of their own, that exports
   * `connect(namespace, options)` as above; tests race them against each other, and kill them.
   */
  readonly processModule?: URL
  /** The driver's own client on a namespace's store, for `fromClient` (rule M2): the suite checks that closing the backend leaves it open. */
  borrow?(namespace: string): Promise<BorrowedClient>
  /**
   * For a store that is set up before it is used, or that has users (rule M5). Left out: there is
   * nothing to set up apart, and `connect` has all privileges that there are.
   */
  readonly leastPrivileges?: LeastPrivileges
}

/** Setting up apart from running, and running with no more privileges than that takes. */
export interface LeastPrivileges {
  /** Sets a namespace up, as a deploy step does, and admits the user that `connect` connects as. May be called again. */
  setUp(namespace: string): Promise<void>
  /**
   * Connects without setting anything up (`migrate: false`): if the store has users, as one with the
   * privileges that the README lists as the least, and no other.
   */
  connect(namespace: string, options?: BackendOptions): Promise<PersistentBackend>
  /**
   * As that user, tries what only those may who set up; the suite checks that it is refused. Left
   * out: the store lets everybody do everything.
   */
  overreach?(namespace: string): Promise<unknown>
}

/** A backend on a client that it does not own. */
export interface BorrowedClient {
  /** Made with `fromClient`. */
  readonly backend: PersistentBackend
  /** Whether the client still works. */
  isOpen(): Promise<boolean>
  /** Closes the client. */
  close(): Promise<void>
}
