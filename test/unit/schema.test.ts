/** proto/ is complete and consistent, and the filter's table is what it says. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from '@jest/globals';
import {
  create,
  createFileRegistry,
  fromBinary,
  ScalarType,
  setExtension,
  toBinary,
} from '@bufbuild/protobuf';
import type { DescExtension, FileRegistry } from '@bufbuild/protobuf';
import {
  DescriptorProtoSchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodOptionsSchema,
} from '@bufbuild/protobuf/wkt';
import type { FieldOptions, MethodOptions } from '@bufbuild/protobuf/wkt';
import { BITS_FILE, bitsText, Entry, Flag } from '../../src-ts/schema/bits.ts';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { judge, Kind } from '../../src-ts/schema/judgement.ts';
import type { JudgedField, JudgedMethod, Judgement } from '../../src-ts/schema/judgement.ts';
import {
  FAR_WORDS,
  fnv1a,
  layOut,
  MESSAGE_WORDS,
  METHOD_WORDS,
  SHAPE_WORDS,
} from '../../src-ts/schema/layout.ts';
import type { Layout } from '../../src-ts/schema/layout.ts';
import { STATUS_FILE, statusText } from '../../src-ts/schema/statuses.ts';
import { surfaceText } from '../../src-ts/schema/surface.ts';
import { TABLE_FILE, tableText, TEXTS_FILE, textsText } from '../../src-ts/schema/table.ts';
import { textAt } from '../../src-ts/schema/texts.ts';

const ASSEMBLY = fileURLToPath(new URL('../../assembly', import.meta.url));

let registry: FileRegistry;
let judgement: Judgement;
let layout: Layout;

beforeAll(() => {
  registry = readDescriptors();
  judgement = judge(registry);
  layout = layOut(judgement);
});

function method(path: string): JudgedMethod {
  const found = judgement.methods.find((m) => m.path === path);
  if (!found) throw new Error(`no method ${path}`);
  return found;
}

function field(name: string): JudgedField {
  const dot = name.lastIndexOf('.');
  const message = judgement.messages.find((m) => m.name === name.slice(0, dot));
  const found = message?.fields.find((f) => f.name === name.slice(dot + 1));
  if (!found) throw new Error(`no field ${name}`);
  return found;
}

function id(message: string): number {
  return layout.names.indexOf(message);
}

function words(message: string): number[] {
  return layout.messages.slice(id(message) * MESSAGE_WORDS, (id(message) + 1) * MESSAGE_WORDS);
}

/** A message's flags, start field, end field. */
function shape(message: string): number[] {
  const at = ((words(message)[1] ?? 0) >> 8) * SHAPE_WORDS;
  const [flags = 0, fields = 0] = layout.shapes.slice(at, at + SHAPE_WORDS);
  return [flags, fields & 0xff, (fields >> 8) & 0xff];
}

/** Finds a field's entry as the filter does. */
function entry(message: string, number: number): number {
  const [first = 0, near = 0, far = 0] = words(message);
  if (number <= (near & 0xff)) return layout.fields[first + number] ?? 0;
  if (far === 0) return 0;
  for (let at = far * FAR_WORDS; ; at += FAR_WORDS) {
    const [item = 0, found = 0] = layout.far.slice(at, at + FAR_WORDS);
    if ((item & 0xffff) === number) return found;
    if (item >>> 16 !== 0) return 0;
  }
}

/** What an entry says of the message in its field, or of the numbers that pass. */
function within(found: number): string {
  const rest = found >>> Entry.MESSAGE_SHIFT;
  switch (found & 0xff) {
    case judgement.roles.get('ONE_OF'):
      return Array.from({ length: 15 }, (_, i) => i)
        .filter((i) => (rest >> i) & 1)
        .join(' ');
    case judgement.roles.get('AT_MOST'):
    case judgement.roles.get('CAPPED'):
      return String(layout.limits[rest]);
    default:
      return layout.names[rest] ?? '';
  }
}

function boundsOf({ limit, allowed }: JudgedField): string {
  return limit === undefined ? allowed.join(' ') : String(limit);
}

