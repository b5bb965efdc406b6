import { MultiBar, type SingleBar } from 'cli-progress'

/** A live bar in a terminal, plain lines elsewhere. */
export class Progress {
  readonly #total: number
  readonly #bars: MultiBar | null
  readonly #bar: SingleBar | null
  #toldTenths = 0

  constructor(total: number) {
    this.#total = total
    this.#bars = process.stdout.isTTY
      ? new MultiBar({
          format: '  {bar} {value}/{total} runs · {commits} steps · {workers} workers',
          barCompleteChar: '█',
          barIncompleteChar: '░',
          barsize: 32,
          hideCursor: true,
          stream: process.stdout,
        })
      : null
    this.#bar = this.#bars?.create(total, 0, { commits: 0, workers: 0 }) ?? null
  }

  /** Shows how far it is. */
  update(completed: number, commits: number, workers: number): void {
    this.#bar?.update(completed, { commits, workers })
    const tenths = Math.floor((completed / this.#total) * 10)
    if (this.#bar === null && tenths > this.#toldTenths) {
      this.#toldTenths = tenths
      console.log(`  ${completed}/${this.#total} runs · ${commits} steps · ${workers} workers`)
    }
  }

  /** Says that something happened. */
  say(line: string): void {
    if (this.#bars === null) console.log(`  ${line}`)
    else this.#bars.log(`  ${line}\n`)
  }

  stop(): void {
    this.#bars?.stop()
  }
}
