/** A binary heap: the smallest item comes out first. */
export class Heap<T> {
  readonly #compare: (a: T, b: T) => number
  #items: T[] = []

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare
  }

  get size(): number {
    return this.#items.length
  }

  /** The smallest item, left in. */
  peek(): T | undefined {
    return this.#items[0]
  }

  push(item: T): void {
    const items = this.#items
    let index = items.length
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = items[parent] as T
      if (this.#compare(above, item) <= 0) break
      items[index] = above
      index = parent
    }
    items[index] = item
  }

  /** The smallest item, taken out. */
  pop(): T | undefined {
    const top = this.#items[0]
    const last = this.#items.pop()
    if (last !== undefined && this.#items.length > 0) this.#sink(0, last)
    return top
  }

  /** Drops every item that is not to be kept. */
  retain(keep: (item: T) => boolean): void {
    this.#items = this.#items.filter(keep)
    for (let index = (this.#items.length >> 1) - 1; index >= 0; index -= 1) {
      this.#sink(index, this.#items[index] as T)
    }
  }

  #sink(from: number, item: T): void {
    const items = this.#items
    let index = from
    for (;;) {
      let child = 2 * index + 1
      if (child >= items.length) break
      const right = child + 1
      if (right < items.length && this.#compare(items[right] as T, items[child] as T) < 0) {
        child = right
      }
      const below = items[child] as T
      if (this.#compare(item, below) <= 0) break
      items[index] = below
      index = child
    }
    items[index] = item
  }
}
