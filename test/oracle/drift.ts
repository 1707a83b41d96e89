/** Where proto/ and upstream's descriptors differ in what the filter relies on. */
import type { FileRegistry } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type DescriptorProto,
  type FieldDescriptorProto,
  type FileDescriptorSet,
} from '@bufbuild/protobuf/wkt';
import { judge, type JudgedMessage, type JudgedMethod } from '../../src-ts/schema/judgement.ts';

/** Upstream has it and proto/ has not; proto/ has it and upstream has not; both have it and it is not the same. */
export type Kind = 'new' | 'gone' | 'changed';

export interface Difference {
  readonly kind: Kind;
  /** A method's path, or `package.Message.field`. */
  readonly what: string;
  readonly how: string;
}

/** What is otherwise than upstream on purpose: names as in `Difference.what`, with the reasons. */
export interface Exceptions {
  readonly leftOut: Readonly<Record<string, string>>;
  readonly oursAlone: Readonly<Record<string, string>>;
}

/** Any message may stand where proto/ does not read it. */
const UNREAD = 'mesh.Unread';

/** Upstream's name of one of our messages. */
type Named = (name: string) => string;

interface Method {
  readonly request: string;
  readonly response: string;
  readonly streams: string;
}

interface Upstream {
  readonly methods: ReadonlyMap<string, Method>;
  readonly messages: ReadonlyMap<string, DescriptorProto>;
}

/**
 * Compares proto/ with upstream: every method, and every field of the messages that mapped methods reach.
 * @throws Error when `ours` is not a complete judgement (see judge).
 */
export function drift(ours: FileRegistry, theirs: FileDescriptorSet, exceptions: Exceptions): Difference[] {
  const upstream = indexed(theirs);
  const judgement = judge(ours);
  const differences = new Differences(exceptions);
  const variants = new Map(judgement.messages.map((message) => [message.name, message.standsFor]));
  const named: Named = (name) => variants.get(name) ?? name;
  compareMethods(judgement.methods, upstream, named, differences);
  for (const message of judgement.messages) {
    const fields = ours.getMessage(message.name)?.fields.map((field) => field.proto) ?? [];
    compareMessage(message, fields, upstream, named, differences);
  }
  return differences.all();
}

/** One difference a line, sorted: what is new first. */
export function listOf(differences: readonly Difference[]): string {
  return differences.map(({ kind, what, how }) => `${kind.padEnd(8)}${what}: ${how}`).join('\n');
}

class Differences {
  private readonly found: Difference[] = [];
  private readonly used = new Set<string>();

  constructor(private readonly exceptions: Exceptions) {}

  add(kind: Kind, what: string, how: string): void {
    const excepted =
      kind === 'new' ? this.exceptions.leftOut : kind === 'gone' ? this.exceptions.oursAlone : undefined;
    if (excepted !== undefined && Object.hasOwn(excepted, what)) this.used.add(what);
    else this.found.push({ kind, what, how });
  }

