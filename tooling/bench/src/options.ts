import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { FULL, QUICK, type Sizes } from './sizes.ts'

/** What the command line asks for. */
export interface Options {
  readonly repetitions: number
  readonly sizes: Sizes
  readonly peers: boolean
  /** Where chart and figures go. */
  readonly folder: string
  /** Nothing is left out or made smaller. */
  readonly whole: boolean
  /** Whether a case is to be measured. */
  wants(id: string): boolean
}

export const USAGE: string = `Options:
  --only W1:batch50,S6   cases whose id has all the words of one of these (words end at : or space)
  --reps 5               repetitions, 3 by default, 1 with --quick
  --quick                small sizes
  --depths 1000,100000   pending instances of W4, ascending
  --jobs 5000            jobs of W1
  --peers                other libraries too
  --out folder           where chart and figures go`

/**
 * Reads a benchmark's arguments.
 *
 * @throws `TypeError` for wrong ones.
 */
export function readOptions(args: readonly string[], own: Partial<Sizes> = {}): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', default: '' },
      reps: { type: 'string' },
      quick: { type: 'boolean', default: false },
      depths: { type: 'string' },
      jobs: { type: 'string' },
      peers: { type: 'boolean', default: false },
      out: { type: 'string', default: join(import.meta.dirname, '../../../.reports/bench') },
    },
  })
  const full = { ...FULL, ...own }
  return {
    repetitions: values.reps === undefined ? (values.quick ? 1 : 3) : wholeNumber(values.reps),
    sizes: {
      ...(values.quick ? smaller(full, QUICK) : full),
      ...(values.depths && { depths: values.depths.split(',').map(wholeNumber) }),
      ...(values.jobs && { jobs: wholeNumber(values.jobs) }),
    },
    peers: values.peers,
    folder: values.out,
    whole: values.only === '' && !values.quick && values.depths === undefined,
    wants: (id) => matches(id, values.only),
  }
}

/** The smaller of each. */
export function smaller(one: Sizes, other: Sizes): Sizes {
  const depths = one.depths.filter((depth) => depth <= Math.max(...other.depths))
  const numbers = Object.entries(other)
    .filter(([name]) => name !== 'depths')
    .map(([name, value]) => [name, Math.min(value, one[name as Exclude<keyof Sizes, 'depths'>])])
  return { ...Object.fromEntries(numbers), depths: depths.length > 1 ? depths : other.depths }
}

function matches(id: string, only: string): boolean {
  const words = (text: string): string[] => text.split(/[:\s]+/).filter(Boolean)
  const has = new Set(words(id))
  return only === '' || only.split(',').some((part) => words(part).every((word) => has.has(word)))
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new TypeError(`${text} is no whole number above 0`)
  return Number(text)
}
