/** Each PD counts its regions from small numbers. What one says of a region must not be taken for another's with the same id and version. */
import { beforeAll, expect, test } from '@jest/globals';
import { buildModule, callHeaders, HostedModule } from '../../bench/module.ts';
import { spaceOf, stored } from '../harness/model/key-spaces.ts';
import { frame } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const NOW = 1_700_000_000_000;
const BATCH = 'tikvpb.BatchCommandsRequest';
/** PD is asked again after this time. */
const PAUSE = 6000;
const REGION = 40n;
const EPOCH = { confVer: 1n, version: 12n };
const SPACE = spaceOf({ number: 1 });

const caller = (tenant: string): Buffer => Buffer.from(`spiffe://m/ns/${tenant}/sa/tidb`);
const config = (cluster: string, tenant: string): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: [{ name: tenant, number: 1 }],
      rules: [{ principal: 'spiffe://m/ns/{tenant}/sa/*' }],
      pd: { cluster },
    }),
  );

beforeAll(buildModule);

function started(): HostedModule {
  const filter = new HostedModule();
  filter.clock = NOW;
  filter.reachesPd = true;
  filter.pluginName = 'storage-a';
  filter.configure(config('pd_a', 'alpha'));
  return filter;
}

/** True if a request goes on with its version that acts on the whole region, and names no key. */
function acts(filter: HostedModule, tenant: string): boolean {
  const stream = filter.open(caller(tenant), callHeaders('/tikvpb.Tikv/BatchCommands'));
  const value: Fields = { context: { regionId: REGION, regionEpoch: EPOCH }, startVersion: 5n };
  const request = encode(BATCH, { requests: [{ cmd: { case: 'ResolveLock', value } }], requestIds: [1n] });
  filter.request(stream, frame(request));
  const sent = decode(BATCH, filter.passed().subarray(5))['requests'][0].cmd.value;
  filter.close(stream);
  return sent.context.regionEpoch.version === EPOCH.version;
}

/** PD answers that the region is one of number 1's. */
function learn(filter: HostedModule, tenant: string): void {
  const stream = filter.open(caller(tenant), callHeaders('/pdpb.PD/GetRegion'));
  filter.request(stream, frame(encode('pdpb.GetRegionRequest', { regionKey: Buffer.alloc(0) })));
  const [startKey, endKey] = [1, 9].map((row) =>
    stored(SPACE, SPACE.encodeKey(rowKey(100, row)) as Uint8Array),
  );
  const region = { id: REGION, startKey, endKey, regionEpoch: EPOCH };
  filter.answerHeaders(stream);
  filter.answer(stream, frame(encode('pdpb.GetRegionResponse', { region })));
  filter.close(stream);
}

function known(): HostedModule {
  const filter = started();
  expect(acts(filter, 'alpha')).toBe(false);
  learn(filter, 'alpha');
  expect(acts(filter, 'alpha')).toBe(true);
  return filter;
}

/** PD says on the tick which cluster it has. */
function tellCluster(filter: HostedModule, cluster: bigint): void {
  filter.clock += PAUSE;
  filter.tick();
  const value = Buffer.alloc(8);
  value.writeBigUInt64BE(cluster);
  const kvs = [{ key: 'L3Bk', create_revision: '2', version: '9', value: value.toString('base64') }];
  filter.answerCall(
    filter.timeCalls.at(-1)!.token,
    JSON.stringify({ header: { cluster_id: '1', revision: '7' }, kvs, count: '1' }),
  );
}

test('a region of one PD is not taken for one of another', () => {
  const filter = known();
  filter.pluginName = 'storage-b';
  filter.supersede(config('pd_b', 'beta'));
  expect(acts(filter, 'beta')).toBe(false);
  learn(filter, 'beta');
  expect(acts(filter, 'beta')).toBe(true);
});

test('nor for one of a cluster that was made anew', () => {
  const filter = started();
  acts(filter, 'alpha');
  tellCluster(filter, 7n);
  learn(filter, 'alpha');
  expect(acts(filter, 'alpha')).toBe(true);
  // Its PD does not know the former cluster's clock, and says which one it has. What is known holds until then.
  filter.answerCall(filter.timeCalls.at(-1)!.token, JSON.stringify({ header: {}, count: '0' }));
  expect(acts(filter, 'alpha')).toBe(true);
  tellCluster(filter, 8n);
  expect(acts(filter, 'alpha')).toBe(false);
});
