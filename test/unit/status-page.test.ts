/** `GET /tidb-mesh/status`: what the VMs of one Envoy have told each other, and who may read it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, headerPairs, HostedModule, type SharedData } from '../../bench/module.ts';
import { frame } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { encode } from '../harness/support/messages.ts';
import { suspendTenants } from '../../src-ts/cli/commands/tenants/states.ts';
import type { Result } from '../../src-ts/cli/definition.ts';
import { VERSION } from '../../src-ts/version.ts';

const GET = '/tikvpb.Tikv/KvGet';
const PATH = '/tidb-mesh/status';
const config = (alphaState = 'active', more: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: [
        { name: 'alpha', number: 1, state: alphaState },
        { name: 'beta', number: 2 },
      ],
      rules: [
        { principal: 'spiffe://m/ns/storage/sa/*', system: true },
        { principal: 'spiffe://m/ns/{tenant}/sa/*' },
      ],
      ...more,
    }),
  );
const caller = (namespace: string): Buffer => Buffer.from(`spiffe://m/ns/${namespace}/sa/x`);
const request = frame(encode('kvrpcpb.GetRequest', { key: rowKey(100, 1), version: 5n }));

interface Status {
  version: string;
  vms: {
    id: number;
    stale: boolean;
    toldMsAgo: number;
    memoryBytes: number;
    streams: number;
    configs: { plugin: string; hash: number; serial: number; loadedAt: number; tenants: number }[];
  }[];
  tenants: Record<string, Record<string, unknown> & { requests: Record<string, number> }>;
}

/** What this caller gets from this VM: the status and the body. */
function ask(vm: HostedModule, who = caller('storage'), path = PATH, method = 'GET'): [number, string] {
  vm.replyCode = 0;
  const headers = headerPairs([
    [':method', method],
    [':path', path],
    [':authority', 'store:20160'],
  ]);
  expect(() => vm.open(who, headers)).toThrow();
  return [vm.replyCode, vm.refusal];
}
const read = (vm: HostedModule): Status => JSON.parse(ask(vm)[1]) as Status;

let shared: SharedData;
let one: HostedModule;
let two: HostedModule;
beforeAll(buildModule);
beforeEach(() => {
  shared = new Map();
  [one, two] = [new HostedModule(shared), new HostedModule(shared)];
  for (const vm of [one, two]) {
    vm.clock = 1_700_000_000_000;
    vm.configure(config());
  }
});

function pass(milliseconds: number, ...vms: HostedModule[]): void {
  for (const vm of vms) {
    vm.clock += milliseconds;
    vm.tick();
  }
}

function use(vm: HostedModule, tenant: string, times: number): void {
  for (let i = 0; i < times; i++) {
    const stream = vm.open(caller(tenant), callHeaders(GET));
    vm.request(stream, request);
    vm.close(stream);
  }
}

test('VMs that register at the same moment have ids of their own', () => {
  let quicker: HostedModule | undefined;
  class Racing extends Map<string, { value: Uint8Array; cas: number }> {
    override get(name: string): { value: Uint8Array; cas: number } | undefined {
      const value = super.get(name);
      const other = quicker;
      if (other && name === 'tidb-mesh.vms') {
        quicker = undefined;
        use(other, 'alpha', 1);
      }
      return value;
    }
  }
  const racing = new Racing();
  [one, two] = [new HostedModule(racing), new HostedModule(racing)];
  for (const vm of [one, two]) {
    vm.clock = 1_700_000_000_000;
    vm.configure(config());
  }
  quicker = two;
  use(one, 'alpha', 1);
  expect(quicker).toBeUndefined();
  pass(1000, one, two);
  expect(read(one).vms.map(({ id }) => id)).toEqual([0, 1]);
});

