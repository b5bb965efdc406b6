import { BackendError, type BackendErrorCode } from '@sayiir/persistence-core'

/** What a reply that begins with this word becomes, and what to do. */
const BY_REPLY: Readonly<Record<string, readonly [BackendErrorCode, string]>> = {
  OOM: [
    'UNAVAILABLE',
    "the server's memory is full (maxmemory) and nothing of this was written: prune, or give it more",
  ],
  LOADING: ['UNAVAILABLE', 'the server is loading its data; try again'],
  BUSY: ['UNAVAILABLE', 'the server is busy with a script; try again'],
  CLUSTERDOWN: ['UNAVAILABLE', 'the cluster is down, or a part of it'],
  MASTERDOWN: ['UNAVAILABLE', "the server's link to its master is down"],
  TRYAGAIN: ['UNAVAILABLE', 'the keys are being moved to another node; try again'],
  MOVED: ['UNAVAILABLE', 'the keys are on another node of a cluster; connect with `cluster`'],
  ASK: ['UNAVAILABLE', 'the keys are on another node of a cluster; connect with `cluster`'],
  READONLY: ['UNAVAILABLE', 'the server is a replica; connect to the master'],
  NOREPLICAS: ['UNAVAILABLE', 'the server has too few good replicas to accept writes'],
  MISCONF: [
    'UNAVAILABLE',
    'the server refuses writes because it can not save them to its disk; check the disk',
  ],
  NOAUTH: ['BACKEND', 'the server asks for a password'],
  WRONGPASS: ['BACKEND', 'the server refused the user name or password'],
  NOPERM: ['BACKEND', 'the user lacks a permission; see the least privileges in the README'],
  CROSSSLOT: [
    'BACKEND',
    "the keys are not in one slot: is there a '}' or '{' in the client's keyPrefix?",
  ],
  WRONGTYPE: ['SCHEMA', 'a key of that name is not ours; choose another keyPrefix'],
}

const NOT_EXECUTED =
  /^(TRYAGAIN|CLUSTERDOWN|LOADING|MASTERDOWN|BUSY|READONLY|MOVED|ASK) |Too many Cluster redirections|^All keys in the pipeline should belong/
const CONNECTION =
  /Connection is closed|Stream isn't writeable|Command timed out|Cluster is ended|Failed to refresh slots cache|None of startup nodes|max retries per request|max number of clients|sentinels are unreachable|Socket timeout|connect ETIMEDOUT|Command aborted|Too many Cluster redirections|Cluster isn't ready|No node|All keys in the pipeline/i

/** Whether the server has no such script (any more). */
export function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}

/** Whether the server certainly did nothing, or may have and can tell when it is asked again. */
export function mayBeSentAgain(error: unknown): boolean {
  return error instanceof Error && (NOT_EXECUTED.test(error.message) || isConnectionError(error))
}

function isConnectionError(error: Error): boolean {
  const { code } = error as Error & { code?: unknown }
  return (
    CONNECTION.test(error.message) ||
    error.name === 'MaxRetriesPerRequestError' ||
    error.name === 'ClusterAllFailedError' ||
    error.name === 'AbortError' ||
    (typeof code === 'string' && /^(E[A-Z]+|ERR_SOCKET.*|ERR_STREAM.*)$/.test(code))
  )
}

/** A driver's error as a {@link BackendError}; any other error as it is. */
export function toBackendError(error: unknown): unknown {
  if (!(error instanceof Error) || BackendError.is(error)) return error
  if (error.name === 'ReplyError') {
    const [word = ''] = error.message.split(' ')
    const [code, message] = BY_REPLY[word] ?? ['BACKEND', 'the server refused a command']
    return new BackendError(code, `${message} (${told(error)})`, { cause: withoutSecrets(error) })
  }
  if (isConnectionError(error)) {
    return new BackendError('UNAVAILABLE', `the server can not be reached (${told(error)})`, {
      cause: withoutSecrets(error),
    })
  }
  return error
}

/**
 * Why a client could not connect: the call itself only says that the connection was closed.
 *
 * @param told What the client last told as an event; it may be that a password was refused.
 */
export function whyNotConnected(error: unknown, told: Error | null): unknown {
  const reason = BackendError.is(error, 'UNAVAILABLE') ? toBackendError(told) : null
  return BackendError.is(reason) ? reason : error
}

/** The server did not answer in time. */
export function timedOut(ms: number): BackendError {
  return new BackendError(
    'UNAVAILABLE',
    `the server did not answer within ${ms} ms; whether a change was made is not known`,
  )
}

/** The driver's own words, without the script's text and with no more than a line. */
function told(error: Error): string {
  const [line = ''] = error.message.split('\n')
  return line.replace(/ ?script: [0-9a-f]{40}.*$/, '').slice(0, 200)
}

/** The arguments of a command may be payloads, and those of AUTH and HELLO a password. */
function withoutSecrets(error: Error): Error {
  const { command } = error as Error & { command?: { name?: unknown } }
  if (command !== undefined) {
    Object.defineProperty(error, 'command', { value: { name: command.name }, enumerable: true })
  }
  return error
}
