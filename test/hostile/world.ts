/** Real servers with tenants that have something to hide, and others that want it. */
import { callHttp } from '../harness/stack/caller.ts';
import { principalOf } from '../harness/stack/certs.ts';
import { startStack, type PluginConfig, type Stack, type Tenant } from '../harness/stack/stack.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { memcomparable, tablePrefix } from '../harness/support/keys.ts';
import { unframe } from '../envoy/upstream.ts';
import { Caller } from '../e2e/support/caller.ts';
import { spaceOf, type KeySpace } from '../harness/model/key-spaces.ts';
import { frame } from '../harness/model/wire.ts';
import type { Attacker, Victim } from './forge.ts';
import { ENTRY, QUIET, TABLE, TABLE_END } from './keys.ts';
import { repeated, Secrets, token } from './secrets.ts';
import { Wire } from './wire.ts';

/** What a stack is for: who attacks, and whom. */
export interface Scene {
  readonly title: string;
  readonly api: 'v1' | 'v2';
  readonly attackers: readonly Tenant[];
  readonly victims: readonly Tenant[];
}

const prefix = (text: string): Pick<Tenant, 'prefix'> => ({ prefix: { text, mode: 'txn' } });
const keyspace = (id: number): Pick<Tenant, 'keyspace'> => ({ keyspace: { id, mode: 'txn' } });

export const SCENES: readonly Scene[] = [
  {
    title: 'table and prefix',
    api: 'v1',
    attackers: [
      { name: 'alpha', number: 1 },
      { name: 'gamma', number: 3, ...prefix('zeta:') },
    ],
    victims: [
      { name: 'beta', number: 2 },
      { name: 'legacy', number: 0 },
      { name: 'delta', number: 4, ...prefix('zeta;') },
    ],
  },
  {
    title: 'keyspace',
    api: 'v2',
    attackers: [{ name: 'alpha', number: 5, ...keyspace(7) }],
    victims: [
      { name: 'beta', number: 6, ...keyspace(8) },
      { name: 'delta', number: 7, ...keyspace(6) },
    ],
  },
];

export interface Hostile {
  readonly tenant: string;
  readonly attacker: Attacker;
  readonly caller: Caller;
  readonly pd: Wire;
  readonly store: Wire;
  /** Asks PD anew where its own keys lie: it may have split its regions. */
  refresh(): Promise<void>;
  /** Bytes of a request that reads a key of its own, and the key's value. */
  readonly read: () => Uint8Array;
  readonly value: Buffer;
}

export interface World {
  readonly stack: Stack;
  readonly secrets: Secrets;
  readonly hostiles: readonly Hostile[];
  /** Regions that no attacker has a part of. */
  readonly foreignRegions: ReadonlySet<bigint>;
  /** All that the attackers must not change, as texts: keys and locks of the store, PD's etcd. */
  snapshot(): Promise<string[]>;
  stop(): Promise<void>;
}

const V1 = '/pd/api/v1';

export function modelSpace({ number, keyspace: id, prefix: bytes }: Tenant): KeySpace {
  return spaceOf({
    number,
    ...(id ? { keyspace: id } : {}),
    ...(bytes ? { prefix: { bytes: new TextEncoder().encode(bytes.text), mode: bytes.mode } } : {}),
  });
}

let last = 0n;
/** A timestamp of this moment, later than all before. */
export function timestamp(): bigint {
  const now = BigInt(Date.now()) << 18n;
  last = now > last ? now : last + 1n;
  return last;
}

function expectGood(
  what: string,
  { status, message, fields }: { status: string; message: string; fields: Fields | undefined },
): Fields {
  const wrong = [fields?.['regionError'], fields?.['error'], ...(fields?.['errors'] ?? [])].filter(Boolean);
  if (status !== 'OK' || wrong.length > 0)
    throw new Error(
      `${what}: ${status} ${message} ${JSON.stringify(wrong, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v))}`,
    );
  return fields!;
}

/** Writes rows, without committing them where `commit` is false. Gives the transaction's start. */
async function writeRows(caller: Caller, rows: [Buffer, Buffer][], commit = true): Promise<bigint> {
  const startTs = timestamp();
  for (const [key, value] of rows) {
    const { context } = await caller.regionOf(key);
    const prewrite = await caller.store(
      'KvPrewrite',
      ['kvrpcpb.PrewriteRequest', 'kvrpcpb.PrewriteResponse'],
      {
        context,
        mutations: [{ op: 0, key, value }],
        primaryLock: key,
        startVersion: startTs,
        lockTtl: 3_600_000n,
        txnSize: 1n,
      },
    );
    expectGood(`prewrite of ${caller.tenant}`, prewrite);
    if (!commit) continue;
    const done = await caller.store('KvCommit', ['kvrpcpb.CommitRequest', 'kvrpcpb.CommitResponse'], {
      context,
      keys: [key],
      startVersion: startTs,
      commitVersion: timestamp(),
    });
    expectGood(`commit of ${caller.tenant}`, done);
  }
  return startTs;
}

