/**
 * Reads from proto/ a decision for each method, and a role for each field that a mapped method can reach.
 * Everything is checked here: a `Judgement` is always complete and consistent.
 */
import {
  getOption,
  hasOption,
  ScalarType,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescMethod,
  type FileRegistry,
} from '@bufbuild/protobuf';
import { Kind } from './bits.ts';

export { Kind } from './bits.ts';

export type Decision = 'MAP' | 'PASS' | 'REFUSE' | 'SYSTEM';

export interface JudgedField {
  readonly name: string;
  readonly number: number;
  readonly kind: Kind;
  /** Upstream's name of the scalar type, `message` or `enum`. */
  readonly type: string;
  readonly repeated: boolean;
  /** A name of mesh.Role. */
  readonly role: string;
  readonly essential: boolean;
  /** True when the field takes the reason of a refusal inside a batch. */
  readonly refusal: boolean;
  /** True when a request without the field is refused. */
  readonly requires: boolean;
  /** True when a request that names a key twice in this list is refused. */
  readonly distinct: boolean;
  /** A name of mesh.ErrorClass: what the field of an answer says went wrong. */
  readonly error: string;
  /** The highest value that passes, of AT_MOST and CAPPED. */
  readonly limit: bigint | undefined;
  /** The values that pass, of ONE_OF. */
  readonly allowed: readonly number[];
  /** Full name of the message in this field; undefined for scalars and for messages that are not read. */
  readonly message: string | undefined;
}

export interface JudgedMessage {
  /** Full name, such as `kvrpcpb.GetRequest`. */
  readonly name: string;
  /** In the order of their numbers. */
  readonly fields: readonly JudgedField[];
  /** Names of mesh.Capability: the key ranges that a request is for. */
  readonly needs: readonly string[];
  /** A name of mesh.ActsOnRegion. */
  readonly actsOnRegion: string;
  /** True when unknown fields pass. */
  readonly lenient: boolean;
  /** True when the message passes unread for tenant 0. */
  readonly owners: boolean;
  /** A name of mesh.Ending: what the walker does after the last field. */
  readonly ending: string;
  /** Upstream's message when this is a variant of it; otherwise its own name. */
  readonly standsFor: string;
}

export interface JudgedMethod {
  /** The path as in HTTP: `/tikvpb.Tikv/KvGet`. */
  readonly path: string;
  readonly decision: Decision;
  /** One sentence for a refused caller; empty for MAP and PASS. */
  readonly because: string;
  /** A name of mesh.Kind: what the call is for. KIND_UNSPECIFIED for REFUSE and SYSTEM. */
  readonly kind: string;
  readonly clientStreaming: boolean;
  readonly serverStreaming: boolean;
  /** Full names of the messages; undefined unless the decision is MAP. */
  readonly request: string | undefined;
  readonly response: string | undefined;
}

export interface Judgement {
  /** Numbers by name, as in mesh.Role, mesh.Decision, mesh.Kind and mesh.ErrorClass. */
  readonly roles: ReadonlyMap<string, number>;
  readonly decisions: ReadonlyMap<string, number>;
  readonly kinds: ReadonlyMap<string, number>;
  readonly errors: ReadonlyMap<string, number>;
  /** Methods in the order of their paths. */
  readonly methods: readonly JudgedMethod[];
  /** Messages that mapped methods reach, in the order of their names. */
  readonly messages: readonly JudgedMessage[];
}

/** Stands for all messages that are not read. */
const UNREAD = 'mesh.Unread';
const UNSPECIFIED = 'ROLE_UNSPECIFIED';
const NO_KIND = 'KIND_UNSPECIFIED';
const NO_ERROR = 'ERROR_UNSPECIFIED';

const STRINGS = [ScalarType.BYTES, ScalarType.STRING];
const UNSIGNED = [ScalarType.UINT32, ScalarType.UINT64];
const SIGNED = [ScalarType.INT32, ScalarType.INT64];
const NUMBERS = [...UNSIGNED, ...SIGNED];
/** Values of ONE_OF lie in the 15 bits that an entry has for them. */
const MAX_ALLOWED = 15;

