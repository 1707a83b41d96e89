/** The keyspace codec against client-go's CodecV2: every command that it knows, requests and answers, in both modes. */
import { readFileSync } from 'node:fs';
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { buildFilter, Filter } from '../unit/filter.ts';
import { Messages } from './messages.ts';
import { Referee, type Report } from './referee.ts';
import { page, PAGE, RENEW } from './table.ts';
import { cases, commandLine, differences, type Flags } from './upstream.ts';

const COUNT = 2000;
/** The number of the keyspaces' owner. */
const TENANT = 3;
const seed = Number(process.env['TIDB_MESH_SEED'] ?? 1);

interface Keyspace {
  readonly mode: 'txn' | 'raw';
  readonly id: number;
}
const KEYSPACES: readonly Keyspace[] = [
  { mode: 'txn', id: 7 },
  { mode: 'raw', id: 7 },
];
/** Ids whose keyspaces begin or end with zeros, the first and the last one among them. */
const ROUND: readonly Keyspace[] = (['txn', 'raw'] as const).flatMap((mode) =>
  [0, 0xff, 0x100, 0xffff, 0xffffff].map((id) => ({ mode, id })),
);

/** A timestamp's logical part lies below its milliseconds. */
const LOGICAL_BITS = 18n;
const MAX_DRIFT_MS = 600_000;

/** Commands whose requests hold keys, one of each kind. */
const KEYED = {
  txn: [
    'Get',
    'Scan',
    'Prewrite',
    'Commit',
    'Cleanup',
    'BatchGet',
    'Flush',
    'Cop',
    'SplitRegion',
    'StoreSafeTS',
  ],
  raw: ['RawGet', 'RawPut', 'RawBatchPut', 'RawScan', 'RawCompareAndSwap', 'SplitRegion'],
};
const WAYS = ['request', 'response'] as const;
const PD_CALLS = ['GetRegion', 'GetPrevRegion', 'GetRegionByID', 'ScanRegions', 'BatchScanRegions'];

let messages: Messages;
const seen = new Set<string>();

beforeAll(async () => {
  await buildFilter();
  messages = new Messages();
});

function filterOf(keyspace: Keyspace): Filter {
  const filter = new Filter('release');
  filter.selectSpace({ number: TENANT, keyspace });
  filter.latestTimestamp = BigInt(Date.now() + MAX_DRIFT_MS) << LOGICAL_BITS;
  // PD can be asked, and has said nothing yet.
  filter.lookups = true;
  return filter;
}

/** The filter of one keyspace against what upstream says of the one in `flags`. */
async function judged(
  subcommand: 'codec' | 'pd',
  keyspace: Keyspace,
  flags: Flags,
  spoil: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes,
): Promise<Report> {
  const filter = filterOf(keyspace);
  const referee = new Referee(filter, messages);
  for await (const c of cases(subcommand, flags)) referee.judge({ ...c, wanted: spoil(c.wanted) });
  for (const id of referee.report.differences.keys()) seen.add(id);
  return referee.report;
}

const flagsOf = ({ mode, id }: Keyspace, count: number): Flags => ({
  seed,
  count,
  mode,
  keyspace: id,
  tenant: TENANT,
});

describe.each(KEYSPACES)('keyspace $id of mode $mode', (keyspace) => {
  test('makes the same of every command as CodecV2', async () => {
    const flags = flagsOf(keyspace, COUNT);
    const report = await judged('codec', keyspace, flags);
    report.throwOnProblems(commandLine('codec', flags));
    for (const command of KEYED[keyspace.mode])
      expect([command, ...WAYS.map((way) => report.count(command, way))]).toEqual([command, COUNT, COUNT]);
    expect(report.batched).toBeGreaterThan(COUNT);
  });

  test('makes the same of PD as CodecPDClient', async () => {
    const flags = flagsOf(keyspace, COUNT);
    const report = await judged('pd', keyspace, flags);
    report.throwOnProblems(commandLine('pd', flags));
    for (const call of PD_CALLS)
      expect([call, ...WAYS.map((way) => report.count(call, way))]).toEqual([call, COUNT, COUNT]);
  });

  test('is told from every other keyspace', async () => {
    const other = { ...keyspace, id: keyspace.id + 1 };
    const report = await judged('codec', keyspace, flagsOf(other, 60));
    for (const command of KEYED[keyspace.mode]) expect([...report.failed]).toContain(`${command} request`);
    expect(() => report.throwOnProblems('again')).toThrow(/do not agree with upstream/);
    expect((await judged('pd', keyspace, flagsOf(other, 60))).failed.size).toBeGreaterThan(PD_CALLS.length);
  });

  test('no bit of a message may be another', async () => {
    let flipped = 0;
    const report = await judged('codec', keyspace, flagsOf(keyspace, 30), (bytes) => {
      if (bytes.length === 0) return bytes;
      const other = Uint8Array.from(bytes);
      const at = flipped++ % other.length;
      other[at] = (other[at] ?? 0) ^ (1 << (flipped % 8));
      return other;
    });
    expect(flipped).toBeGreaterThan(500);
    // Only a bool has bits that do not count: every number but 0 is true.
    expect(report.failures).toBeGreaterThan(flipped * 0.98);
  });
});

test.each(ROUND)('keyspace $id of mode $mode', async (keyspace) => {
  for (const subcommand of ['codec', 'pd'] as const) {
    const flags = flagsOf(keyspace, 100);
    const report = await judged(subcommand, keyspace, flags);
    report.throwOnProblems(commandLine(subcommand, flags));
  }
});

test("a request on a region that is known to be the tenant's goes on as CodecV2 has it", async () => {
  const keyspace: Keyspace = { mode: 'txn', id: 7 };
  const filter = filterOf(keyspace);
  const referee = new Referee(filter, messages);
  const flags = { ...flagsOf(keyspace, 500), only: 'ResolveLock' };
  const request = messages.desc('kvrpcpb.ResolveLockRequest');
  let proven = 0;
  for await (const c of cases('codec', flags)) {
    if (!c.upstream || c.differences.join() !== 'region-unknown') continue;
    const { context } = toJson(request, fromBinary(request, c.given)) as {
      context: { regionId: string; regionEpoch: { version: string } };
    };
    filter.learn(BigInt(context.regionId), BigInt(context.regionEpoch.version), true);
    referee.judge({ ...c, wanted: c.upstream, differences: [] });
    proven++;
  }
  referee.report.throwOnProblems(commandLine('codec', flags));
  expect(proven).toBeGreaterThan(100);
});

test('every listed difference came up', async () => {
  const ETCD = /^etcd-/;
  const listed = (await differences()).map((d) => d.id).filter((id) => !ETCD.test(id));
  expect([...seen].sort()).toEqual(listed.sort());
});

test(`the page of differences is current (${RENEW})`, async () => {
  expect(readFileSync(PAGE, 'utf8')).toBe(await page(await differences()));
});
