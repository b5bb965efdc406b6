import { readdirSync, readFileSync } from 'node:fs'

const folder = new URL('../src/scripts/', import.meta.url)

/** The text of `src/script-sources.ts`, made from the `.lua` files beside it. */
export function scriptSources(): string {
  const files = readdirSync(folder)
    .filter((file) => file.endsWith('.lua'))
    .sort()
  const nameOf = (file: string): string => file.slice(0, -'.lua'.length)
  const sources = files.map((file) => {
    const lua = readFileSync(new URL(file, folder), 'utf8')
    if (/`|\$\{/.test(lua)) throw new Error(`${file} has a character that a template can not hold`)
    const name = nameOf(file)
    const tag = lua.includes('\\') ? 'String.raw' : ''
    return `  ${/^[a-z]+$/.test(name) ? name : `'${name}'`}: ${tag}\`${lua}\`,\n`
  })
  return [
    '// Made from scripts/*.lua by `pnpm generate`: change them, not this file.\n\n',
    '/** A Lua file. */\n',
    'export type SourceName =\n',
    `${files.map((file) => `  | '${nameOf(file)}'`).join('\n')}\n\n`,
    '/** The Lua sources by file name. */\n',
    'export const sources: Readonly<Record<SourceName, string>> = {\n',
    ...sources,
    '}\n',
  ].join('')
}