/** The types that may carry a role, as the walker handles them. A role that is missing here goes on bytes and strings. */
const CARRIERS: Record<string, { scalars?: ScalarType[]; enums?: true; messages?: true }> = {
  ANY_VALUE: { scalars: [...NUMBERS, ScalarType.BOOL], enums: true },
  ONE_OF: { scalars: [...NUMBERS, ScalarType.BOOL], enums: true },
  AT_MOST: { scalars: NUMBERS },
  CAPPED: { scalars: NUMBERS },
  AMOUNT: { scalars: [ScalarType.DOUBLE] },
  DROP: { scalars: [...STRINGS, ...NUMBERS, ScalarType.BOOL], messages: true },
  EMPTIED: { messages: true },
  REVERSE: { scalars: [ScalarType.BOOL] },
  API_VERSION: { enums: true },
  KEYSPACE_ID: { scalars: UNSIGNED },
  LEASE_ID: { scalars: SIGNED },
  LEASE_GRANT_ID: { scalars: SIGNED },
  LEASE_TTL: { scalars: SIGNED },
  COP_TYPE: { scalars: SIGNED },
  BATCH_IDS: { scalars: UNSIGNED },
  CLIENT_ID: { scalars: UNSIGNED },
  SAFE_POINT_IN: { scalars: UNSIGNED },
  SAFE_POINT_OUT: { scalars: UNSIGNED },
  TIMESTAMP: { scalars: UNSIGNED },
  TIMESTAMP_OR_MAX: { scalars: UNSIGNED },
  READ_TIMESTAMP_OR_MAX: { scalars: UNSIGNED },
  FOR_UPDATE: { scalars: UNSIGNED },
  TXN_START: { scalars: UNSIGNED },
  EXECUTOR: { enums: true },
  EARLY_COMMIT: { scalars: [ScalarType.BOOL] },
  TXN_SOURCE: { scalars: UNSIGNED },
  REGION_ID: { scalars: UNSIGNED },
  REGION_VERSION: { scalars: UNSIGNED },
  REGION_CONF_VERSION: { scalars: UNSIGNED },
  CLUSTER_ID: { scalars: UNSIGNED },
  STORE_ID: { scalars: UNSIGNED },
  HAS_ANSWER: { scalars: [ScalarType.BOOL] },
  NEW_TIME: { scalars: SIGNED },
  REGION_ACT: { scalars: UNSIGNED },
  TSO_COUNT: { scalars: UNSIGNED },
  TABLE_ID: { scalars: SIGNED },
  REFUSED: { messages: true },
  SERVICE_SAFE_POINT: { scalars: UNSIGNED },
  SAFE_POINT_MIN: { scalars: UNSIGNED },
  SERVICE_TTL: { scalars: SIGNED },
};

const RANGE_STARTS = ['RANGE_START', 'ENC_START', 'PLACE_START'];

/** Roles that a message may have only once: the walker has one place for each. */
const SINGLE = new Set([
  'RANGE_START',
  'RANGE_END',
  'ENC_START',
  'ENC_END',
  'PLACE_START',
  'PLACE_END',
  'REVERSE',
  'ETCD_END',
  'RESOURCE_PATH',
  'RESOURCE_END',
  'RESOURCE_VALUE',
  'ETCD_VALUE',
  'SERVICE_ID',
  'SERVICE_TTL',
  'SERVICE_SAFE_POINT',
  'LEASE_GRANT_ID',
  'DAG',
  'COP_TYPE',
  'BATCH_IDS',
  'SAFE_POINT_IN',
  'FOR_UPDATE',
  'TXN_START',
]);

/** Roles that a list of numbers may have. The walker reads such a list packed or not. */
const LISTED = new Set(['BATCH_IDS', 'REGION_ACT', 'ANY_VALUE']);

class Options {
  readonly roles: DescEnum;
  readonly decisions: DescEnum;
  readonly kinds: DescEnum;
  readonly errors: DescEnum;
  private readonly capabilities: DescEnum;
  private readonly acts: DescEnum;
  private readonly endings: DescEnum;
  private readonly registry: FileRegistry;

  constructor(registry: FileRegistry) {
    this.registry = registry;
    const enumeration = (name: string): DescEnum => found(registry.getEnum(name), name);
    this.roles = enumeration('mesh.Role');
    this.decisions = enumeration('mesh.Decision');
    this.kinds = enumeration('mesh.Kind');
    this.errors = enumeration('mesh.ErrorClass');
    this.capabilities = enumeration('mesh.Capability');
    this.acts = enumeration('mesh.ActsOnRegion');
    this.endings = enumeration('mesh.Ending');
  }

