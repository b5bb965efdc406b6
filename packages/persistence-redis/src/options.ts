import type { BackendOptions } from '@sayiir/persistence-core'
import {
  checkBackendOptions,
  checkFlag,
  checkInteger,
  checkObject,
  checkTtl,
} from '@sayiir/persistence-core/adapter'
import type { ClusterNode, ClusterOptions, RedisOptions } from 'ioredis'

/** How many replicas must have a change before it counts. */
export interface WaitReplicas {
  /** 1 or more. */
  readonly count: number
  /** Milliseconds to wait for them; then the call is `UNAVAILABLE`. By default 1,000. */
  readonly timeoutMs?: number
}

/** What a backend takes however its client is made. */
export interface RedisBackendOptions extends BackendOptions {
  /**
   * What every key begins with: two prefixes on one server never see each other. 1 to 100 characters
   * without braces, by default `sayiir:`. A `keyPrefix` of the client's own comes before it.
   */
  readonly keyPrefix?: string
  /**
   * Into how many parts instances are divided, 1 to 1,024. Each is in one slot of a cluster, so that
   * several can be spread over its masters. Decided when the prefix is first used, and kept; by
   * default 1, and 16 in a cluster.
   */
  readonly shards?: number
  /** Sets the prefix up where it is new; by default true. */
  readonly migrate?: boolean
  /** Milliseconds until a call that the server does not answer is `UNAVAILABLE`; by default 5,000. */
  readonly commandTimeoutMs?: number
  /** Milliseconds between two looks of a waiting worker that hears of no work; more than 0, by default 1,000. */
  readonly pollIntervalMs?: number
  /** Waits for replicas after each change. By default for none. */
  readonly waitReplicas?: WaitReplicas
  /** Connects to a server that may drop keys when its memory is full (`maxmemory-policy allkeys-…`); by default false. */
  readonly allowEviction?: boolean
}

/** Where the server is. Exactly one of `url`, `options` and `cluster`. */
export interface RedisConnectOptions extends RedisBackendOptions {
  /** `redis://user:password@host:port/db`, or `rediss://` for TLS. */
  readonly url?: string
  /** Options of ioredis, such as `sentinels` and `name`. */
  readonly options?: RedisOptions
  /** Nodes of a cluster to begin with, and options of ioredis for it. */
  readonly cluster?: {
    readonly nodes: readonly ClusterNode[]
    readonly options?: ClusterOptions
  }
}

/** Options, checked, with their defaults. */
export interface CheckedOptions {
  readonly agingIntervalMs: number
  readonly maxPayloadBytes: number
  readonly keyPrefix: string
  readonly shards: number | null
  readonly migrate: boolean
  readonly commandTimeoutMs: number
  readonly pollIntervalMs: number
  readonly waitReplicas: Required<WaitReplicas> | null
  readonly allowEviction: boolean
}

/** Throws `TypeError`/`RangeError`. */
export function checkOptions(value: unknown): CheckedOptions {
  const from = checkObject(value, 'options')
  const {
    keyPrefix = 'sayiir:',
    shards,
    migrate = true,
    commandTimeoutMs = 5000,
    pollIntervalMs = 1000,
    waitReplicas,
    allowEviction = false,
  } = from
  if (
    typeof keyPrefix !== 'string' ||
    keyPrefix.length > 100 ||
    !keyPrefix.isWellFormed() ||
    !/^[^{}\0]+$/.test(keyPrefix)
  ) {
    throw new TypeError('keyPrefix must be 1 to 100 characters without { and }')
  }
  return {
    ...checkBackendOptions(from),
    keyPrefix,
    shards: shards === undefined ? null : checkInteger(shards, 'shards', 1, 1024),
    migrate: checkFlag(migrate, 'migrate'),
    commandTimeoutMs: checkTtl(commandTimeoutMs, 'commandTimeoutMs'),
    pollIntervalMs: checkTtl(pollIntervalMs, 'pollIntervalMs'),
    waitReplicas: waitReplicas === undefined ? null : checkWaitReplicas(waitReplicas),
    allowEviction: checkFlag(allowEviction, 'allowEviction'),
  }
}

/** Where a client is to connect. */
export type Target =
  | { readonly kind: 'single'; readonly url: string | null; readonly options: RedisOptions }
  | {
      readonly kind: 'cluster'
      readonly nodes: readonly ClusterNode[]
      readonly options: ClusterOptions
    }

/** Throws `TypeError`/`RangeError`. */
export function checkConnectOptions(value: unknown): CheckedOptions & { readonly target: Target } {
  const from = checkObject(value, 'options')
  return { ...checkOptions(from), target: checkTarget(from) }
}

function checkTarget({ url, options, cluster }: Readonly<Record<string, unknown>>): Target {
  if ([url, options, cluster].filter((one) => one !== undefined).length !== 1) {
    throw new TypeError('exactly one of url, options and cluster must be given')
  }
  if (url !== undefined) {
    // Not repeated in the message: it may hold a password.
    if (typeof url !== 'string' || !/^rediss?:\/\//.test(url) || !URL.canParse(url)) {
      throw new TypeError('url must be a redis:// or rediss:// URL')
    }
    return { kind: 'single', url, options: {} }
  }
  if (options !== undefined) {
    return { kind: 'single', url: null, options: checkObject(options, 'options.options') }
  }
  const { nodes, options: clusterOptions = {} } = checkObject(cluster, 'cluster')
  if (!Array.isArray(nodes) || nodes.length === 0) {
    throw new TypeError('cluster.nodes must be an array of at least one node')
  }
  return { kind: 'cluster', nodes, options: checkObject(clusterOptions, 'cluster.options') }
}

function checkWaitReplicas(value: unknown): Required<WaitReplicas> {
  const { count, timeoutMs = 1000 } = checkObject(value, 'waitReplicas')
  return {
    count: checkInteger(count, 'waitReplicas.count', 1),
    timeoutMs: checkTtl(timeoutMs, 'waitReplicas.timeoutMs'),
  }
}
