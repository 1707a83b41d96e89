/** WASI's source of random bytes, which Envoy provides. It has a file of its own because formatters do not know decorators on functions. */

// @ts-ignore: decorator
@external('wasi_snapshot_preview1', 'random_get')
export declare function random_get(at: usize, length: usize): i32;
