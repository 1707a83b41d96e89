/**
 * Modules to compare the filter with: they have its callbacks and do nothing in them, but that one copies every piece of a body out of
 * Envoy and back, and others make one call into Envoy again and again. What they cost is the floor that the ABI sets.
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

/** What a call into Envoy is given: a name and a value that lie in the module's memory, and two places for what comes back. */
const PLACES = {
  path: { at: 64, text: 'connection\\00uri_san_peer_certificate', length: 35 },
  name: { at: 128, text: 'x-bench-tenant', length: 14 },
  value: { at: 192, text: 'alpha', length: 5 },
} as const;

function place(name: keyof typeof PLACES): string {
  return `(i32.const ${PLACES[name].at}) (i32.const ${PLACES[name].length})`;
}

const RESULT = '(i32.const 8) (i32.const 12)';

/** Calls into Envoy that the filter makes, as it makes them, and the callback that they are made in. */
export const HOST_CALLS = {
  'all headers': { in: 'headers', text: `(call $pairs (i32.const 0) ${RESULT})` },
  'a property': { in: 'headers', text: `(call $property ${place('path')} ${RESULT})` },
  'publish a property': { in: 'headers', text: `(call $publish ${place('name')} ${place('value')})` },
  'set a header': { in: 'headers', text: `(call $replace (i32.const 0) ${place('name')} ${place('value')})` },
  'take bytes of a body': {
    in: 'body',
    text: `(call $get (i32.const 0) (i32.const 0) (local.get 1) ${RESULT})`,
  },
  'put bytes of a body': {
    in: 'body',
    // What was there: the other end goes by it.
    first: `(drop (call $get (i32.const 0) (i32.const 0) (local.get 1) ${RESULT}))`,
    text: '(call $set (i32.const 0) (i32.const 0) (local.get 1) (i32.load (i32.const 8)) (i32.load (i32.const 12)))',
  },
} as const;

export type HostCall = keyof typeof HOST_CALLS;

/** The callback `name` that makes a call so many times and does nothing else. */
function repeat(name: string, call: HostCall, times: number): string {
  const { text, first = '' }: { text: string; first?: string } = HOST_CALLS[call];
  return `(func (export "${name}") (param i32 i32 i32) (result i32)
    (local $left i32)
    (global.set $next (i32.const ${ROOM}))
    ${first}
    (local.set $left (i32.const ${times}))
    (loop $again
      ${first === '' ? `(global.set $next (i32.const ${ROOM}))` : ''}
      (drop ${text})
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 0))`;
}

interface Work {
  /** Bodies are taken out and put back. */
  readonly copies?: boolean;
  /** All calls that the filter makes in a unary call are made, once each. */
  readonly likeFilter?: boolean;
  /** Made so often in each stream of a request. */
  readonly call?: { readonly name: HostCall; readonly times: number };
}

/** The callback makes these calls and does nothing else. */
function making(name: string, parameters: number, made: readonly string[]): string {
  return `(func (export "${name}") (param ${'i32 '.repeat(parameters)}) (result i32)
    (global.set $next (i32.const ${ROOM}))
    ${made.map((one) => `(drop ${one})`).join('\n    ')}
    (i32.const 0))`;
}

function allHeaders(map: number): string {
  return `(call $pairs (i32.const ${map}) ${RESULT})`;
}

/** The callbacks of headers and trailers, with what the filter asks Envoy for in each. */
function likeFilter(): string {
  const { 'all headers': all, 'a property': property, 'publish a property': publish } = HOST_CALLS;
  const add = `(call $add (i32.const 0) ${place('name')} ${place('value')})`;
  return [
    making('proxy_on_request_headers', 3, [all.text, property.text, add, publish.text]),
    making('proxy_on_response_headers', 3, [allHeaders(2)]),
    making('proxy_on_response_trailers', 2, [allHeaders(3)]),
  ].join('\n    ');
}

function text({ copies = false, call, likeFilter: like = false }: Work): string {
  const body = (name: string, type: number): string => {
    if (call && type === buffer.request && HOST_CALLS[call.name].in === 'body')
      return repeat(name, call.name, call.times);
    return copies ? copy(name, type) : callback(name, 3, ZERO);
  };
  const headers =
    call && HOST_CALLS[call.name].in === 'headers'
      ? repeat('proxy_on_request_headers', call.name, call.times)
      : callback('proxy_on_request_headers', 3, ZERO);
  const data = Object.values(PLACES).map(({ at, text }) => `(data (i32.const ${at}) "${text}")`);
  return `(module
    (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_property" (func $publish (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") ${PAGES})
    ${data.join('\n    ')}
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
    ${like ? likeFilter() : `${headers} ${callback('proxy_on_response_headers', 3, ZERO)} ${callback('proxy_on_response_trailers', 2, ZERO)}`}
    ${body('proxy_on_request_body', buffer.request)}
    ${callback('proxy_on_request_trailers', 2, ZERO)}
    ${body('proxy_on_response_body', buffer.response)}
    ${callback('proxy_on_delete', 1, '')}
  )`;
}

/** Writes the module that does this work and nothing else. */
export async function writeBareModule(path: string, work: Work = {}): Promise<void> {
  const module = binaryen.parseText(text(work));
  try {
    if (!module.validate()) throw new Error('the bare module is not valid WebAssembly');
    await writeFile(path, module.emitBinary());
  } finally {
    module.dispose();
  }
}
