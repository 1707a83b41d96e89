/** Random messages of the storage layer's protocols that a well-behaved client or server could send. */
import {
  create,
  ScalarType,
  toBinary,
  type DescField,
  type DescMessage,
  type FileRegistry,
  type Message,
} from '@bufbuild/protobuf';
import { reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect';
import type { JudgedField, Judgement } from '../../../src-ts/schema/judgement.ts';
import type { Way } from '../../unit/filter.ts';
import { concat, EMPTY, unhex } from './bytes.ts';
import type { Random } from './random.ts';
import { spaceOf } from './key-spaces.ts';
import { memcomparable } from './table-codec.ts';
import { etcdPrefix, storedLease, type World } from './walker.ts';

const MAX_DEPTH = 7;

export class MessageMaker {
  private readonly roles: Map<string, Map<number, JudgedField>>;
  private readonly registry: FileRegistry;

  constructor(registry: FileRegistry, judgement: Judgement) {
    this.registry = registry;
    this.roles = new Map(
      judgement.messages.map((message) => [message.name, new Map(message.fields.map((f) => [f.number, f]))]),
    );
  }

  desc(name: string): DescMessage {
    const desc = this.registry.getMessage(name);
    if (!desc) throw new Error(`no message ${name}`);
    return desc;
  }

  make(name: string, way: Way, world: World, random: Random): Message {
    const view = this.fill(this.desc(name), way, world, random, 0);
    return view.message;
  }

  private fill(desc: DescMessage, way: Way, world: World, random: Random, depth: number): ReflectMessage {
    const view = reflect(desc, create(desc));
    const roles = this.roles.get(desc.typeName);
    for (const field of desc.fields) {
      const judged = roles?.get(field.number);
      const role = judged?.role ?? '';
      // An exact key that is absent is refused, and so are an absent path, an absent start and a number that must not be 0.
      const needed =
        (role === 'KEY' && field.fieldKind !== 'list') ||
        /^RESOURCE_(PATH|KEY)$|^TXN_START$/.test(role) ||
        (role === 'ONE_OF' && judged?.allowed.includes(0) === false);
      if (!needed && !random.chance(depth < 3 ? 60 : 25)) continue;
      if (field.message && (depth >= MAX_DEPTH || field.fieldKind === 'map')) continue;
      if (field.oneof && desc.fields.some((f) => f.oneof === field.oneof && view.isSet(f))) continue;
      const count = field.fieldKind === 'list' ? random.below(depth < 3 ? 4 : 2) : 1;
      for (let i = 0; i < count; i++) {
        const value = field.message
          ? this.fill(field.message, way, world, random, depth + 1)
          : (bounded(judged, field, random) ?? this.scalar(field, role, way, world, random));
        if (field.fieldKind === 'list') view.get(field).add(value as never);
        else view.set(field, value as never);
      }
    }
    if (/^tikvpb\.BatchCommands(Request|Response)$/.test(desc.typeName)) giveIds(view, random);
    if (desc.typeName === 'kvrpcpb.ResolveLockRequest') orderTimes(view, 'startVersion', 'commitVersion');
    if (desc.typeName === 'kvrpcpb.TxnInfo') orderTimes(view, 'txn', 'status');
    if (desc.typeName === 'kvrpcpb.PrewriteRequest' && random.chance(90)) giveActions(view);
    if (RANGES.test(desc.typeName) && random.chance(90)) orderBounds(view);
    return view;
  }

  private scalar(field: DescField, role: string, way: Way, world: World, random: Random): unknown {
    if (field.enum) {
      const values = field.enum.values.map((v) => v.number);
      return random.pick(values);
    }
    const bytes = this.bytes(role, way, world, random);
    switch (field.scalar) {
      case ScalarType.BYTES:
        return bytes;
      case ScalarType.STRING:
        return this.text(role, way, world, random);
      case ScalarType.BOOL:
        return random.chance(50);
      case ScalarType.DOUBLE:
      case ScalarType.FLOAT:
        return random.below(1000) / 8;
      case ScalarType.INT32:
      case ScalarType.SINT32:
      case ScalarType.SFIXED32:
        return random.next() | 0;
      case ScalarType.UINT32:
        if (role === 'TSO_COUNT') return random.below(20_000);
        return random.next();
      case ScalarType.FIXED32:
        return random.next();
      case ScalarType.INT64:
      case ScalarType.SINT64:
      case ScalarType.SFIXED64:
        if (role === 'COP_TYPE') return BigInt(random.pick([0, 102]));
        if (role === 'LEASE_TTL') return BigInt.asIntN(64, random.bigint(random.pick([16, 17, 18, 64])));
        if (role === 'LEASE_ID' || role === 'LEASE_GRANT_ID') return lease(way, world, random);
        return BigInt.asIntN(64, random.bigint(64));
      default:
        return random.bigint(64);
    }
  }

  private text(role: string, way: Way, world: World, random: Random): string {
    switch (role) {
      case 'CONFIG_PATH':
        return random.pick(['', '/global/config/', 'resource_group/controller']);
      case 'GROUP':
      case 'GROUP_LABEL':
      case 'OWN_GROUP': {
        const own = `${world.space.choice.number}:`;
        if (way === 'request')
          // A name that is too long is refused before other things of which the model would tell first.
          return random.pick([
            'app',
            'app',
            '2:app',
            'default',
            '',
            'a/b',
            '..',
            'x'.repeat(role === 'OWN_GROUP' ? 40 : 20),
          ]);
        return random.pick([`${own}app`, `${own}x`, '2:app', 'default', 'app', '', `${own}default`, own]);
      }
      case 'SCATTER_GROUP':
        return random.pick(['', '104', 'default', '2:104', 'a name', 'x'.repeat(40)]);
      case 'SEGMENT':
        return random.pick(['', 'default', 'a.b', '...']);
      case 'TEXT':
        return random.pick([
          '',
          'region 5 is missing',
          'start ts 453128812934103041 of pid 1',
          'key "t\\200\\000"',
          'Key 7480000000000000FF already exists',
          '748000000000000',
          'Ключ',
          '123456789012345678901',
        ]);
      case 'COLUMN_FAMILY':
        return random.pick(['', 'default', 'default', 'write', 'lock', 'defaults', 'x']);
      case 'LABEL':
        return random.pick(['', 'leader_external_Select', 'é'.repeat(64)]);
      default:
        return way === 'request' ? random.pick(['', 'default', 'a name']) : random.pick(['', 'x', 'node-1']);
    }
  }

  private bytes(role: string, way: Way, world: World, random: Random): Uint8Array {
    const request = way === 'request';
    switch (role) {
      case 'KEY':
        return request ? ownKey(random) : storedKey(world, random);
      case 'KEY_DROP':
      case 'KEY_OR_NONE':
        return random.chance(20) ? EMPTY : request ? ownKey(random) : storedKey(world, random);
      case 'ENC_KEY':
        return pdKey(request ? ownKey(random) : storedKey(world, random), way, world);
      case 'RANGE_START':
      case 'RANGE_END':
        return random.chance(30) ? EMPTY : request ? anyKey(random) : storedKey(world, random);
      case 'ENC_START':
      case 'ENC_END':
      case 'PLACE_START':
      case 'PLACE_END':
        return random.chance(30)
          ? EMPTY
          : pdKey(request ? anyKey(random) : storedKey(world, random), way, world);
      case 'ETCD_KEY':
      case 'ETCD_READ_KEY':
        if (random.chance(20)) return anyName(random);
        if (request) return random.bytes(random.below(20));
        return random.chance(15) ? random.bytes(5) : concat(etcdPrefix(world), random.bytes(random.below(9)));
      case 'ETCD_END':
        if (random.chance(30)) return anyName(random);
        return random.pick([EMPTY, Uint8Array.of(0), Uint8Array.of(0, 0), random.bytes(1 + random.below(9))]);
      case 'ETCD_VALUE':
        return new TextEncoder().encode(
          random.pick(['', '0', '12', '99999999999999999999', '1x', String(2n ** 62n)]),
        );
      case 'RESOURCE_PATH':
      case 'RESOURCE_END':
        if (role === 'RESOURCE_END' && random.chance(50)) return EMPTY;
        return new TextEncoder().encode(
          `resource_group/${random.pick(
            role === 'RESOURCE_PATH'
              ? ['', 'settings', 'settings', 'settings/app', 'controller', 'settings/default']
              : ['', 'settingt', 'settingt', 'controlles', 'settings', 'settings0'],
          )}`,
        );
      case 'RESOURCE_KEY':
        return new TextEncoder().encode(
          `resource_group/${random.pick(['controller', 'states/a', `settings/${this.text('GROUP', way, world, random)}`])}`,
        );
      case 'RESOURCE_VALUE': {
        const desc = this.desc('resource_manager.ResourceGroup');
        return toBinary(desc, this.fill(desc, way, world, random, MAX_DEPTH - 2).message);
      }
      case 'SERVICE_ID':
        return new TextEncoder().encode(
          random.pick(['gc_worker', 'br-1', 'ticdc:x', 'a/b', '', 'é', 'x'.repeat(129)]),
        );
      case 'DAG':
      case 'SELECT':
        return random.bytes(random.below(30));
      default:
        return random.bytes(random.chance(10) ? 200 : random.below(12));
    }
  }
}

const RANGES = /^kvrpcpb\.(ScanLock|UnsafeDestroyRange)Request$|^cdcpb\.ChangeDataRequest$/;

function orderBounds(view: ReflectMessage): void {
  const bounds = view.message as unknown as { startKey: Uint8Array; endKey: Uint8Array };
  const { startKey, endKey } = bounds;
  if (endKey.length === 0 || Buffer.compare(startKey, endKey) <= 0) return;
  bounds.startKey = endKey;
  bounds.endKey = startKey;
}

/** A transaction begins, and commits later if at all. */
function orderTimes(view: ReflectMessage, start: string, commit: string): void {
  const times = view.message as unknown as Record<string, bigint>;
  times[start] ||= 1n;
  if (times[commit]! <= times[start]!) times[commit] = 0n;
}

/** A pessimistic prewrite says of each mutation what to check. */
function giveActions(view: ReflectMessage): void {
  const prewrite = view.message as unknown as {
    forUpdateTs: bigint;
    mutations: unknown[];
    pessimisticActions: number[];
  };
  if (prewrite.forUpdateTs !== 0n)
    prewrite.pessimisticActions = prewrite.mutations.map((_, i) => prewrite.pessimisticActions[i] ?? 0);
}

/** A number that passes, where not every number does. */
function bounded(
  judged: JudgedField | undefined,
  field: DescField,
  random: Random,
): number | bigint | boolean | undefined {
  const { role, allowed = [], limit } = judged ?? {};
  if (role === 'ONE_OF') {
    const value = random.pick(allowed);
    return field.scalar === ScalarType.BOOL ? value !== 0 : value;
  }
  if (role !== 'AT_MOST' || limit === undefined) return undefined;
  const value = random.bigint(64) % (limit + 1n);
  return field.scalar === ScalarType.UINT64 || field.scalar === ScalarType.INT64 ? value : Number(value);
}

/** Every message of a batch has an id: without one nobody could tell which answer belongs to which request. */
function giveIds(batch: ReflectMessage, random: Random): void {
  const [requests, ids] = batch.fields;
  if (requests?.fieldKind !== 'list' || ids?.fieldKind !== 'list') throw new Error('a batch has two lists');
  batch.clear(ids);
  for (let i = batch.get(requests).size; i > 0; i--) batch.get(ids).add(random.bigint(64) as never);
}

function lease(way: Way, world: World, random: Random): bigint {
  const id = random.chance(30) ? 0n : random.bigint(48);
  if (way === 'request') return id;
  return random.chance(20) ? BigInt.asIntN(64, random.bigint(64)) : storedLease(world, id);
}

/** A key that TiDB writes. */
export function ownKey(random: Random): Uint8Array {
  if (random.chance(30)) return concat([0x6d], random.bytes(random.below(24)));
  const id = new DataView(new ArrayBuffer(8));
  id.setBigUint64(0, (1n << 63n) | (random.bigint(random.chance(70) ? 8 : 48) || 1n));
  const rest = random.pick([EMPTY, unhex('5f72'), concat(unhex('5f72'), random.bytes(8)), random.bytes(30)]);
  return concat([0x74], new Uint8Array(id.buffer), rest);
}

function anyKey(random: Random): Uint8Array {
  return random.chance(80) ? ownKey(random) : random.bytes(1 + random.below(20));
}

/** A key as PD has it, on the side of the client or of the store. */
function pdKey(key: Uint8Array, way: Way, { space }: World): Uint8Array {
  return (way === 'request' ? space.clientEncodes : space.storeEncodes) ? memcomparable(key) : key;
}

/** A key of the store: this tenant's mostly. */
function storedKey({ space }: World, random: Random): Uint8Array {
  const roll = random.below(10);
  if (roll === 0) return random.bytes(1 + random.below(20));
  const owner = roll === 1 ? spaceOf({ number: space.choice.number + 1 }) : space;
  return owner.encodeLower(ownKey(random)) as Uint8Array;
}

/** Names that tenants share, and bounds about them. */
function anyName(random: Random): Uint8Array {
  const names = ['minstartts', 'minstartts/', 'minstartts/a', 'minstartts/x:b', 'minstarttt', 'minstartts0'];
  const paths = [
    ...names.map((name) => `/tidb/server/${name}`),
    '/tidb/store/gcworker/saved_safe_point',
    '/tidb/brie/import/restore/a',
    '/tidb/',
  ];
  return new TextEncoder().encode(random.pick(paths));
}
