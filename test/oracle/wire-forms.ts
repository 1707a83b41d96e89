/**
 * How messages lie on the wire when rust-protobuf 2.8 writes them, as TiKV does: its own code reads them and writes them
 * again (test/harness/servers/wire-forms).
 */
import { spawnSync } from 'node:child_process';
import { clone, create, toBinary } from '@bufbuild/protobuf';
import {
  FileDescriptorSetSchema,
  type DescriptorProto,
  type EnumDescriptorProto,
  type FileDescriptorProto,
  type FileDescriptorSet,
} from '@bufbuild/protobuf/wkt';
import { buildTool, buildWireForms } from '../harness/stack/builds.ts';

const MAX_OUTPUT_BYTES = 1 << 30;

/** One message to be read and written again. */
export interface Written {
  /** Full name, such as `kvrpcpb.GetResponse`. */
  readonly message: string;
  readonly bytes: Uint8Array;
}

/** A program that reads messages and writes them again. */
export class Writer {
  private constructor(
    private readonly program: string,
    private readonly args: readonly string[] = [],
  ) {}

  /** TiKV's encoder, for these messages of upstream and all that they hold. */
  static async rust(upstream: FileDescriptorSet, messages: Iterable<string>): Promise<Writer> {
    const set = toBinary(FileDescriptorSetSchema, reachable(upstream, messages));
    return new Writer(await buildWireForms(set));
  }

  /** The embedded store's, which is Go's and answers as TiKV does. */
  static async store(): Promise<Writer> {
    return new Writer(await buildTool('store'), ['wire-forms']);
  }

  /** Each message as the program writes it; undefined where it cannot read it. */
  again(given: readonly Written[]): (Uint8Array | undefined)[] {
    const input = given.map(({ message, bytes }) => `${message} ${Buffer.from(bytes).toString('hex')}\n`);
    const { stdout, stderr, status, error } = spawnSync(this.program, this.args, {
      input: input.join(''),
      encoding: 'utf8',
      maxBuffer: MAX_OUTPUT_BYTES,
    });
    if (error) throw error;
    if (status !== 0) throw new Error(`${this.program} failed with status ${status}: ${stderr}`);
    const lines = stdout.split('\n').slice(0, -1);
    if (lines.length !== given.length)
      throw new Error(`${this.program} gave ${lines.length} answers to ${given.length} messages`);
    return lines.map((line) => {
      if (line.startsWith('no there is no ')) throw new Error(`${this.program}: ${line}`);
      return line.startsWith('ok ') ? Buffer.from(line.slice(3), 'hex') : undefined;
    });
  }
}

/** The files that these messages need, without anything else in them: what is left compiles in seconds. */
function reachable(upstream: FileDescriptorSet, roots: Iterable<string>): FileDescriptorSet {
  const messages = new Map<string, DescriptorProto>();
  /** The outermost type around each type. */
  const outermost = new Map<string, string>();
  const index = (
    scope: string,
    types: DescriptorProto[],
    enums: EnumDescriptorProto[],
    top?: string,
  ): void => {
    for (const { name } of enums) outermost.set(`${scope}.${name}`, top ?? `${scope}.${name}`);
    for (const message of types) {
      const name = `${scope}.${message.name}`;
      messages.set(name, message);
      outermost.set(name, top ?? name);
      index(name, message.nestedType, message.enumType, top ?? name);
    }
  };
  for (const file of upstream.file) index(file.package, file.messageType, file.enumType);

  const wanted = new Set<string>();
  const want = (name: string): void => {
    const top = outermost.get(name);
    if (top === undefined) throw new Error(`upstream has no ${name}`);
    if (wanted.has(top)) return;
    wanted.add(top);
    const all = (message: DescriptorProto): void => {
      for (const field of message.field) if (field.typeName !== '') want(field.typeName.slice(1));
      message.nestedType.forEach(all);
    };
    const message = messages.get(top);
    if (message) all(message);
  };
  for (const root of roots) want(root);

  const files: FileDescriptorProto[] = [];
  for (const file of upstream.file) {
    const kept = clone(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file] })).file[0]!;
    kept.messageType = kept.messageType.filter(({ name }) => wanted.has(`${file.package}.${name}`));
    kept.enumType = kept.enumType.filter(({ name }) => wanted.has(`${file.package}.${name}`));
    kept.service = [];
    kept.extension = [];
    // Options that say how to generate Go and Rust, and what only they import.
    delete kept.options;
    delete kept.sourceCodeInfo;
    kept.dependency = [];
    if (kept.messageType.length + kept.enumType.length > 0) files.push(kept);
  }
  return create(FileDescriptorSetSchema, { file: files });
}
