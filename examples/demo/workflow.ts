import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import {
  type AvailableTask,
  createSnapshot,
  type TaskOutcome,
  taskIdFromName,
  type WorkflowSnapshot,
} from '@sayiir/persistence-core'

/** Changes with the shape of the workflow, so that no worker takes up a run of another shape. */
export const DEFINITION_HASH: string = taskIdFromName('file-report-v1')

/** What a run finds out about its file. */
export interface FileReport {
  readonly path: string
  readonly bytes: number
  readonly sha256: string
  readonly gzipBytes: number
  readonly lines: number
  readonly words: number
}

/** The run of one file, at its first task. */
export function fileRun(path: string): WorkflowSnapshot {
  return createSnapshot({
    instanceId: instanceIdOf(path),
    definitionHash: DEFINITION_HASH,
    initialInput: encode({ path }),
    position: { kind: 'at-task', taskId: 'read' },
  })
}

/** Ids have 256 bytes at most; a longer path goes by its hash. */
export function instanceIdOf(path: string): string {
  return Buffer.byteLength(path) <= 240 ? `file:${path}` : `file:${taskIdFromName(path)}`
}

/**
 * One task of the workflow:
 *
 *     read ─┬─ compress ──────┬─ report ─ (a delay) ─ publish ─ end
 *           ├─ lines ─ words ─┘             fails at first for some files and is retried
 *
 * It computes from its input alone, so that running it twice gives the same result.
 */
export async function execute(task: AvailableTask, directory: string): Promise<TaskOutcome> {
  switch (task.taskId) {
    case 'read': {
      const { path } = decode<{ path: string }>(task.input)
      const content = await readFile(join(directory, path))
      const sha256 = createHash('sha256').update(content).digest('hex')
      return {
        kind: 'completed',
        output: encode({ path, bytes: content.length, sha256 }),
        next: {
          position: {
            kind: 'at-fork',
            forkId: 'measure',
            pendingTasks: [{ taskId: 'compress' }, { taskId: 'lines', branch: 'count' }],
            join: { taskId: 'report' },
          },
        },
      }
    }
    case 'compress': {
      const read = decode<{ path: string }>(task.input)
      const gzipBytes = await gzipSize(await readFile(join(directory, read.path)))
      return { kind: 'completed', output: encode({ ...read, gzipBytes }), next: { branch: null } }
    }
    case 'lines': {
      const { path } = decode<{ path: string }>(task.input)
      const lines = countLines(await readFile(join(directory, path)))
      return {
        kind: 'completed',
        output: encode({ path, lines }),
        next: { branch: { taskId: 'words' } },
      }
    }
    case 'words': {
      const { path, lines } = decode<{ path: string; lines: number }>(task.input)
      const words = countWords(await readFile(join(directory, path)))
      return { kind: 'completed', output: encode({ path, lines, words }), next: { branch: null } }
    }
    case 'report': {
      const parts = [...task.branches.values()].map(({ output }) =>
        decode<Partial<FileReport>>(output),
      )
      return {
        kind: 'completed',
        output: encode(Object.assign({}, ...parts)),
        next: {
          position: { kind: 'at-delay', delayId: 'settle', delayMs: 50, nextTaskId: 'publish' },
        },
      }
    }
    case 'publish': {
      const report = decode<{ path: string }>(task.input)
      if (task.attempt === 1 && failsAtFirst(report.path)) {
        return { kind: 'retry', error: 'the publisher is busy', delayMs: 100, maxAttempts: 5 }
      }
      return { kind: 'completed', output: task.input, next: { finalOutput: task.input } }
    }
    default:
      return { kind: 'failed', error: `there is no task ${task.taskId}` }
  }
}

/** What every run must come to, computed directly: no store, no workers, no steps. */
export async function calculateDirectly(path: string, directory: string): Promise<FileReport> {
  const content = await readFile(join(directory, path))
  return {
    path,
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    lines: countLines(content),
    words: countWords(content),
    gzipBytes: await gzipSize(content),
  }
}

/** How often the store must have changed a run: its creation, six tasks, the delay, and the retry of some. */
export function expectedRevision(path: string): number {
  return 1 + 6 + 1 + (failsAtFirst(path) ? 1 : 0)
}

/** Whether the last task of this file's run fails at its first attempt: every fourth does. */
export function failsAtFirst(path: string): boolean {
  return createHash('sha256').update(path).digest().readUInt8(0) % 4 === 0
}

async function gzipSize(content: Uint8Array): Promise<number> {
  return (await promisify(gzip)(content, { level: 9 })).length
}

function countLines(content: Uint8Array): number {
  return content.reduce((lines, byte) => lines + (byte === 0x0a ? 1 : 0), 0)
}

function countWords(content: Uint8Array): number {
  return new TextDecoder().decode(content).match(/\S+/gu)?.length ?? 0
}

/** JSON in a payload: the store does not look inside. */
export function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

/** The JSON of a payload. */
export function decode<T>(payload: Uint8Array): T {
  return JSON.parse(new TextDecoder().decode(payload)) as T
}