/** Everything that a tenant has and nobody else may see. */
async function plant(stack: Stack, tenant: Tenant, secrets: Secrets): Promise<Victim> {
  const { name, number } = tenant;
  const caller = await Caller.of(stack, name);
  const space = modelSpace(tenant);
  const secret = token();
  const long = Buffer.from(repeated(secret));
  const known = `known-${name}`;
  secrets.addToken(`${name}'s secret`, secret);

  const index = Buffer.concat([tablePrefix(TABLE), Buffer.from('_i'), long]);
  const meta = Buffer.concat([Buffer.from('m'), long]);
  await writeRows(caller, [
    [ENTRY, long],
    [index, long],
    [meta, long],
  ]);
  const locked = Buffer.concat([index, Buffer.from('locked')]);
  const startTs = await writeRows(caller, [[locked, long]], false);

  // One lease whose id is known, and one with an id that nobody has ever said.
  const knownLease = BigInt(0x1000 + number);
  const secretLease = BigInt(
    `0x2${[...crypto.getRandomValues(new Uint8Array(5))].map((b) => b.toString(16).padStart(2, '0')).join('')}`,
  );
  for (const id of [knownLease, secretLease])
    expectGood('lease', await caller.etcd('Lease/LeaseGrant', { ID: id, TTL: 3600n }));
  const storedLease = (id: bigint): bigint =>
    number === 0 ? id : (1n << 63n) | (BigInt(number) << 48n) | id;
  secrets.addNumber(`${name}'s lease`, secretLease);
  if (number !== 0) secrets.addNumber(`${name}'s lease in etcd`, storedLease(secretLease));
  const puts: [string, bigint][] = [
    [known, knownLease],
    [`secret-${secret}`, secretLease],
  ];
  for (const [key, lease] of puts)
    expectGood('put', await caller.etcd('KV/Put', { key: Buffer.from(key), value: long, lease }));

  const group = { mode: 1, rUSettings: { rU: { settings: { fillRate: 77n } } }, priority: 8 };
  const types: [string, string] = [
    'resource_manager.PutResourceGroupRequest',
    'resource_manager.PutResourceGroupResponse',
  ];
  for (const groupName of [known, `s-${secret}`])
    expectGood(
      'group',
      await caller.pdService('resource_manager.ResourceManager/AddResourceGroup', types, {
        group: { name: groupName, ...group },
      }),
    );
  const bounds = (end = TABLE_END): object => ({
    start_key: memcomparable(tablePrefix(TABLE)).toString('hex'),
    end_key: memcomparable(end).toString('hex'),
  });
  const rule = { group_id: known, id: `s-${secret}`, ...bounds(), role: 'voter', count: 1 };
  const label = {
    id: `schema/${known}`,
    labels: [
      { key: 'merge_option', value: 'deny' },
      { key: `k${secret}`, value: secret },
    ],
    rule_type: 'key-range',
    data: [bounds()],
  };
  const certs = await stack.certs.client(principalOf(name));
  const posts: [string, object][] = [
    [
      'config/placement-rule?partial=true',
      [{ group_id: known, group_index: 3, group_override: false, rules: [rule] }],
    ],
    ['config/region-label/rule', label],
    ['config/rule_group', { id: `g-${secret}`, index: 9 }],
  ];
  for (const [path, body] of posts) {
    const told = await callHttp(stack.pd.meshAddress, certs, `${V1}/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    if (told.status !== 200) throw new Error(`${name}: ${path}: ${told.status} ${told.body}`);
  }
  for (const service of [known, `s-${secret}`])
    expectGood(
      'service',
      await caller.pd('UpdateServiceGCSafePoint', {
        header: await caller.header(),
        serviceId: Buffer.from(service),
        TTL: 3600n,
        safePoint: timestamp(),
      }),
    );

  const key = space.encodeKey(ENTRY) as Uint8Array;
  // Tenant 0's keys look like everybody's own.
  if (number !== 0) secrets.addKnown(`${name}'s keys`, key.subarray(0, 8));
  const { id: regionId, context } = await caller.regionOf(ENTRY);
  return {
    name,
    number,
    space,
    key,
    regionId,
    context: encode('kvrpcpb.Context', context),
    startTs,
    lease: storedLease(knownLease),
    known,
  };
}

/** All of PD's etcd, past Envoy. */
async function etcd(stack: Stack): Promise<[string, string][]> {
  const pd = new Wire(new URL(stack.pd.directUrl).host);
  const all = { key: Buffer.of(0), rangeEnd: Buffer.of(0) };
  const { body } = await pd.call('/etcdserverpb.KV/Range', frame(encode('etcdserverpb.RangeRequest', all)));
  pd.close();
  const { kvs } = decode('etcdserverpb.RangeResponse', unframe(body)[0] ?? Buffer.alloc(0)) as {
    kvs: { key: Uint8Array; value: Uint8Array }[];
  };
  return kvs.map(({ key, value }) => [
    Buffer.from(key).toString('latin1'),
    Buffer.from(value).toString('latin1'),
  ]);
}

/** What PD itself writes all the time, and the use of the resource group that tenants share. */
const PDS_OWN =
  /\/(timestamp|leader|alloc_id|alloc_leader|member|members|raft\/[rs]\/|raft\/status|raft\/min_resolved|dc-location|lta)|^resource_group\/states\/default$|^\/(ms|pd)\/.*(primary|registry)/;

export async function startWorld(scene: Scene): Promise<World> {
  const { attackers, victims } = scene;
  const tenants = [...attackers, ...victims];
  const stack = await startStack({
    // Tenant 0 has no boundaries of its own: others' are its.
    tenants: tenants.filter(({ number }) => number !== 0),
    startTidbs: false,
    api: scene.api,
    concurrency: 1,
    envoyLog: 'wasm:info',
    pluginConfig: (standard: PluginConfig) => ({ ...standard, tenants }),
  });
  try {
    return await settle(stack, scene);
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

async function settle(stack: Stack, { attackers, victims }: Scene): Promise<World> {
  const secrets = new Secrets();
  const planted: Victim[] = [];
  for (const tenant of victims) planted.push(await plant(stack, tenant, secrets));

  const hostiles = await Promise.all(
    attackers.map(async (tenant): Promise<Hostile> => {
      const caller = await Caller.of(stack, tenant.name);
      const value = Buffer.from(`own-${tenant.name}`);
      await writeRows(caller, [
        [ENTRY, value],
        [QUIET, value],
      ]);
      let { context } = await caller.regionOf(QUIET);
      const { clusterId } = (await caller.header()) as { clusterId: bigint };
      const certs = await stack.certs.client(principalOf(tenant.name));
      const attacker = {
        space: modelSpace(tenant),
        key: ENTRY,
        context: encode('kvrpcpb.Context', (await caller.regionOf(ENTRY)).context),
        clusterId,
        victims: planted,
        now: timestamp,
      };
      return {
        tenant: tenant.name,
        caller,
        value,
        pd: new Wire(stack.pd.meshAddress, certs),
        store: new Wire(stack.store.meshAddress, certs),
        async refresh() {
          ({ context } = await caller.regionOf(QUIET));
          attacker.context = encode('kvrpcpb.Context', (await caller.regionOf(ENTRY)).context);
        },
        read: () => encode('kvrpcpb.GetRequest', { context, key: QUIET, version: timestamp() }),
        attacker,
      };
    }),
  );

  const spaces = attackers.map(modelSpace);
  // Unistore keeps a rollback's record at the key with its first byte raised by one.
  const isRollbacks = (key: Buffer, commitTs: bigint): boolean =>
    commitTs === 0n && isAttackers(Buffer.concat([Buffer.of(key[0]! - 1), key.subarray(1)]));
  const isAttackers = (key: Uint8Array): boolean =>
    spaces.some(({ first, behind }) => Buffer.compare(key, first) >= 0 && Buffer.compare(key, behind) < 0);
  const names = attackers.map(
    ({ name, number }) =>
      new RegExp(`tidb-mesh[:/]${name}\\b|minstartts/${name}:|(settings|states)/${number}:`),
  );
  const regions = (await (await fetch(`${stack.pd.directUrl}${V1}/regions`)).json()) as {
    regions: { id: number; start_key: string; end_key: string }[];
  };
  const overlaps = ({ start_key: start, end_key: end }: { start_key: string; end_key: string }): boolean =>
    spaces.some(({ first, behind }) => {
      const [from, to] = [first, behind].map((key) =>
        Buffer.from(memcomparable(key)).toString('hex').toUpperCase(),
      );
      return start < to! && (end === '' || end > from!);
    });
  const none = new Uint8Array(0);
  return {
    stack,
    secrets,
    hostiles,
    foreignRegions: new Set(
      regions.regions.filter((region) => !overlaps(region)).map(({ id }) => BigInt(id)),
    ),
    async snapshot() {
      const { inspect } = stack.store;
      const [versions, locks, names_] = await Promise.all([
        inspect.versions(none, none),
        inspect.locks(none, none),
        etcd(stack),
      ]);
      const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex');
      return [
        ...versions
          .filter(({ key, commitTs }) => !isAttackers(key) && !isRollbacks(key, commitTs))
          .map(
            ({ key, startTs, commitTs, valueLength }) =>
              `version ${hex(key)} ${startTs} ${commitTs} ${valueLength}`,
          ),
        ...locks
          .filter(({ key }) => !isAttackers(key))
          .map(({ key, primary, startTs }) => `lock ${hex(key)} ${hex(primary)} ${startTs}`),
        ...names_
          .filter(
            ([key, value]) => !PDS_OWN.test(key) && !names.some((name) => name.test(key) || name.test(value)),
          )
          .map(([key, value]) => `etcd ${key} ${value}`),
      ].toSorted();
    },
    async stop() {
      for (const { pd, store } of hostiles) {
        pd.close();
        store.close();
      }
      await stack.stop();
    },
  };
}
