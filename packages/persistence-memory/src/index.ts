export { InMemoryBackend } from './backend.ts'
export type { InMemoryBackendOptions } from './options.ts'
