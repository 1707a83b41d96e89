/** Our part of PD's etcd against etcd's own clientv3/namespace: the same requests, and the same answers back. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter } from '../unit/filter.ts';
import { Messages } from './messages.ts';
import { Referee } from './referee.ts';
import { cases, commandLine } from './upstream.ts';

const TENANT = 1;
const NAME = 'alpha';
const CALLS = ['Range', 'Put', 'DeleteRange', 'Txn', 'Watch', 'LeaseTimeToLive'];
const flags = {
  seed: Number(process.env['TIDB_MESH_SEED'] ?? 1),
  count: 3000,
  prefix: `/tidb-mesh/${NAME}:`,
  tenant: TENANT,
};

let messages: Messages;

beforeAll(async () => {
  await buildFilter();
  messages = new Messages();
});

describe.each(BUILD_NAMES)('the %s build', (build) => {
  test('makes the same of every call as clientv3/namespace', async () => {
    const filter = new Filter(build);
    filter.select(TENANT, NAME);
    const referee = new Referee(filter, messages);
    for await (const c of cases('namespace', flags)) referee.judge(c);
    referee.report.throwOnProblems(commandLine('namespace', flags));
    for (const call of CALLS)
      for (const way of ['request', 'response'] as const)
        expect(referee.report.count(call, way)).toBe(flags.count);
    expect([...referee.report.differences.keys()].sort()).toEqual(['etcd-lease', 'etcd-watch-all']);
  });
});

test('the comparison fails for another prefix and for another tenant number', async () => {
  const filter = new Filter('release');
  for (const wrong of [
    { ...flags, prefix: '/tidb-mesh/alphb:' },
    { ...flags, tenant: 2 },
  ]) {
    filter.select(TENANT, NAME);
    const referee = new Referee(filter, messages);
    for await (const c of cases('namespace', { ...wrong, count: 100 })) referee.judge(c);
    expect(referee.report.failures).toBeGreaterThan(100);
    expect(() => referee.report.throwOnProblems('again')).toThrow(/do not agree with upstream/);
  }
});
