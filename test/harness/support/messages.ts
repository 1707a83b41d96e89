import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type FileRegistry,
  type Message,
} from '@bufbuild/protobuf';
import { readDescriptors } from '../../../src-ts/schema/descriptors.ts';

let registry: FileRegistry | undefined;

/** The message of proto/ with this full name. */
export function message(name: string): DescMessage {
  registry ??= readDescriptors();
  const found = registry.getMessage(name);
  if (!found) throw new Error(`proto/ has no message ${name}`);
  return found;
}

/** A decoded message: fields by their names in camel case, as protobuf-es has them. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- fields are known by the .proto files only
export type Fields = Record<string, any>;

/** Wire bytes of a message of proto/, `name` being its full name. Fields in camel case, 64-bit numbers as bigint. */
export function encode(name: string, fields: Fields): Uint8Array {
  return toBinary(message(name), create(message(name), fields as never) as Message);
}

export function decode(name: string, bytes: Uint8Array): Fields {
  return fromBinary(message(name), bytes) as unknown as Fields;
}
