/** Stands for bytes that are stored elsewhere; recognised by identity. */
export const STORED_ELSEWHERE: Uint8Array = Object.freeze(new Uint8Array(0))
