/**
 * Two modules to compare the filter with: they have its callbacks and do nothing in them, but that one copies every piece of a body out
 * of Envoy and back. What they cost is the floor that the ABI sets.
 */
import { writeFile } from 'node:fs/promises';
import binaryen from 'binaryen';

/** Bodies of bytes are copied to here; one piece is never longer than Envoy's read buffers. */
const ROOM = 1024;
const PAGES = 512;

const buffer = { request: 0, response: 1 } as const;

function callback(name: string, parameters: number, result: string): string {
  return `(func (export "${name}") (param ${'i32 '.repeat(parameters)}) ${result})`;
}

/** Takes a piece of a body out and puts it back. */
function copy(name: string, type: number): string {
  return `(func (export "${name}") (param i32 i32 i32) (result i32)
    (global.set $next (i32.const ${ROOM}))
    (drop (call $get (i32.const ${type}) (i32.const 0) (local.get 1) (i32.const 8) (i32.const 12)))
    (drop (call $set (i32.const ${type}) (i32.const 0) (local.get 1) (i32.load (i32.const 8)) (i32.load (i32.const 12))))
    (i32.const 0))`;
}

const ZERO = '(result i32) (i32.const 0)';
const ONE = '(result i32) (i32.const 1)';

function text(copies: boolean): string {
  const body = (name: string, type: number): string => (copies ? copy(name, type) : callback(name, 3, ZERO));
  return `(module
    (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") ${PAGES})
    (global $next (mut i32) (i32.const ${ROOM}))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $next))
      (global.set $next (i32.and (i32.add (i32.add (local.get $at) (local.get 0)) (i32.const 7)) (i32.const -8)))
      (local.get $at))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "_initialize"))
    ${callback('proxy_on_context_create', 2, '')}
    ${callback('proxy_on_vm_start', 2, ONE)}
    ${callback('proxy_on_configure', 2, ONE)}
    ${callback('proxy_on_request_headers', 3, ZERO)}
    ${body('proxy_on_request_body', buffer.request)}
    ${callback('proxy_on_request_trailers', 2, ZERO)}
    ${callback('proxy_on_response_headers', 3, ZERO)}
    ${body('proxy_on_response_body', buffer.response)}
    ${callback('proxy_on_response_trailers', 2, ZERO)}
    ${callback('proxy_on_done', 1, ONE)}
    ${callback('proxy_on_delete', 1, '')}
  )`;
}

/** Writes the module; `copies` says whether it takes bodies out and puts them back. */
export async function writeBareModule(path: string, copies: boolean): Promise<void> {
  const module = binaryen.parseText(text(copies));
  try {
    if (!module.validate()) throw new Error('the bare module is not valid WebAssembly');
    await writeFile(path, module.emitBinary());
  } finally {
    module.dispose();
  }
}
