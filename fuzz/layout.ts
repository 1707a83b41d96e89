/**
 * Where the instrumented filter keeps its own books, below everything that the filter itself uses:
 *
 *   0           never valid: a null pointer is caught
 *   COVERAGE    one counter per block
 *   SHADOW      one byte per GRANULE bytes of memory: how many of them may be touched, READ_ONLY when they are constants
 *   PROGRAM     the filter's constants, then its heap
 */
export const COVERAGE = 1024;
export const MAX_BLOCKS = 64 * 1024;
export const SHADOW = 128 * 1024;
export const GRANULE = 8;
export const READ_ONLY = 0x80;
/** The memory that an instance may reach; more is reported. */
export const MAX_MEMORY_BYTES = 128 * 1024 * 1024;
export const PROGRAM = SHADOW + MAX_MEMORY_BYTES / GRANULE + 128 * 1024;

/** What `env.violation` is called with. */
export const VIOLATIONS = ['read', 'write', 'too many steps'] as const;
