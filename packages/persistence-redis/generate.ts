/** Writes `src/script-sources.ts` from the `.lua` files, which a published package does not have. */
import { writeFileSync } from 'node:fs'
import { scriptSources } from './test/script-sources.ts'

writeFileSync(new URL('./src/script-sources.ts', import.meta.url), scriptSources())