  /** The value of an option from this file's package; undefined when it is not set. */
  private get(element: DescField | DescMessage | DescMethod, name: string): unknown {
    const option = found(this.registry.getExtension(`mesh.${name}`), `mesh.${name}`);
    return hasOption(element, option) ? getOption(element, option) : undefined;
  }

  roleOf(field: DescField): string {
    return nameOf(this.roles, Number(this.get(field, 'role') ?? 0));
  }

  errorOf(field: DescField): string {
    return nameOf(this.errors, Number(this.get(field, 'error') ?? 0));
  }

  limitOf(field: DescField): bigint | undefined {
    return this.get(field, 'limit') as bigint | undefined;
  }

  allowedOf(field: DescField): number[] {
    return (this.get(field, 'allowed') ?? []) as number[];
  }

  has(element: DescField | DescMessage, option: string): boolean {
    return this.get(element, option) === true;
  }

  needsOf(message: DescMessage): string[] {
    const needs = (this.get(message, 'needs') ?? []) as number[];
    return needs.map((number) => nameOf(this.capabilities, number));
  }

  actsOnRegion(message: DescMessage): string {
    return nameOf(this.acts, Number(this.get(message, 'acts_on_region') ?? 0));
  }

  endingOf(message: DescMessage): string {
    return nameOf(this.endings, Number(this.get(message, 'ending') ?? 0));
  }

  standsFor(message: DescMessage): string {
    return String(this.get(message, 'stands_for') ?? message.typeName);
  }

  decisionOf(method: DescMethod): string {
    return nameOf(this.decisions, Number(this.get(method, 'decision') ?? 0));
  }

  kindOf(method: DescMethod): string {
    return nameOf(this.kinds, Number(this.get(method, 'kind') ?? 0));
  }

  becauseOf(method: DescMethod): string {
    return String(this.get(method, 'because') ?? '');
  }
}

function found<T>(thing: T | undefined, name: string): T {
  if (thing === undefined) throw new Error(`proto/mesh/options.proto does not define ${name}`);
  return thing;
}

function nameOf(desc: DescEnum, number: number): string {
  const value = desc.value[number];
  if (value === undefined) throw new Error(`${desc.typeName} has no value ${number}`);
  return value.name;
}

function numbersOf(desc: DescEnum): Map<string, number> {
  return new Map(desc.values.map((value) => [value.name, value.number]));
}

/**
 * Reads and checks the annotations.
 * @throws Error with one line for each problem: a method without a decision, a field without a role, a role on a wrong type.
 */
export function judge(registry: FileRegistry): Judgement {
  const options = new Options(registry);
  const problems: string[] = [];
  const methods: JudgedMethod[] = [];
  const messages = new Map<string, JudgedMessage>();

  const visit = (message: DescMessage): void => {
    if (messages.has(message.typeName)) return;
    const judged = judgeMessage(message, options, problems);
    messages.set(message.typeName, judged);
    for (const field of message.fields)
      if (field.message && judged.fields.some((f) => f.number === field.number && f.message !== undefined))
        visit(field.message);
  };

  for (const file of registry.files)
    for (const service of file.services)
      for (const method of service.methods) {
        const judged = judgeMethod(method, options, problems);
        if (judged === undefined) continue;
        methods.push(judged);
        if (judged.decision !== 'MAP') continue;
        visit(method.input);
        visit(method.output);
      }

  for (const file of registry.files)
    for (const message of file.messages) if (options.has(message, 'root')) visit(message);
  problems.push(...untellable(messages), ...unjudged(methods, messages));

  if (problems.length > 0) throw new Error(`proto/ is not complete:\n  ${problems.join('\n  ')}`);
  return {
    roles: numbersOf(options.roles),
    decisions: numbersOf(options.decisions),
    kinds: numbersOf(options.kinds),
    errors: numbersOf(options.errors),
    methods: methods.sort((a, b) => compare(a.path, b.path)),
    messages: [...messages.values()].sort((a, b) => compare(a.name, b.name)),
  };
}