  all(): Difference[] {
    const { leftOut, oursAlone } = this.exceptions;
    const idle = [...Object.keys(leftOut), ...Object.keys(oursAlone)].filter((what) => !this.used.has(what));
    const stale = idle.map((what): Difference => ({
      kind: 'gone',
      what,
      how: 'is listed as an exception and makes no difference',
    }));
    const order: Kind[] = ['new', 'gone', 'changed'];
    return [...this.found, ...stale].sort(
      (a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || (a.what < b.what ? -1 : 1),
    );
  }
}

function indexed(set: FileDescriptorSet): Upstream {
  const methods = new Map<string, Method>();
  const messages = new Map<string, DescriptorProto>();
  const enter = (scope: string, message: DescriptorProto): void => {
    const name = `${scope}.${message.name}`;
    if (messages.has(name)) throw new Error(`upstream defines ${name} twice`);
    messages.set(name, message);
    for (const nested of message.nestedType) enter(name, nested);
  };
  for (const file of set.file) {
    for (const message of file.messageType) enter(file.package, message);
    for (const service of file.service)
      for (const method of service.method)
        methods.set(`/${file.package}.${service.name}/${method.name}`, {
          request: bare(method.inputType),
          response: bare(method.outputType),
          streams: streams(method.clientStreaming, method.serverStreaming),
        });
  }
  return { methods, messages };
}

/** Descriptors write full names with a dot in front. */
function bare(typeName: string): string {
  return typeName.replace(/^\./, '');
}

function streams(client: boolean, server: boolean): string {
  return `${client ? 'a stream of requests' : 'one request'}, ${server ? 'a stream of answers' : 'one answer'}`;
}

function compareMethods(
  ours: readonly JudgedMethod[],
  upstream: Upstream,
  named: Named,
  differences: Differences,
): void {
  const paths = new Set(ours.map((method) => method.path));
  for (const path of upstream.methods.keys())
    if (!paths.has(path)) differences.add('new', path, 'a method that has no decision');
  for (const method of ours) {
    const theirs = upstream.methods.get(method.path);
    if (theirs === undefined) {
      differences.add('gone', method.path, 'upstream has no such method');
      continue;
    }
    const shape = streams(method.clientStreaming, method.serverStreaming);
    if (shape !== theirs.streams)
      differences.add('changed', method.path, `has ${shape}; upstream ${theirs.streams}`);
    for (const side of ['request', 'response'] as const) {
      const message = method[side];
      if (message === undefined) continue;
      const name = named(message);
      if (name !== theirs[side])
        differences.add('changed', method.path, `its ${side} is ${name}; upstream ${theirs[side]}`);
    }
  }
}

function compareMessage(
  message: JudgedMessage,
  ours: readonly FieldDescriptorProto[],
  upstream: Upstream,
  named: Named,
  differences: Differences,
): void {
  const theirs = upstream.messages.get(message.standsFor);
  if (theirs === undefined) {
    differences.add('gone', message.name, `upstream has no message ${message.standsFor}`);
    return;
  }
  const met = new Set<FieldDescriptorProto>();
  for (const our of ours) {
    const what = `${message.name}.${our.name}`;
    const their =
      theirs.field.find((f) => f.name === our.name) ?? theirs.field.find((f) => f.number === our.number);
    if (their === undefined) {
      differences.add('gone', what, `upstream has no such field (ours is number ${our.number})`);
      continue;
    }
    met.add(their);
    if (our.name !== their.name) differences.add('changed', what, `upstream calls it ${their.name}`);
    if (our.number !== their.number)
      differences.add('changed', what, `has number ${our.number}; upstream ${their.number}`);
    const ourType = typeOf(our, named);
    const theirType = typeOf(their, (name) => name);
    const unread = bare(our.typeName) === UNREAD && their.type === FieldDescriptorProto_Type.MESSAGE;
    if (ourType !== theirType && !unread)
      differences.add('changed', what, `is ${ourType}; upstream ${theirType}`);
    if (isRepeated(our) !== isRepeated(their))
      differences.add(
        'changed',
        what,
        isRepeated(our) ? 'is repeated; upstream is not' : 'is not repeated; upstream is',
      );
  }
  if (message.lenient) return;
  for (const field of theirs.field)
    if (!met.has(field)) {
      const type = `${isRepeated(field) ? 'repeated ' : ''}${typeOf(field, (name) => name)}`;
      differences.add('new', `${message.name}.${field.name}`, `${type}, number ${field.number}`);
    }
}

function isRepeated(field: FieldDescriptorProto): boolean {
  return field.label === FieldDescriptorProto_Label.REPEATED;
}

/** The scalar's name, or `enum`, or `message` with the full name that `named` makes of it. */
function typeOf(field: FieldDescriptorProto, named: Named): string {
  const type = FieldDescriptorProto_Type[field.type].toLowerCase();
  return field.type === FieldDescriptorProto_Type.MESSAGE ? `${type} ${named(bare(field.typeName))}` : type;
}
