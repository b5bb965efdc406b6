import { initial } from './0001-initial.ts'

/** In order; the version of a schema is how many of these it has had. */
export const MIGRATIONS: readonly string[] = [initial]
