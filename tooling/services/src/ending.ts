/** Aborted when this process is to end: whatever takes long stops then, half done. */
export const ending: AbortController = new AbortController()
