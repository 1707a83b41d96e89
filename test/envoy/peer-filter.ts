/**
 * A stand-in for Istio's metadata exchange, which no stock Envoy has: a wasm filter, written by hand, that gives every stream the same
 * peer metadata in the filter state `wasm.downstream_peer`, a value with fields as Istio's own is.
 */
import { create, toBinary } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import binaryen from 'binaryen';
import { bytes } from '../harness/model/wire.ts';
import { concat } from '../harness/model/bytes.ts';

const PROPERTY = 'downstream_peer';
const DECLARE = 'declare_property';
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** envoy.source.extensions.common.wasm.DeclarePropertyArguments: a protobuf message, so that its fields can be asked for. */
const DECLARATION = concat(
  bytes(1, ascii(PROPERTY)),
  Uint8Array.of(3 << 3, 3),
  bytes(4, ascii('type.googleapis.com/google.protobuf.Struct')),
);

/** Texts of labels and fields as a google.protobuf.Struct. */
export type Metadata = { readonly [name: string]: string | Metadata };

export function structOf(metadata: Metadata): Uint8Array {
  const fieldsOf = (from: Metadata): object =>
    Object.fromEntries(
      Object.entries(from).map(([name, value]) => [
        name,
        {
          kind:
            typeof value === 'string'
              ? { case: 'stringValue', value }
              : { case: 'structValue', value: { fields: fieldsOf(value) } },
        },
      ]),
    );
  return toBinary(StructSchema, create(StructSchema, { fields: fieldsOf(metadata) } as never));
}

const escaped = (data: Uint8Array): string =>
  [...data].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('');

function moduleOf(peer: Uint8Array): Uint8Array {
  const name = ascii(PROPERTY);
  const call = ascii(DECLARE);
  const callAt = 64;
  const declarationAt = 128;
  const peerAt = 512;
  const text = `(module
    (import "env" "proxy_call_foreign_function" (func $declare (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 0) "${escaped(name)}")
    (data (i32.const ${callAt}) "${escaped(call)}")
    (data (i32.const ${declarationAt}) "${escaped(DECLARATION)}")
    (data (i32.const ${peerAt}) "${escaped(peer)}")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $declare (i32.const ${callAt}) (i32.const ${call.length})
        (i32.const ${declarationAt}) (i32.const ${DECLARATION.length}) (i32.const 48) (i32.const 52)))
      (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $set (i32.const 0) (i32.const ${name.length}) (i32.const ${peerAt}) (i32.const ${peer.length})))
      (i32.const 0)))`;
  const made = binaryen.parseText(text);
  const binary = made.emitBinary();
  made.dispose();
  return binary;
}

/** The HTTP filter of Envoy's configuration. */
export function peerFilter(peer: Metadata): { name: string; typed_config: object } {
  return {
    name: 'peer',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm',
      config: {
        name: 'peer',
        root_id: 'peer',
        vm_config: {
          vm_id: 'peer',
          runtime: 'envoy.wasm.runtime.v8',
          code: { local: { inline_bytes: Buffer.from(moduleOf(structOf(peer))).toString('base64') } },
        },
      },
    },
  };
}
