import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // One that ended and that its parent has not asked about still has its id.
    return process.platform !== 'linux' || processState(pid)[0] !== 'Z'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * Sends a signal to a process and everything that it started, parents first, so that a stopped
 * parent starts no more. PostgreSQL's processes have process groups of their own, so the tree is
 * the only way to reach all of them.
 */
export function signalTree(root: number, signal: NodeJS.Signals): void {
  const children = childrenByParent()
  const pids = [root]
  for (const pid of pids) pids.push(...(children.get(pid) ?? []))
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // It ended in the meantime.
    }
  }
}

function childrenByParent(): Map<number, number[]> {
  const children = new Map<number, number[]>()
  for (const [pid, parent] of process.platform === 'linux' ? fromProc() : fromPs()) {
    children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  return children
}

function fromProc(): [number, number][] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry): [number, number][] => {
      try {
        const [, parent] = processState(Number(entry))
        return [[Number(entry), Number(parent)]]
      } catch {
        return []
      }
    })
}

/** The state, the parent, and so on. */
function processState(pid: number): string[] {
  // The command in parentheses may itself have spaces and parentheses.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '')
  return fields.split(' ')
}

function fromPs(): [number, number][] {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line): [number, number] => {
      const [pid, parent] = line.trim().split(/\s+/)
      return [Number(pid), Number(parent)]
    })
}
