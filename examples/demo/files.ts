import { readdir, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'

/** Folders that hold what tools made. */
const SKIPPED = new Set(['node_modules', 'dist', 'coverage'])

/** The paths of a folder's files, relative to it and sorted; nothing hidden, nothing that tools made. */
export async function listFiles(directory: string): Promise<string[]> {
  if (!(await stat(directory)).isDirectory())
    throw new Error(`${directory} is not a folder; give one with --dir`)
  const files: string[] = []
  await walk(directory, files)
  return files.map((file) => relative(directory, file)).sort()
}

async function walk(folder: string, files: string[]): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.name.startsWith('.') || SKIPPED.has(entry.name)) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await walk(path, files)
    else if (entry.isFile()) files.push(path)
  }
}
