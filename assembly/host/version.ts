/** The version in package.json. `src-ts/wasm/compiler.ts` writes it here while it compiles. */
export const VERSION: string = '<version>';