/** Finds a path as the filter does. */
function slotOf(path: string): number[] | undefined {
  const hash = fnv1a(new TextEncoder().encode(path));
  for (let at = 0; at < layout.methods.length; at += METHOD_WORDS) {
    const [low = 0, high = 0, place = 0, ...rest] = layout.methods.slice(at, at + METHOD_WORDS);
    if ((low | (high << 16)) >>> 0 === hash) return textAt(layout.texts, place) === path ? rest : undefined;
  }
  return undefined;
}

describe('generated table', () => {
  test('has a bit of its own for each flag, and a reader in the filter for each', () => {
    const flags = Object.values(Flag);
    expect(new Set(flags).size).toBe(flags.length);
    expect(Math.max(...flags)).toBeLessThan(2 ** 32);
    const sources = readdirSync(ASSEMBLY, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && path !== 'schema/bits.ts')
      .map((path) => readFileSync(`${ASSEMBLY}/${path}`, 'utf8'))
      .join('');
    const unread = (group: string, names: object): string[] =>
      Object.keys(names)
        .map((name) => `${group}.${name}`)
        .filter((name) => !new RegExp(`\\b${name}\\b`).test(sources));
    expect([...unread('Flag', Flag), ...unread('Kind', Kind), ...unread('Entry', Entry)]).toEqual([]);
  });

  test('is current: npm run schema would change nothing', async () => {
    expect(readFileSync(BITS_FILE, 'utf8')).toBe(await bitsText());
    expect(readFileSync(TABLE_FILE, 'utf8')).toBe(await tableText(judgement, layout));
    expect(readFileSync(TEXTS_FILE, 'utf8')).toBe(await textsText(layout));
    expect(readFileSync(STATUS_FILE, 'utf8')).toBe(await statusText());
  });

  test('is the same for a second run of the compiler', async () => {
    const again = judge(readDescriptors());
    expect(await tableText(again, layOut(again))).toBe(await tableText(judgement, layout));
  });

  test('finds every method, with its decision, messages and reason', () => {
    for (const m of judgement.methods) {
      const [because = 0, request = 0, answer = 0, kind = 0] = slotOf(m.path) ?? [];
      expect(kind).toBe(judgement.kinds.get(m.kind));
      expect(request >>> 12).toBe(judgement.decisions.get(m.decision));
      expect(layout.names[request & 0xfff]).toBe(m.request ?? '');
      expect(layout.names[answer & 0xfff]).toBe(m.response ?? '');
      expect(answer >>> 12).toBe(Number(m.clientStreaming || m.serverStreaming));
      expect(textAt(layout.texts, because)).toBe(m.because);
    }
  });

  test('a command of a batch is of the kind of the method with its request', () => {
    const kindOf = (name: string): string | undefined =>
      [...judgement.kinds].find(
        ([, number]) =>
          number === layout.commandKinds[field(`tikvpb.BatchCommandsRequest.Request.${name}`).number],
      )?.[0];
    expect(['Get', 'Prewrite', 'Commit', 'Coprocessor', 'Empty', 'Import'].map(kindOf)).toEqual([
      'KIND_READ',
      'KIND_WRITE',
      'KIND_FINISH',
      'KIND_COPROCESSOR',
      'KIND_FIND',
      'KIND_UNSPECIFIED',
    ]);
    const served = judgement.messages
      .find(({ name }) => name === 'tikvpb.BatchCommandsRequest.Request')!
      .fields.filter(({ message }) => message !== undefined);
    expect(served.filter(({ name }) => kindOf(name) === 'KIND_UNSPECIFIED')).toEqual([]);
  });

  test.each(['/tikvpb.Tikv/KvNothing', '/tikvpb.Tikv', '/', '', '/tikvpb.Tikv/KvGet/', '/tikvpb.tikv/KvGet'])(
    'does not find %j',
    (path) => expect(slotOf(path)).toBeUndefined(),
  );

  test('has the methods in the order of their hashes, so that a search by halves finds them', () => {
    const hashes = Array.from({ length: judgement.methods.length }, (_, i) => {
      const [low = 0, high = 0] = layout.methods.slice(i * METHOD_WORDS);
      return (low | (high << 16)) >>> 0;
    });
    expect(hashes).toEqual([...new Set(hashes)].sort((a, b) => a - b));
  });

  test('has an entry for every field and none for other numbers', () => {
    for (const message of judgement.messages) {
      const last = message.fields.at(-1)?.number ?? 0;
      const numbers = Array.from({ length: last + 64 }, (_, i) => i + 1);
      // One comparison a message: there are tens of thousands of numbers.
      const laidOut = numbers.map((number) => {
        const e = entry(message.name, number);
        const flags = [e & Entry.REPEATED, e & Entry.ESSENTIAL].map((bit) => Number(bit !== 0));
        flags.push((e >>> Entry.ERROR_SHIFT) & Entry.ERROR_MASK);
        return [number, e & 0xff, (e >>> 8) & 7, within(e), ...flags].join();
      });
      const judged = numbers.map((number) => {
        const f = message.fields.find((g) => g.number === number);
        // What passes at any value needs no work.
        const role = f && f.role !== 'ANY_VALUE' ? judgement.roles.get(f.role) : 0;
        const flags = [Number(f?.repeated ?? 0), Number(f?.essential ?? 0)];
        flags.push(judgement.errors.get(f?.error ?? '') ?? 0);
        return [number, role, f?.kind ?? 0, (f && (f.message ?? boundsOf(f))) ?? '', ...flags].join();
      });
      expect(laidOut).toEqual(judged);
    }
  });

  test('names every message', () => {
    for (const name of layout.names) expect(textAt(layout.texts, words(name)[3] ?? 0)).toBe(name);
  });

  const { RANGE, ENCODED_RANGE, PLACES, REVERSIBLE, EXACT_KEY, HAS_CONTEXT, OWNERS, LENIENT } = Flag;
  const { TXN, RAW, COPROCESSOR, NAME_RANGE } = Flag;

  test.each([
    ['kvrpcpb.ScanRequest', RANGE | REVERSIBLE | TXN | HAS_CONTEXT, 2, 7],
    ['kvrpcpb.ScanLockRequest', RANGE | TXN | HAS_CONTEXT | OWNERS | Flag.COMPARED, 3, 5],
    ['coprocessor.KeyRange', RANGE, 1, 2],
    ['metapb.Region', ENCODED_RANGE, 2, 3],
    ['pdpb.GetRegionRequest', ENCODED_RANGE | OWNERS | PLACES, 2, 0],
    ['tikvpb.BatchCommandsRequest', Flag.BATCH, 0, 0],
    ['etcdserverpb.LeaseGrantRequest', Flag.LEASE_GRANT, 0, 0],
    ['pdpb.UpdateGCSafePointRequest', OWNERS, 0, 0],
    ['resource_manager.PutResourceGroupRequest', Flag.GROUP_SETTINGS, 0, 0],
    ['tipb.ChecksumRequest', LENIENT | Flag.CHECKSUM_RULE, 0, 0],
    ['tikvpb.BatchCommandsRequest.Request', Flag.COMMAND, 0, 0],
    ['kvrpcpb.Context', Flag.CONTEXT, 21, 32],
    ['etcdserverpb.RangeRequest', NAME_RANGE, 1, 2],
    ['etcdserverpb.Compare', NAME_RANGE, 3, 64],
    ['etcdserverpb.PutRequest', Flag.NAMED_VALUE, 1, 0],
    ['pdpb.UpdateServiceGCSafePointRequest', Flag.SERVICE | OWNERS, 0, 0],
    ['meta_storagepb.WatchRequest', Flag.RESOURCE_PATH, 2, 3],
    ['kvrpcpb.GetRequest', EXACT_KEY | TXN | HAS_CONTEXT, 2, 0],
    ['kvrpcpb.RawGetRequest', EXACT_KEY | RAW | HAS_CONTEXT, 2, 0],
    ['coprocessor.Request', COPROCESSOR | HAS_CONTEXT, 0, 0],
    ['kvrpcpb.ResolveLockRequest', TXN | HAS_CONTEXT | OWNERS | Flag.ACTS_WITHOUT_KEYS | Flag.COMPARED, 2, 3],
    ['kvrpcpb.PessimisticMutation', EXACT_KEY | Flag.NOT_ZERO, 2, 1],
    ['tipb.AnalyzeIndexReq', LENIENT, 0, 0],
    ['tipb.DAGRequest', LENIENT, 0, 0],
    ['kvrpcpb.PrewriteRequest', EXACT_KEY | TXN | HAS_CONTEXT | Flag.REQUIRED_LIST | Flag.TXN_START, 3, 2],
    ['kvrpcpb.CommitRequest', TXN | HAS_CONTEXT | Flag.REQUIRED_LIST | Flag.TXN_START, 0, 3],
    ['errorpb.Error', Flag.ERRORS, 0, 0],
    ['coprocessor.Response', Flag.ERRORS, 0, 0],
  ])('%s has flags %i, start field %i, end field %i', (message, flags, start, end) => {
    expect(shape(message)).toEqual([flags >>> 0, start, end]);
  });

  test('a repeated number may be packed, repeated bytes and messages may not', () => {
    const packable = (message: string, number: number): boolean =>
      (entry(message, number) & Entry.PACKABLE) !== 0;
    expect(packable('tikvpb.BatchCommandsRequest', 2)).toBe(true);
    expect(packable('kvrpcpb.PrewriteRequest', 7)).toBe(true); // an enum
    expect(packable('kvrpcpb.PrewriteRequest', 12)).toBe(false);
    expect(packable('tikvpb.BatchCommandsRequest', 1)).toBe(false);
  });
});

