/** Messages of proto/ compared by what they say, not by how they lie on the wire. */
import {
  fromBinary,
  ScalarType,
  toBinary,
  toJson,
  type DescField,
  type DescMessage,
  type FileRegistry,
} from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { judge, type Judgement, type JudgedMethod } from '../../src-ts/schema/judgement.ts';
import { layOut } from '../../src-ts/schema/layout.ts';
import { bytes, scalar } from '../harness/model/wire.ts';
import type { Way } from '../unit/filter.ts';

const REQUESTS = 'tikvpb.BatchCommandsRequest';
const RESPONSES = 'tikvpb.BatchCommandsResponse';
/** Both batches: the list of messages, the ids that pair them. */
const BATCH_MESSAGES = 1;
const BATCH_IDS = 2;

export interface Batch {
  /** The batch's message. */
  readonly name: string;
  readonly desc: DescMessage;
  /** The field of its entries that holds this kind of message. */
  readonly field: number;
}

/** What proto/ says, for the tests of the oracle. */
export class Messages {
  readonly registry: FileRegistry;
  private readonly methods: ReadonlyMap<string, JudgedMethod>;
  private readonly names: readonly string[];
  private readonly variants: ReadonlyMap<string, string>;

  constructor() {
    this.registry = readDescriptors();
    const judgement: Judgement = judge(this.registry);
    this.methods = new Map(judgement.methods.map((method) => [method.path, method]));
    this.names = layOut(judgement).names;
    this.variants = new Map(judgement.messages.map(({ name, standsFor }) => [name, standsFor]));
  }

  /** @throws Error when proto/ has no such method. */
  method(path: string): JudgedMethod {
    const found = this.methods.get(path);
    if (!found) throw new Error(`proto/ has no method ${path}`);
    return found;
  }

  /** The filter's id of a message. */
  id(name: string): number {
    const id = this.names.indexOf(name);
    if (id < 0) throw new Error(`the filter's tables have no message ${name}`);
    return id;
  }

  name(id: number): string {
    return this.names[id] ?? '';
  }

  /** Upstream's name of a message. */
  standsFor(name: string): string {
    return this.variants.get(name) ?? name;
  }

  desc(name: string): DescMessage {
    const found = this.registry.getMessage(name);
    if (!found) throw new Error(`proto/ has no message ${name}`);
    return found;
  }

  /** How this message travels inside a batch; undefined for those that never do. */
  batch(name: string, way: Way): Batch | undefined {
    const batch = way === 'request' ? REQUESTS : RESPONSES;
    const entry = this.desc(way === 'request' ? `${REQUESTS}.Request` : `${RESPONSES}.Response`);
    const field = entry.fields.find((f) => f.message?.typeName === name);
    return field && { name: batch, desc: this.desc(batch), field: field.number };
  }
}

/** The one message of a batch. */
export function inBatch(batch: Batch, message: Uint8Array, id: number): Uint8Array {
  return Buffer.concat([
    bytes(BATCH_MESSAGES, bytes(batch.field, message)),
    // Packed, as every encoder writes them.
    bytes(BATCH_IDS, scalar(0, id).subarray(1)),
  ]);
}

/**
 * The same message in one certain form: fields in the order of their numbers, none that says nothing.
 * @throws Error when it is no such message.
 */
export function canonical(desc: DescMessage, message: Uint8Array): Uint8Array {
  checkWireTypes(desc, message);
  return toBinary(desc, fromBinary(desc, message));
}

/** `fromBinary` believes the schema and does not look at the wire types; other readers do. */
function checkWireTypes(desc: DescMessage, message: Uint8Array): void {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const field = desc.fields.find((f) => f.number === number);
    if (field) {
      const packed = field.fieldKind === 'list' && type === WireType.LengthDelimited;
      if (type !== wireTypeOf(field) && !packed)
        throw new Error(`${desc.typeName}.${field.name} with the wire type ${type}`);
      if (field.message && field.fieldKind !== 'map') {
        checkWireTypes(field.message, reader.bytes());
        continue;
      }
    }
    reader.skip(type, number);
  }
}

function wireTypeOf(field: DescField): WireType {
  if (field.message || field.fieldKind === 'map') return WireType.LengthDelimited;
  switch (field.scalar) {
    case ScalarType.BYTES:
    case ScalarType.STRING:
      return WireType.LengthDelimited;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}

/** Where two messages part: `path: ours, wanted`, the first few. For people. */
export function explain(
  registry: FileRegistry,
  desc: DescMessage,
  ours: Uint8Array,
  wanted: Uint8Array,
): string {
  const read = (message: Uint8Array): unknown => {
    try {
      return toJson(desc, fromBinary(desc, message), { registry });
    } catch (error) {
      return `not a ${desc.typeName}: ${String(error)}`;
    }
  };
  const found: string[] = [];
  const walk = (path: string, a: unknown, b: unknown): void => {
    if (isObject(a) && isObject(b))
      for (const key of new Set([...Object.keys(a), ...Object.keys(b)]))
        walk(`${path}.${key}`, a[key], b[key]);
    else if (JSON.stringify(a) !== JSON.stringify(b))
      found.push(`${path}: ${shown(a)} instead of ${shown(b)}`);
  };
  walk('', read(ours), read(wanted));
  // What JSON does not show: fields that proto/ does not know, and wire types.
  return found.slice(0, 4).join('; ') || 'they differ in unknown fields or wire types';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
