/** pluginConfig.policy and dryRun on the real servers: who is refused what, in which words, and what is counted and logged. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { Caller } from '../e2e/support/caller.ts';
import { callHttp } from '../harness/stack/caller.ts';
import { principalOf, type CertFiles } from '../harness/stack/certs.ts';
import { startStack, type Stack, type StackOptions } from '../harness/stack/stack.ts';
import { rowKey } from '../harness/support/keys.ts';
import { ticked } from '../harness/support/tick.ts';

const SCAN: [string, string] = ['kvrpcpb.ScanRequest', 'kvrpcpb.ScanResponse'];
const BY_POLICY = 'refused by pluginConfig.policy; ask the operators of the storage layer';

/** The filter's counters, summed over Envoy's workers. */
async function counter(stack: Stack, name: string): Promise<number> {
  const found = await stack.envoy!.stats(new RegExp(`${name}$`));
  return [...found.values()].reduce((sum, value) => sum + value, 0);
}

async function http(stack: Stack, tenant: string, path: string): Promise<{ status: number; body: string }> {
  const certs: CertFiles = await stack.certs.client(principalOf(tenant, 'prober'));
  return callHttp(stack.pd.meshAddress, certs, path);
}

/** A scan of its own keys, by itself and in a batch between two others. */
async function scans(caller: Caller): Promise<{ unary: string; message: string; batch: unknown[] }> {
  const key = rowKey(100, 1);
  const { context } = await caller.regionOf(key);
  const version = BigInt(Date.now()) << 18n;
  const scan = { context, startKey: key, endKey: rowKey(100, 9), version, limit: 1 };
  const get = { context, key, version };
  const { status, message } = await caller.store('KvScan', SCAN, scan);
  const { found } = await caller.batchOf([
    ['Get', get],
    ['Scan', scan],
    ['Get', get],
  ]);
  return {
    unary: status,
    message,
    batch: found.map(({ case: name, fields }) => [name, fields['error']?.abort]),
  };
}

const FINE = [
  ['Get', undefined],
  ['Scan', undefined],
  ['Get', undefined],
];

const start = (options: StackOptions): Promise<Stack> =>
  startStack({ startTidbs: false, boundaries: false, ...options });

describe('a policy for one tenant, in a dry run for tenant 0', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await start({
      tenants: [
        { name: 'legacy', number: 0 },
        { name: 'alpha', number: 1 },
        { name: 'beta', number: 2 },
      ],
      pluginConfig: (standard: object) => ({
        ...standard,
        dryRun: true,
        policy: {
          refuse: ['GET /pd/api/v1/stores'],
          tenants: {
            alpha: { refuse: ['tikvpb.Tikv/KvScan', 'pdpb.PD/ScanRegions'] },
            legacy: { refuse: ['tikvpb.Tikv/KvScan'] },
          },
        },
      }),
    });
  });
  afterAll(() => stack.stop());

  test('alpha is refused a method, alone and in a batch whose other requests go on', async () => {
    const caller = await Caller.of(stack, 'alpha');
    const { unary, message, batch } = await scans(caller);
    expect(unary).toBe('PERMISSION_DENIED');
    expect(message).toBe(`tidb-mesh[BY_POLICY]: /tikvpb.Tikv/KvScan: ${BY_POLICY}`);
    expect(batch).toEqual([
      ['Get', undefined],
      ['Scan', `tidb-mesh[BY_POLICY]: ${BY_POLICY}`],
      ['Get', undefined],
    ]);
    await expect(caller.regions()).rejects.toThrow(BY_POLICY);
  });

  test('beta is refused nothing of that', async () => {
    const caller = await Caller.of(stack, 'beta');
    const { unary, batch } = await scans(caller);
    expect([unary, batch]).toEqual(['OK', FINE]);
    expect((await caller.regions()).length).toBeGreaterThan(0);
  });

  test('an endpoint is refused to both, by a JSON string as from PD; others are not', async () => {
    for (const tenant of ['alpha', 'beta']) {
      const { status, body } = await http(stack, tenant, '/pd/api/v1/stores');
      expect([status, JSON.parse(body)]).toEqual([
        403,
        `tidb-mesh[BY_POLICY]: /pd/api/v1/stores: ${BY_POLICY}`,
      ]);
      expect((await http(stack, tenant, '/pd/api/v1/version')).status).toBe(200);
    }
  });

  test('tenant 0 goes on, and what it would have been refused is counted and logged', async () => {
    const before = await counter(stack, 'tidbmesh_would_be_refused_total');
    const refused = await counter(stack, 'tidbmesh_refused_total');
    const { unary, batch } = await scans(await Caller.of(stack, 'legacy'));
    expect([unary, batch]).toEqual(['OK', FINE]);
    expect((await http(stack, 'legacy', '/pd/api/v1/stores')).status).toBe(200);
    expect(await counter(stack, 'tidbmesh_would_be_refused_total')).toBe(before + 3);
    expect(await counter(stack, 'tidbmesh_refused_total')).toBe(refused);
    const log = await readFile(stack.envoy!.logPath, 'utf8');
    expect(log).toMatch(
      /tidb-mesh: dry run: would be refused: (?:tikvpb\.Tikv\/KvScan|kvrpcpb\.ScanRequest|GET )/,
    );
  });

  test('what the tables refuse is refused to tenant 0 too, beside other tenants', async () => {
    const before = await counter(stack, 'tidbmesh_would_be_refused_total');
    expect((await http(stack, 'legacy', '/pd/api/v1/hotspot/stores')).status).toBe(403);
    expect((await http(stack, 'legacy', '/pd/api/v1/nothing')).status).toBe(403);
    expect(await counter(stack, 'tidbmesh_would_be_refused_total')).toBe(before);
  });
});

describe('a dry run for tenant 0 alone', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await start({
      tenants: [{ name: 'legacy', number: 0 }],
      pluginConfig: (standard: object) => ({ ...standard, dryRun: true }),
    });
  });
  afterAll(() => stack.stop());

  test('what the tables refuse goes on, is counted, and is logged without keys', async () => {
    const key = '7480000000000000ff';
    expect((await http(stack, 'legacy', `/pd/api/v1/nothing/${key}/secretkey?start_key=${key}`)).status).toBe(
      404,
    );
    // A line a second at most.
    await ticked();
    expect((await http(stack, 'legacy', '/pd/api/v1/hotspot/stores')).status).toBe(200);
    expect(await counter(stack, 'tidbmesh_would_be_refused_total')).toBe(2);
    expect(await counter(stack, 'tidbmesh_refused_total')).toBe(0);
    const log = await readFile(stack.envoy!.logPath, 'utf8');
    const lines = log.split('\n').filter((line) => line.includes('dry run'));
    expect(lines.map((line) => /would be refused: (.*)$/.exec(line)?.[1]).sort()).toEqual([
      '* /pd/api/v1/hotspot/**',
      'GET /pd/api/v1/nothing',
    ]);
    for (const line of lines) expect(line).not.toMatch(/7480|secretkey|\?/);
  });

  test('a caller without a certificate of a tenant is refused all the same', async () => {
    expect((await http(stack, 'stranger', '/pd/api/v1/version')).status).toBe(403);
  });
});