/** Compares code units, so that the output is the same under every locale. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function judgeMethod(method: DescMethod, options: Options, problems: string[]): JudgedMethod | undefined {
  const path = `/${method.parent.typeName}/${method.name}`;
  const decision = options.decisionOf(method);
  const because = options.becauseOf(method);
  const kind = options.kindOf(method);
  const mapped = decision === 'MAP';
  const { methodKind } = method;
  if (decision !== 'MAP' && decision !== 'PASS' && decision !== 'REFUSE' && decision !== 'SYSTEM') {
    problems.push(`${path} has no decision`);
    return undefined;
  }
  const turnsAway = decision === 'REFUSE' || decision === 'SYSTEM';
  if (turnsAway !== (because !== ''))
    problems.push(
      `${path} ${turnsAway ? 'does not say because of what' : `is ${decision} and needs no because`}`,
    );
  if (turnsAway !== (kind === NO_KIND))
    problems.push(`${path} ${turnsAway ? `is ${decision} and needs no kind` : 'has no kind'}`);
  for (const message of [method.input, method.output])
    if (mapped === (message.typeName === UNREAD))
      problems.push(`${path} is ${decision}: ${message.typeName} is not what it can read`);
  return {
    path,
    decision,
    because,
    kind,
    clientStreaming: methodKind === 'client_streaming' || methodKind === 'bidi_streaming',
    serverStreaming: methodKind === 'server_streaming' || methodKind === 'bidi_streaming',
    request: mapped ? method.input.typeName : undefined,
    response: mapped ? method.output.typeName : undefined,
  };
}

function judgeMessage(message: DescMessage, options: Options, problems: string[]): JudgedMessage {
  const fields: JudgedField[] = [];
  const seen = new Set<string>();
  let exactKeys = 0;
  for (const field of message.fields) {
    const name = `${message.typeName}.${field.name}`;
    const role = options.roleOf(field);
    const kind = kindOf(field);
    if (kind === undefined) {
      problems.push(`${name}: maps and groups cannot be walked`);
      continue;
    }
    const limit = options.limitOf(field);
    const allowed = options.allowedOf(field);
    const problem = objection(field, kind, role) ?? objectionToBounds(role, limit, allowed);
    if (problem !== undefined) problems.push(`${name} ${problem}`);
    if (SINGLE.has(role) && (seen.has(role) || (field.fieldKind === 'list' && role !== 'BATCH_IDS')))
      problems.push(`${name}: a message has one field of role ${role} at most`);
    if (role === 'KEY' && field.fieldKind !== 'list') {
      if (RANGE_STARTS.some((start) => seen.has(start)) || exactKeys++ > 0)
        problems.push(`${name}: a message has one exact key or a range, not both`);
    } else if (RANGE_STARTS.includes(role) && exactKeys > 0)
      problems.push(`${name}: a message has one exact key or a range, not both`);
    seen.add(role);
    const error = options.errorOf(field);
    // The walker remembers of these fields that they are there.
    if (error !== NO_ERROR && (field.fieldKind === 'list' || field.number >= 64))
      problems.push(`${name}: a list, or a field with a number above 63, cannot have an error class`);
    const essential = options.has(field, 'essential');
    const read = kind === Kind.MESSAGE && role === UNSPECIFIED;
    if (essential && !read) problems.push(`${name} is essential, but no message that is walked`);
    if (read && field.message?.typeName === UNREAD) problems.push(`${name} is not read: it needs a role`);
    fields.push({
      name: field.name,
      number: field.number,
      kind,
      type: typeOf(field),
      repeated: field.fieldKind === 'list',
      role,
      essential,
      refusal: options.has(field, 'refusal'),
      requires: options.has(field, 'requires'),
      distinct: options.has(field, 'distinct'),
      error,
      limit,
      allowed,
      message: read ? field.message?.typeName : undefined,
    });
  }
  const distinct = fields.find((field) => field.distinct);
  if (distinct && (!distinct.repeated || !seen.has('TXN_START')))
    problems.push(`${message.typeName}.${distinct.name}: only a list beside a TXN_START can be distinct`);
  fields.sort((a, b) => a.number - b.number);
  const judged: JudgedMessage = {
    name: message.typeName,
    fields,
    needs: options.needsOf(message),
    actsOnRegion: options.actsOnRegion(message),
    lenient: options.has(message, 'lenient'),
    owners: options.has(message, 'owners'),
    ending: options.endingOf(message),
    standsFor: options.standsFor(message),
  };
  if (judged.actsOnRegion !== 'NEVER' && contextOf(judged) === undefined)
    problems.push(`${judged.name} acts on a region, but has no context that names one`);
  return judged;
}

/** The request's context, which names its region; undefined when it has none. */
export function contextOf(message: JudgedMessage): JudgedField | undefined {
  return message.fields.find((field) => field.message === 'kvrpcpb.Context');
}