test('sums the tenants over all VMs, whichever VM is asked', () => {
  use(one, 'alpha', 3);
  use(two, 'alpha', 4);
  use(two, 'beta', 1);
  pass(1000, one, two);
  for (const vm of [one, two]) {
    const status = read(vm);
    expect(status.version).toBe(VERSION);
    expect(status.vms.map(({ id, stale }) => [id, stale])).toEqual([
      [0, false],
      [1, false],
    ]);
    expect(Object.keys(status.tenants).sort()).toEqual(['alpha', 'beta']);
    expect(status.tenants['alpha']).toMatchObject({
      state: 'active',
      requests: { read: 7, write: 0 },
      requestBytes: 7 * request.length,
      streams: 7,
      openStreams: 0,
      refused: 0,
      heldBytes: 0,
    });
  }
});

test('what another version of the filter has left is listed, and not read', () => {
  use(one, 'alpha', 3);
  pass(1000, one, two);
  const key = 'tidb-mesh.vm.00000001';
  const record = Buffer.from(shared.get(key)!.value);
  const expected = read(one).tenants;
  // Lengths that lead out of the record, and a record of the form of before.
  const forged = Buffer.from(record);
  forged.writeUInt32LE(0x7fffff00, 8);
  forged.writeUInt32LE(0x00ffffff, 12);
  forged.writeUInt32LE(1, 16);
  const longer = Buffer.concat([record, Buffer.alloc(8)]);
  for (const left of [forged, longer, record.subarray(0, 16), record.subarray(0, 8)]) {
    shared.set(key, { value: left, cas: 1 });
    const { vms, tenants } = read(one);
    expect(vms[1]).toEqual({ id: 1, otherVersion: true, configs: [], toldMsAgo: 0, stale: false });
    expect(tenants).toEqual(expected);
  }
});

test('has rates over the last second', () => {
  pass(1000, one);
  use(one, 'alpha', 20);
  pass(2000, one);
  expect(read(one).tenants['alpha']).toMatchObject({
    requestsPerSecond: 10,
    bytesPerSecond: 10 * request.length,
  });
  pass(2000, one);
  expect(read(one).tenants['alpha']).toMatchObject({ requestsPerSecond: 0 });
});

test('tells the configuration of each VM: one that has not taken the new one differs', () => {
  pass(1000, one, two);
  const hashes = (): number[] => read(one).vms.map(({ configs }) => configs[0]!.hash);
  const [before, other] = hashes();
  expect(other).toBe(before);
  one.configure(config('read-only'));
  pass(1000, one, two);
  const [after, old] = hashes();
  expect(after).not.toBe(before);
  expect(old).toBe(before);
  two.configure(config('read-only'));
  pass(1000, one, two);
  expect(new Set(hashes()).size).toBe(1);
  const [vm] = read(one).vms;
  expect(vm!.configs).toEqual([
    {
      plugin: 'bench',
      hash: after,
      serial: 2,
      loadedAt: expect.any(Number) as unknown as number,
      tenants: 2,
      states: { alpha: 'read-only' },
    },
  ]);
});

test('tells Envoy which configuration a VM runs, and since when', () => {
  const told = (vm: HostedModule, id: number): [number, number] => [
    vm.metric(`vm=.=${id};.;tidbmesh_config_hash`),
    vm.metric(`vm=.=${id};.;tidbmesh_config_loaded_timestamp_seconds`),
  ];
  pass(1000, one, two);
  const loaded = read(one).vms.map(({ configs: [config] }): [number, number] => [
    config!.hash,
    Math.floor(config!.loadedAt / 1000),
  ]);
  expect([told(one, 0), told(two, 1)]).toEqual(loaded);
  pass(5000, one, two);
  one.configure(config('suspended'));
  pass(1000, one, two);
  expect(told(one, 0)).toEqual([read(one).vms[0]!.configs[0]!.hash, loaded[0]![1] + 6]);
  expect(told(one, 0)[0]).not.toBe(told(two, 1)[0]);
  expect(told(two, 1)).toEqual(loaded[1]);
});

test('has the errors of the store by class, of all VMs', () => {
  const answer = frame(encode('kvrpcpb.GetResponse', { error: { locked: { lockVersion: 4n } } }));
  for (const vm of [one, two]) {
    const stream = vm.open(caller('alpha'), callHeaders(GET));
    vm.request(stream, request);
    vm.answerHeaders(stream);
    vm.answer(stream, answer);
    vm.close(stream);
  }
  pass(1000, one, two);
  expect(read(one).tenants['alpha']).toMatchObject({
    errors: { region: 0, busy: 0, lock: 2, conflict: 0, other: 0 },
    streams: 2,
    refused: 0,
  });
});