describe('judgement', () => {
  test('every bytes and string field of every mapped method has a role', () => {
    const open = judgement.messages.flatMap((m) =>
      m.fields
        .filter((f) => f.kind === Kind.BYTES && f.role === 'ROLE_UNSPECIFIED')
        .map((f) => `${m.name}.${f.name}`),
    );
    expect(open).toEqual([]);
    expect(surfaceText(judgement)).toMatch(/\n0 unclassified$/);
  });

  test('every message that a mapped method can reach is in the tables', () => {
    const names = new Set(judgement.messages.map((m) => m.name));
    const wanted = [
      ...judgement.methods.flatMap((m) => (m.decision === 'MAP' ? [m.request, m.response] : [])),
      ...judgement.messages.flatMap((m) =>
        m.fields.map((f) => f.message).filter((name) => name !== undefined),
      ),
    ];
    expect(wanted.filter((name) => name === undefined || !names.has(name))).toEqual([]);
  });

  test('whoever is turned away is told why, in one short ASCII sentence', () => {
    for (const m of judgement.methods)
      if (m.decision === 'REFUSE' || m.decision === 'SYSTEM')
        expect(m.because).toMatch(/^[\x20-\x7e]{20,120}$/);
  });

  test.each([
    ['/tikvpb.Tikv/BatchCommands', 'MAP'],
    ['/tikvpb.Tikv/Coprocessor', 'MAP'],
    ['/tikvpb.Tikv/IsAlive', 'PASS'],
    ['/tikvpb.Tikv/RawGet', 'MAP'],
    ['/tikvpb.Tikv/RawBatchScan', 'REFUSE'],
    ['/tikvpb.Tikv/RawChecksum', 'REFUSE'],
    ['/tikvpb.Tikv/KvGC', 'REFUSE'],
    ['/tikvpb.Tikv/PhysicalScanLock', 'REFUSE'],
    ['/tikvpb.Tikv/MvccGetByStartTs', 'REFUSE'],
    ['/tikvpb.Tikv/KvFlashbackToVersion', 'REFUSE'],
    ['/tikvpb.Tikv/KvPrepareFlashbackToVersion', 'REFUSE'],
    ['/import_sstpb.ImportSST/SwitchMode', 'REFUSE'],
    ['/import_sstpb.ImportSST/AddForcePartitionRange', 'REFUSE'],
    ['/tikvpb.Tikv/BroadcastTxnStatus', 'REFUSE'],
    ['/tikvpb.Tikv/Raft', 'SYSTEM'],
    ['/pdpb.PD/Tso', 'MAP'],
    ['/pdpb.PD/GetOperator', 'MAP'],
    ['/pdpb.PD/SetExternalTimestamp', 'SYSTEM'],
    ['/resource_manager.ResourceManager/AddResourceGroup', 'MAP'],
    ['/meta_storagepb.MetaStorage/Put', 'REFUSE'],
    ['/pdpb.PD/GetRegion', 'MAP'],
    ['/pdpb.PD/ScatterRegion', 'MAP'],
    ['/pdpb.PD/RegionHeartbeat', 'SYSTEM'],
    ['/etcdserverpb.KV/Txn', 'MAP'],
    ['/etcdserverpb.KV/Compact', 'REFUSE'],
    ['/etcdserverpb.Lease/LeaseLeases', 'REFUSE'],
    ['/etcdserverpb.Cluster/MemberList', 'PASS'],
    ['/etcdserverpb.Cluster/MemberAdd', 'SYSTEM'],
    ['/etcdserverpb.Maintenance/Snapshot', 'SYSTEM'],
    ['/meta_storagepb.MetaStorage/Put', 'REFUSE'],
    ['/grpc.health.v1.Health/Check', 'PASS'],
  ])('%s: %s', (path, decision) => expect(method(path).decision).toBe(decision));

  test('numbers in answers that count keys or bytes as the store has them are known, and on a page', () => {
    const messages = new Map(judgement.messages.map((message) => [message.name, message]));
    const reached = new Set<string>();
    const reach = (name: string | undefined): void => {
      if (name === undefined || reached.has(name)) return;
      reached.add(name);
      messages.get(name)?.fields.forEach((one) => reach(one.message));
    };
    for (const { decision, response } of judgement.methods) if (decision === 'MAP') reach(response);
    const counts = [...reached].flatMap((name) =>
      registry
        .getMessage(name)!
        .fields.filter((one) => one.scalar !== undefined && one.scalar !== ScalarType.BOOL)
        .filter((one) => one.scalar !== ScalarType.STRING && one.scalar !== ScalarType.BYTES)
        .filter((one) => /byte|size|keys|kvs|len|crc|checksum|sum$|total_(kv|ver)|scaninfo/i.test(one.name))
        .map((one) => `${name}.${one.name}`),
    );
    // One that is not here needs a judgement: the tenant's own number, or one of docs/what-tenants-share.md.
    expect(counts.sort()).toEqual([
      'errorpb.RaftEntryTooLarge.entry_size',
      'import_sstpb.SSTMeta.crc32',
      'import_sstpb.SSTMeta.length',
      'import_sstpb.SSTMeta.total_bytes',
      'import_sstpb.SSTMeta.total_kvs',
      'kvrpcpb.LockInfo.txn_size',
      'kvrpcpb.MvccLock.txn_size',
      'kvrpcpb.RUV2.coprocessor_response_bytes',
      'kvrpcpb.RUV2.raftstore_store_write_trigger_wb_bytes',
      'kvrpcpb.RUV2.storage_processed_keys_batch_get',
      'kvrpcpb.RUV2.storage_processed_keys_get',
      'kvrpcpb.ScanDetailV2.ia_remote_read_segment_bytes',
      'kvrpcpb.ScanDetailV2.processed_versions_size',
      'kvrpcpb.ScanDetailV2.rocksdb_block_read_byte',
      'kvrpcpb.ScanDetailV2.total_versions',
      'kvrpcpb.ScanDetailV2.total_versions_size',
      'kvrpcpb.ScanInfo.read_bytes',
      'resource_manager.Consumption.read_bytes',
      'resource_manager.Consumption.read_cross_az_traffic_bytes',
      'resource_manager.Consumption.write_bytes',
      'resource_manager.Consumption.write_cross_az_traffic_bytes',
      'resource_manager.RunawayRule.processed_keys',
    ]);
  });

  test.each([
    ['kvrpcpb.Mutation.key', 'KEY'],
    ['kvrpcpb.PrewriteRequest.secondaries', 'KEY'],
    ['kvrpcpb.SplitRegionRequest.split_key', 'KEY_OR_NONE'],
    ['kvrpcpb.FlushRequest.primary_key', 'KEY'],
    ['kvrpcpb.ScanRequest.reverse', 'REVERSE'],
    ['kvrpcpb.UnsafeDestroyRangeRequest.end_key', 'RANGE_END'],
    ['kvrpcpb.KvPair.key', 'KEY_DROP'],
    ['kvrpcpb.LockInfo.secondaries', 'KEY'],
    ['kvrpcpb.Deadlock.deadlock_key', 'KEY_OR_NONE'],
    ['kvrpcpb.KeyError.abort', 'TEXT'],
    ['kvrpcpb.MvccLock.primary', 'KEY_OR_NONE'],
    ['kvrpcpb.Context.api_version', 'API_VERSION'],
    ['errorpb.KeyNotInRegion.key', 'DROP'],
    ['errorpb.BucketVersionNotMatch.keys', 'DROP'],
    ['coprocessor.Request.data', 'DAG'],
    ['coprocessor.StoreBatchTaskResponse.data', 'SELECT'],
    ['deadlock.WaitForEntry.key', 'KEY_DROP'],
    ['pdpb.GetRegionRequest.region_key', 'PLACE_START'],
    ['pdpb.ScatterRegionRequest.region', 'DROP'],
    ['pdpb.UpdateServiceGCSafePointRequest.service_id', 'SERVICE_ID'],
    ['tikvpb.BatchCommandsRequest.Request.BroadcastTxnStatus', 'EMPTIED'],
    ['etcdserverpb.Compare.range_end', 'ETCD_END'],
    ['etcdserverpb.PutRequest.lease', 'LEASE_ID'],
    ['etcdserverpb.LeaseGrantRequest.TTL', 'LEASE_TTL'],
    ['etcdserverpb.LeaseGrantRequest.ID', 'LEASE_GRANT_ID'],
    ['mvccpb.KeyValue.key', 'ETCD_KEY'],
  ])('%s is %s', (name, role) => expect(field(name).role).toBe(role));

  test('a batch cannot carry what is refused outside of one', () => {
    const inBatch = (
      judgement.messages.find((m) => m.name === 'tikvpb.BatchCommandsRequest.Request')?.fields ?? []
    ).filter((f) => f.role !== 'EMPTIED' && f.name !== 'Empty');
    const open = new Set(judgement.methods.map((m) => m.request));
    // Without a key, and as a call of its own unread.
    open.add('kvrpcpb.GetHealthFeedbackRequest');
    expect(inBatch.filter((f) => !open.has(f.message))).toEqual([]);
    expect(inBatch.length).toBeGreaterThan(15);
  });

  test('a pair that loses its region, or an event that loses its key, goes as a whole', () => {
    expect(field('pdpb.Region.region').essential).toBe(true);
    expect(field('mvccpb.Event.kv').essential).toBe(true);
    expect(field('pdpb.GetRegionResponse.region').essential).toBe(true);
    expect(field('pdpb.GetRegionResponse.leader').essential).toBe(false);
  });
});

