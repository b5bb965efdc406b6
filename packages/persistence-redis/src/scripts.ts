import { createHash } from 'node:crypto'
import { type SourceName, sources } from './script-sources.ts'

/** An operation on the server. */
export type ScriptName = Exclude<
  SourceName,
  | 'prelude'
  | 'plain'
  | 'plain-claims'
  | 'plain-news'
  | 'queue'
  | 'dispatch'
  | 'results'
  | 'events'
  | 'removal'
  | 'late'
>

/** What a script is made of, and how the server is to treat it. */
interface ScriptPlan {
  /** Shared parts, in order. */
  readonly parts: readonly SourceName[]
  /** Shared parts that are made only where `later` is called, which gives what the last one returns. */
  readonly later?: readonly SourceName[]
  /** `no-writes`: only reads; `allow-oom`: runs even when the server's memory is full. */
  readonly flags?: 'no-writes' | 'allow-oom'
}

const dispatch: readonly SourceName[] = ['prelude', 'queue', 'dispatch']

const plans: Readonly<Record<ScriptName, ScriptPlan>> = {
  'change-claim': { parts: ['prelude', 'queue'], flags: 'allow-oom' },
  'claim-available': { parts: ['plain', 'plain-claims'], later: [...dispatch, 'late'] },
  'claim-task': { parts: dispatch },
  commit: { parts: ['plain', 'plain-claims', 'plain-news'], later: [...dispatch, 'late'] },
  create: { parts: ['plain', 'plain-news'] },
  due: { parts: [], flags: 'no-writes' },
  ended: { parts: ['prelude'], flags: 'no-writes' },
  'find-available': { parts: dispatch, flags: 'allow-oom' },
  list: { parts: ['prelude'], flags: 'no-writes' },
  look: { parts: dispatch, flags: 'allow-oom' },
  'note-next': { parts: ['prelude', 'results'], flags: 'allow-oom' },
  prune: { parts: ['prelude', 'queue', 'removal'], flags: 'allow-oom' },
  read: { parts: ['prelude'], flags: 'no-writes' },
  'read-commit': { parts: ['prelude'], flags: 'no-writes' },
  'read-event': { parts: ['prelude'], flags: 'no-writes' },
  'read-outputs': { parts: ['prelude'], flags: 'no-writes' },
  'read-whole': { parts: ['prelude'], flags: 'no-writes' },
  remove: { parts: ['prelude', 'queue', 'removal'], flags: 'allow-oom' },
  'set-up': { parts: [] },
  start: { parts: [] },
  stats: { parts: dispatch, flags: 'allow-oom' },
  'take-event': { parts: ['prelude', 'events'], flags: 'allow-oom' },
  tidy: { parts: ['prelude'], flags: 'allow-oom' },
  write: { parts: [...dispatch, 'results', 'events'] },
}

/** A script as it is sent. */
export interface Script {
  readonly name: ScriptName
  readonly source: string
  readonly sha: string
  /** Whether it changes anything. */
  readonly writes: boolean
}

function compose(name: ScriptName): Script {
  const { parts, later, flags } = plans[name]
  // Without `allow-oom` a server whose memory is full refuses the whole script before it begins.
  const header = flags === undefined ? '#!lua' : `#!lua flags=${flags}`
  const lines = [header]
  if (later !== undefined) {
    lines.push('local function later()', ...later.map((part) => sources[part]), 'end')
  }
  const source = [...lines, ...parts.map((part) => sources[part]), sources[name]].join('\n')
  const sha = createHash('sha1').update(source).digest('hex')
  return { name, source, sha, writes: flags !== 'no-writes' }
}

/** Every script. */
export const scripts: Readonly<Record<ScriptName, Script>> = Object.fromEntries(
  (Object.keys(plans) as ScriptName[]).map((name) => [name, compose(name)]),
) as Record<ScriptName, Script>
