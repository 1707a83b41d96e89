/** proto/ held against the descriptors of upstream: whoever renews a module learns here what has to be judged again. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { clone, create, createFileRegistry, type FileRegistry } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodDescriptorProtoSchema,
  type DescriptorProto,
  type FileDescriptorSet,
  type ServiceDescriptorProto,
} from '@bufbuild/protobuf/wkt';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { newestDescriptors, upstreamDescriptors } from './descriptors.ts';
import { drift, listOf, type Exceptions } from './drift.ts';
import { LEFT_OUT, OURS_ALONE } from './left-out.ts';

const EXCEPTIONS: Exceptions = { leftOut: LEFT_OUT, oursAlone: OURS_ALONE };

let ours: FileRegistry;
let upstream: FileDescriptorSet;
/** What the newest protocols have, and those of the tests' own servers not yet: proto/ knows it. */
let newer: ReadonlySet<string>;

beforeAll(async () => {
  ours = readDescriptors();
  upstream = await upstreamDescriptors();
  const neverThere = goneFrom(await newestDescriptors());
  newer = new Set([...goneFrom(upstream)].filter((what) => !neverThere.has(what)));
});

function goneFrom(theirs: FileDescriptorSet): Set<string> {
  const differences = drift(ours, theirs, { leftOut: {}, oursAlone: {} });
  return new Set(differences.filter(({ kind }) => kind === 'gone').map(({ what }) => what));
}

function differencesOf(registry: FileRegistry, theirs: FileDescriptorSet, exceptions: Exceptions): string {
  const differences = drift(registry, theirs, exceptions);
  return listOf(differences.filter(({ kind, what }) => kind !== 'gone' || !newer.has(what)));
}

test('proto/ is what upstream is: methods, and fields of all messages that are read', () => {
  const differences = differencesOf(ours, upstream, EXCEPTIONS);
  if (differences !== '')
    throw new Error(
      `proto/ and upstream differ. Give what is new a decision or a role in proto/, or a reason in test/oracle/left-out.ts:\n${differences}`,
    );
});

test('the descriptors of every protocol are there', () => {
  const packages = new Set(upstream.file.filter((file) => file.service.length > 0).map((f) => f.package));
  for (const name of [
    'tikvpb',
    'pdpb',
    'keyspacepb',
    'meta_storagepb',
    'resource_manager',
    'tsopb',
    'schedulingpb',
    'gcpb',
    'import_sstpb',
    'import_kvpb',
    'cdcpb',
    'debugpb',
    'deadlock',
    'diagnosticspb',
    'backup',
    'logbackup',
    'recover_data',
    'configpb',
    'enginepb',
    'autoid',
    'resource_usage_agent',
    'tracepb',
    'etcdserverpb',
    'v3lockpb',
    'v3electionpb',
    'grpc.health.v1',
  ])
    expect(packages).toContain(name);
  expect(upstream.file.map((file) => file.package)).toContain('tipb');
});