/** Commands of a batch whose responses have no field for a refusal. */
function untellable(messages: ReadonlyMap<string, JudgedMessage>): string[] {
  const commands = messages.get('tikvpb.BatchCommandsRequest.Request')?.fields ?? [];
  const responses = messages.get('tikvpb.BatchCommandsResponse.Response')?.fields ?? [];
  return commands
    .filter(({ name, role, number }) => {
      // An empty request is never refused. Nor is one that is emptied.
      if (name === 'Empty' || role === 'EMPTIED') return false;
      const response = messages.get(responses.find((field) => field.number === number)?.message ?? '');
      return response?.fields.some((field) => field.refusal) !== true;
    })
    .map(({ name }) => `the response to ${name} in a batch has no field that takes a refusal`);
}

/** Numbers of requests without a role: TiKV or PD could stop on a value that nobody has thought of. */
function unjudged(
  methods: readonly JudgedMethod[],
  messages: ReadonlyMap<string, JudgedMessage>,
): string[] {
  const requests = new Set<string>();
  const visit = (name: string | undefined): void => {
    if (name === undefined || requests.has(name)) return;
    requests.add(name);
    for (const field of messages.get(name)?.fields ?? []) visit(field.message);
  };
  for (const { request } of methods) visit(request);
  return [...requests].flatMap((name) =>
    (messages.get(name)?.fields ?? [])
      .filter(({ role, kind }) => role === UNSPECIFIED && kind !== Kind.MESSAGE && kind !== Kind.BYTES)
      .map((field) => `${name}.${field.name} (${field.type}) is a number of a request and has no role`),
  );
}

/** What is wrong with this role on this field; undefined when it is right. */
function objection(field: DescField, kind: Kind, role: string): string | undefined {
  if (role === UNSPECIFIED) return kind === Kind.BYTES ? `(${typeOf(field)}) has no role` : undefined;
  const carrier = CARRIERS[role] ?? { scalars: STRINGS };
  const carries =
    kind === Kind.MESSAGE
      ? carrier.messages === true
      : field.enum !== undefined
        ? carrier.enums === true
        : field.scalar !== undefined && carrier.scalars?.includes(field.scalar) === true;
  if (!carries) return `(${typeOf(field)}) cannot have the role ${role}`;
  if (role === 'BATCH_IDS' && field.fieldKind !== 'list') return `must be repeated to have the role ${role}`;
  const numbers = kind !== Kind.MESSAGE && kind !== Kind.BYTES;
  if (field.fieldKind === 'list' && numbers && !LISTED.has(role))
    return `is a list of numbers and cannot have the role ${role}`;
  return undefined;
}

/** What is wrong with the values that a role lets pass; undefined when nothing is. */
function objectionToBounds(
  role: string,
  limit: bigint | undefined,
  allowed: readonly number[],
): string | undefined {
  if ((role === 'AT_MOST' || role === 'CAPPED') !== (limit !== undefined))
    return limit === undefined ? `has the role ${role} and needs a limit` : `is ${role} and needs no limit`;
  if ((role === 'ONE_OF') !== allowed.length > 0)
    return allowed.length === 0 ? 'has the role ONE_OF and allows nothing' : `is ${role} and needs no allowed`;
  return allowed.every((value) => value < MAX_ALLOWED)
    ? undefined
    : `allows a value of ${MAX_ALLOWED} or more`;
}

function typeOf(field: DescField): string {
  if (field.message) return 'message';
  if (field.enum) return 'enum';
  return field.scalar === undefined ? 'map' : ScalarType[field.scalar].toLowerCase();
}

function kindOf(field: DescField): Kind | undefined {
  if (field.fieldKind === 'map') return undefined;
  if (field.message)
    return 'delimitedEncoding' in field && field.delimitedEncoding ? undefined : Kind.MESSAGE;
  switch (field.scalar) {
    case ScalarType.BYTES:
    case ScalarType.STRING:
      return Kind.BYTES;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return Kind.FIXED64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return Kind.FIXED32;
    default:
      return Kind.VARINT;
  }
}