describe('`tidb-mesh tenants suspend --wait`', () => {
  let server: Server;
  let envoy: string;
  let asked = 0;
  let answer: () => string;
  beforeAll(async () => {
    server = createServer((_, response) => {
      asked++;
      response.end(answer());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    envoy = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => void server.close());

  async function suspend(more: object): Promise<Result> {
    const folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-'));
    const file = join(folder, 'config.json');
    writeFileSync(file, config('suspended'));
    try {
      const options = { config: file, ...more };
      return await suspendTenants.run({ options, args: ['alpha'], tell: () => undefined });
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  test('goes on until every VM has the state, of tenants without a request as well', async () => {
    asked = 0;
    pass(1000, one, two);
    answer = () => {
      // Each VM gets the configuration after another question.
      if (asked === 2) one.configure(config('suspended'));
      if (asked === 3) two.configure(config('suspended'));
      pass(1000, one, two);
      return ask(one)[1];
    };
    const { value, text } = await suspend({ wait: true, envoy: [envoy] });
    expect(asked).toBe(3);
    expect(value).toMatchObject({ state: 'suspended', vms: 2 });
    expect(text).toMatch(/alpha is suspended in all 2 VMs$/);
    expect(read(one).tenants).toEqual({});
  });

  test('does not wait for a VM that has ended', async () => {
    pass(1000, one, two);
    one.configure(config('suspended'));
    pass(10_000, one);
    answer = () => ask(one)[1];
    expect((await suspend({ wait: true, envoy: [envoy] })).value).toMatchObject({ vms: 1 });
  });

  test('needs to know whom to ask', async () => {
    for (const options of [{ wait: true }, { envoy: [envoy] }])
      await expect(suspend(options)).rejects.toMatchObject({ code: 'USAGE' });
  });
});

test('marks a VM that has told nothing for ten seconds as stale, and keeps what it counted', () => {
  use(two, 'alpha', 2);
  const open = two.open(caller('alpha'), callHeaders(GET));
  expect(open).toBeGreaterThan(0);
  pass(1000, one, two);
  expect(read(one).tenants['alpha']).toMatchObject({ streams: 3, openStreams: 1 });
  pass(9000, one);
  // It came first, with its first stream.
  expect(read(one).vms[0]).toMatchObject({ id: 0, stale: false, toldMsAgo: 9000 });
  pass(1000, one);
  const status = read(one);
  expect(status.vms.map(({ stale }) => stale)).toEqual([true, false]);
  expect(status.tenants['alpha']).toMatchObject({ streams: 3, openStreams: 0 });
});

test('is for system principals only: a tenant gets 403, which names nobody', () => {
  use(two, 'beta', 1);
  pass(1000, one, two);
  for (const path of [PATH, `${PATH}?x=1`]) {
    const [code, text] = ask(one, caller('alpha'), path);
    expect([code, JSON.parse(text)]).toEqual([
      403,
      expect.stringMatching(/^tidb-mesh\[NOT_FOR_TENANTS\]: \/tidb-mesh\/status: /),
    ]);
    expect(text).not.toMatch(/alpha|beta/);
  }
  expect(ask(one, caller('stranger'))[0]).toBe(403);
  expect(ask(one)[0]).toBe(200);
});

test('a dry run does not open it to tenant 0', () => {
  const alone = { tenants: [{ name: 'legacy', number: 0 }], dryRun: true };
  one.configure(config('active', alone));
  expect(ask(one, caller('legacy'))[0]).toBe(403);
});

test('other paths of a system principal go on', () => {
  const headers = headerPairs([
    [':method', 'GET'],
    [':path', '/tidb-mesh/other'],
    [':authority', 'store:20160'],
  ]);
  expect(one.open(caller('storage'), headers)).toBeGreaterThan(0);
});