describe('a difference is reported', () => {
  /** What is reported beyond today's differences when upstream, proto/ or the exceptions are changed. */
  function news(change: {
    upstream?: (set: FileDescriptorSet) => void;
    ours?: (set: FileDescriptorSet) => void;
    exceptions?: Partial<Exceptions>;
  }): string[] {
    const today = new Set(differencesOf(ours, upstream, EXCEPTIONS).split('\n'));
    const theirs = clone(FileDescriptorSetSchema, upstream);
    change.upstream?.(theirs);
    const mine = clone(
      FileDescriptorSetSchema,
      create(FileDescriptorSetSchema, { file: [...ours.files].map((file) => file.proto) }),
    );
    change.ours?.(mine);
    const registry = change.ours ? createFileRegistry(mine) : ours;
    return differencesOf(registry, theirs, { ...EXCEPTIONS, ...change.exceptions })
      .split('\n')
      .filter((line) => line !== '' && !today.has(line));
  }

  function message(set: FileDescriptorSet, pkg: string, name: string): DescriptorProto {
    return set.file.find((f) => f.package === pkg)!.messageType.find((m) => m.name === name)!;
  }

  function service(set: FileDescriptorSet, pkg: string, name: string): ServiceDescriptorProto {
    return set.file.find((f) => f.package === pkg)!.service.find((s) => s.name === name)!;
  }

  function drop(from: DescriptorProto, field: string): void {
    from.field = from.field.filter((f) => f.name !== field);
  }

  const added = (set: FileDescriptorSet): void => {
    message(set, 'kvrpcpb', 'GetRequest').field.push(
      create(FieldDescriptorProtoSchema, {
        name: 'shadow_keys',
        number: 77,
        type: FieldDescriptorProto_Type.BYTES,
        label: FieldDescriptorProto_Label.REPEATED,
      }),
    );
  };

  test('a field that upstream adds', () => {
    expect(news({ upstream: added })).toEqual([
      'new     kvrpcpb.GetRequest.shadow_keys: repeated bytes, number 77',
    ]);
  });

  test('a field that proto/ forgets', () => {
    expect(news({ ours: (set) => drop(message(set, 'kvrpcpb', 'GetRequest'), 'key') })).toEqual([
      'new     kvrpcpb.GetRequest.key: bytes, number 2',
    ]);
  });

  test('a field that upstream removes', () => {
    expect(news({ upstream: (set) => drop(message(set, 'kvrpcpb', 'GetRequest'), 'key') })).toEqual([
      'gone    kvrpcpb.GetRequest.key: upstream has no such field (ours is number 2)',
    ]);
  });

  test.each([
    { what: 'another number', change: { number: 78 }, how: 'has number 2; upstream 78' },
    { what: 'another name', change: { name: 'row_key' }, how: 'upstream calls it row_key' },
    {
      what: 'another type',
      change: { type: FieldDescriptorProto_Type.STRING },
      how: 'is bytes; upstream string',
    },
    {
      what: 'repeated',
      change: { label: FieldDescriptorProto_Label.REPEATED },
      how: 'is not repeated; upstream is',
    },
  ])('a field that upstream gives $what', ({ change, how }) => {
    const upstream = (set: FileDescriptorSet): void => {
      Object.assign(
        message(set, 'kvrpcpb', 'GetRequest').field.find((f) => f.name === 'key')!,
        change,
      );
    };
    expect(news({ upstream })).toEqual([`changed kvrpcpb.GetRequest.key: ${how}`]);
  });

  test('another message in a field', () => {
    const upstream = (set: FileDescriptorSet): void => {
      const field = message(set, 'kvrpcpb', 'GetResponse').field.find((f) => f.name === 'region_error')!;
      field.typeName = '.errorpb.NotLeader';
    };
    expect(news({ upstream })).toEqual([
      'changed kvrpcpb.GetResponse.region_error: is message errorpb.Error; upstream message errorpb.NotLeader',
    ]);
  });

  test('a method that upstream adds, removes or changes', () => {
    const upstream = (set: FileDescriptorSet): void => {
      const tikv = service(set, 'tikvpb', 'Tikv');
      tikv.method = tikv.method.filter((m) => m.name !== 'KvScan');
      tikv.method.push(create(MethodDescriptorProtoSchema, { name: 'KvPeek' }));
      const get = tikv.method.find((m) => m.name === 'KvGet')!;
      get.serverStreaming = true;
      get.inputType = '.kvrpcpb.ScanRequest';
    };
    expect(news({ upstream })).toEqual([
      'new     /tikvpb.Tikv/KvPeek: a method that has no decision',
      'gone    /tikvpb.Tikv/KvScan: upstream has no such method',
      'changed /tikvpb.Tikv/KvGet: has one request, one answer; upstream one request, a stream of answers',
      'changed /tikvpb.Tikv/KvGet: its request is kvrpcpb.GetRequest; upstream kvrpcpb.ScanRequest',
    ]);
  });

  test('a message that upstream removes', () => {
    const upstream = (set: FileDescriptorSet): void => {
      const file = set.file.find((f) => f.package === 'metapb')!;
      file.messageType = file.messageType.filter((m) => m.name !== 'RegionEpoch');
    };
    expect(news({ upstream })).toEqual([
      'gone    metapb.RegionEpoch: upstream has no message metapb.RegionEpoch',
    ]);
  });

  test('an exception that makes no difference, and none where one is needed', () => {
    const leftOut = { ...LEFT_OUT, 'kvrpcpb.GetRequest.shadow_keys': 'read by nobody' };
    expect(news({ exceptions: { leftOut } })).toEqual([
      'gone    kvrpcpb.GetRequest.shadow_keys: is listed as an exception and makes no difference',
    ]);
    expect(news({ exceptions: { leftOut }, upstream: added })).toEqual([]);
  });
});
