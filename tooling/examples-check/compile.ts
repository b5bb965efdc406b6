import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Example } from './example.ts'

/** As strict as the project itself, but a reader may define what is not used, and exports nothing. */
const config = {
  extends: '@sayiir/typescript-config/base.json',
  compilerOptions: {
    declaration: false,
    isolatedDeclarations: false,
    noUnusedLocals: false,
    noUnusedParameters: false,
  },
  include: ['*.ts'],
}

/** As strict as most projects are: then `const [first] = …` is never undefined, and can not become so. */
const plainConfig = {
  extends: './tsconfig.json',
  compilerOptions: { noUncheckedIndexedAccess: false },
}

/** What the compiler says of all examples. */
export interface Compilation {
  /** By example: lines such as `README.md:12: error TS2304: …`. */
  readonly problems: ReadonlyMap<Example, readonly string[]>
  /** What is wrong with anything else. */
  readonly others: readonly string[]
}

/** Examples on the disk, each in a module of its own, until it is disposed of. */
export class Modules implements AsyncDisposable {
  readonly #folder: string
  readonly #examples: ReadonlyMap<string, Example>

  private constructor(folder: string, examples: readonly Example[]) {
    this.#folder = folder
    this.#examples = new Map(examples.map((example) => [this.pathOf(example), example]))
  }

  /** Writes them to a folder inside this package, so that they resolve what it depends on. */
  static async write(examples: readonly Example[]): Promise<Modules> {
    const folder = await mkdtemp(join(import.meta.dirname, '.examples-'))
    const modules = new Modules(folder, examples)
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
    await writeFile(join(folder, 'tsconfig.plain.json'), JSON.stringify(plainConfig))
    for (const example of examples) {
      // Lines have the numbers that they have in the document.
      const code = `${'\n'.repeat(example.line - 1)}${example.code}\n`
      await writeFile(modules.pathOf(example), code)
    }
    return modules
  }

  pathOf({ file, line }: Example): string {
    return join(this.#folder, `${file.replaceAll(/[^A-Za-z0-9.-]/g, '_')}.${line}.ts`)
  }

  /** Type-checks all of them, in a run for each configuration. */
  async compile(): Promise<Compilation> {
    const runs = [
      await tsc(this.#folder, 'tsconfig.json'),
      await tsc(this.#folder, 'tsconfig.plain.json'),
    ]
    const output = runs.map((one) => one.output).join('\n')
    const code = Math.max(...runs.map((one) => one.code))
    const problems = new Map<Example, string[]>()
    const others: string[] = []
    const lines = new Set(output.split(/\r?\n/))
    for (const line of lines) {
      if (!/\berror TS\d+:/.test(line)) continue
      const [, file = '', number = '', text = ''] = /^(.+?)\((\d+),\d+\): (.*)$/.exec(line) ?? []
      const example = this.#examples.get(join(this.#folder, file))
      if (example === undefined) others.push(line)
      else problems.set(example, [...(problems.get(example) ?? []), place(example, number, text)])
    }
    if (code !== 0 && problems.size === 0 && others.length === 0) {
      others.push(`tsc ended with exit code ${code}: ${output}`)
    }
    return { problems, others }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true })
  }
}

function place({ file }: Example, line: string, message: string): string {
  return `${file}:${line}: ${message}`
}

async function tsc(cwd: string, project: string): Promise<{ code: number; output: string }> {
  const child = spawn(
    join(import.meta.dirname, 'node_modules/.bin/tsc'),
    ['-p', project, '--pretty', 'false'],
    {
      cwd,
      shell: process.platform === 'win32',
    },
  )
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code: code ?? 1, output }))
  })
}