test('every error of a store has a class', () => {
  const names = ['errorpb.Error', 'kvrpcpb.KeyError', 'cdcpb.Error'];
  const found = judgement.messages.filter(({ name }) => names.includes(name));
  expect(found.length).toBe(names.length);
  const fields = found.flatMap((message) =>
    message.fields.map((f) => [`${message.name}.${f.name}`, f.error]),
  );
  expect(fields.filter(([, error]) => error === 'ERROR_UNSPECIFIED')).toEqual([]);
});

describe('incomplete annotations', () => {
  interface Draft {
    decision?: string;
    because?: string;
    /** Default: one that fits the decision. */
    kind?: string;
    fields?: {
      name: string;
      type: FieldDescriptorProto_Type;
      repeated?: boolean;
      role?: string;
      essential?: boolean;
      error?: string;
    }[];
  }

  /** Adds a service `draft.S` with the method `M` and its request `draft.Q` to our own options. */
  function withDraft(draft: Draft): FileRegistry {
    const extension = (name: string): DescExtension => {
      const found = registry.getExtension(name);
      if (!found) throw new Error(name);
      return found;
    };
    const value = (enumeration: string, name: string): number =>
      registry.getEnum(enumeration)?.values.find((v) => v.name === name)?.number ?? -1;
    const methodOptions: MethodOptions = create(MethodOptionsSchema);
    if (draft.decision !== undefined)
      setExtension(methodOptions, extension('mesh.decision'), value('mesh.Decision', draft.decision));
    if (draft.because !== undefined) setExtension(methodOptions, extension('mesh.because'), draft.because);
    const kind = draft.kind ?? (draft.decision === 'MAP' ? 'KIND_READ' : undefined);
    if (kind !== undefined) setExtension(methodOptions, extension('mesh.kind'), value('mesh.Kind', kind));
    const message = create(DescriptorProtoSchema, {
      name: 'Q',
      field: (draft.fields ?? []).map((f, i) => {
        const options: FieldOptions = create(FieldOptionsSchema);
        if (f.role !== undefined) setExtension(options, extension('mesh.role'), value('mesh.Role', f.role));
        if (f.error !== undefined)
          setExtension(options, extension('mesh.error'), value('mesh.ErrorClass', f.error));
        if (f.essential === true) setExtension(options, extension('mesh.essential'), true);
        return {
          name: f.name,
          number: i + 1,
          type: f.type,
          ...(f.type === FieldDescriptorProto_Type.MESSAGE ? { typeName: '.mesh.Unread' } : {}),
          label:
            f.repeated === true ? FieldDescriptorProto_Label.REPEATED : FieldDescriptorProto_Label.OPTIONAL,
          options,
        };
      }),
    });
    const mapped = draft.decision === 'MAP' ? '.draft.Q' : '.mesh.Unread';
    const file = create(FileDescriptorProtoSchema, {
      name: 'draft.proto',
      package: 'draft',
      syntax: 'proto3',
      dependency: ['mesh/options.proto'],
      messageType: [message],
      service: [
        { name: 'S', method: [{ name: 'M', inputType: mapped, outputType: mapped, options: methodOptions }] },
      ],
    });
    const known = [...registry.files].map((f) => f.proto).filter((f) => /options|descriptor/.test(f.name));
    const set = create(FileDescriptorSetSchema, { file: [...known, file] });
    return createFileRegistry(fromBinary(FileDescriptorSetSchema, toBinary(FileDescriptorSetSchema, set)));
  }

  const T = FieldDescriptorProto_Type;

  test('a complete draft passes', () => {
    const draft = withDraft({ decision: 'MAP', fields: [{ name: 'key', type: T.BYTES, role: 'KEY' }] });
    expect(judge(draft).methods.map((m) => m.path)).toEqual(['/draft.S/M']);
  });

  const cases: [string, Draft, RegExp][] = [
    ['a method without a decision', {}, /\/draft\.S\/M has no decision/],
    ['a refusal without a reason', { decision: 'REFUSE' }, /does not say because of what/],
    ['an open method without a kind', { decision: 'PASS' }, /\/draft\.S\/M has no kind/],
    [
      'a kind where everybody is turned away',
      { decision: 'SYSTEM', because: 'no', kind: 'KIND_READ' },
      /is SYSTEM and needs no kind/,
    ],
    ['a reason where nobody is turned away', { decision: 'PASS', because: 'no' }, /needs no because/],
    [
      'a list with an error class',
      {
        decision: 'MAP',
        fields: [{ name: 'code', type: T.UINT32, repeated: true, error: 'ERROR_BUSY' }],
      },
      /cannot have an error class/,
    ],
    [
      'a bytes field without a role',
      { decision: 'MAP', fields: [{ name: 'key', type: T.BYTES }] },
      /draft\.Q\.key \(bytes\) has no role/,
    ],
    [
      'a string field without a role',
      { decision: 'MAP', fields: [{ name: 'text', type: T.STRING }] },
      /draft\.Q\.text \(string\) has no role/,
    ],
    [
      'a number of a request without a role',
      { decision: 'MAP', fields: [{ name: 'limit', type: T.UINT32 }] },
      /draft\.Q\.limit \(uint32\) is a number of a request and has no role/,
    ],
    [
      'a double of a request without a role',
      { decision: 'MAP', fields: [{ name: 'amount', type: T.DOUBLE }] },
      /draft\.Q\.amount \(double\) is a number of a request and has no role/,
    ],
    [
      'a limit without a value',
      { decision: 'MAP', fields: [{ name: 'limit', type: T.UINT32, role: 'AT_MOST' }] },
      /draft\.Q\.limit has the role AT_MOST and needs a limit/,
    ],
    [
      'a choice of nothing',
      { decision: 'MAP', fields: [{ name: 'limit', type: T.UINT32, role: 'ONE_OF' }] },
      /draft\.Q\.limit has the role ONE_OF and allows nothing/,
    ],
    [
      'a double that is no amount',
      { decision: 'MAP', fields: [{ name: 'amount', type: T.DOUBLE, role: 'ANY_VALUE' }] },
      /draft\.Q\.amount \(double\) cannot have the role ANY_VALUE/,
    ],
    [
      'a key that is a number',
      { decision: 'MAP', fields: [{ name: 'key', type: T.UINT64, role: 'KEY' }] },
      /draft\.Q\.key \(uint64\) cannot have the role KEY/,
    ],
    [
      'an unread message without a role',
      { decision: 'MAP', fields: [{ name: 'sub', type: T.MESSAGE }] },
      /draft\.Q\.sub is not read: it needs a role/,
    ],
    [
      'a dropped message that is essential',
      { decision: 'MAP', fields: [{ name: 'sub', type: T.MESSAGE, role: 'DROP', essential: true }] },
      /draft\.Q\.sub is essential, but no message that is walked/,
    ],
    [
      'two starts in one message',
      {
        decision: 'MAP',
        fields: [
          { name: 'a', type: T.BYTES, role: 'RANGE_START' },
          { name: 'b', type: T.BYTES, role: 'RANGE_START' },
        ],
      },
      /draft\.Q\.b: a message has one field of role RANGE_START at most/,
    ],
    [
      'two exact keys in one message',
      {
        decision: 'MAP',
        fields: [
          { name: 'a', type: T.BYTES, role: 'KEY' },
          { name: 'b', type: T.BYTES, role: 'KEY' },
        ],
      },
      /draft\.Q\.b: a message has one exact key or a range, not both/,
    ],
    [
      'a range beside an exact key',
      {
        decision: 'MAP',
        fields: [
          { name: 'a', type: T.BYTES, role: 'KEY' },
          { name: 'b', type: T.BYTES, role: 'RANGE_START' },
        ],
      },
      /draft\.Q\.b: a message has one exact key or a range, not both/,
    ],
    [
      'batch ids that are not a list',
      { decision: 'MAP', fields: [{ name: 'ids', type: T.UINT64, role: 'BATCH_IDS' }] },
      /draft\.Q\.ids must be repeated/,
    ],
    [
      'a role that a list of numbers cannot have',
      { decision: 'MAP', fields: [{ name: 'ts', type: T.UINT64, role: 'TIMESTAMP', repeated: true }] },
      /draft\.Q\.ts is a list of numbers and cannot have the role TIMESTAMP/,
    ],
  ];
  test.each(cases)('%s fails', (_, draft, message) => {
    expect(() => judge(withDraft(draft))).toThrow(message);
  });
});
