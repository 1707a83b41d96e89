/** WASI's source of random bytes; Envoy provides it. Kept apart: formatters do not know decorators on functions. */

// @ts-ignore: decorator
@external('wasi_snapshot_preview1', 'random_get')
export declare function random_get(at: usize, length: usize): i32;
