/** What TiDB asks PD about regions, and PD's answers as the store's keys have them. */
import { decode, encode, type Fields } from '../test/harness/support/messages.ts';
import { memcomparable, rowKey } from '../test/harness/support/keys.ts';
import { frame, type Call } from './load.ts';

const TABLE = 112;
/** The tenant's number in the store's keys. */
const TAG = 1;
const HEADER: Fields = { clusterId: 7301n };

function region(i: number, tag = TAG): Fields {
  const peers = [0, 1, 2].map((n) => ({ id: BigInt(100_000 + i * 3 + n), storeId: BigInt(1 + n) }));
  return {
    region: {
      id: BigInt(5000 + i),
      startKey: memcomparable(rowKey(TABLE, i * 1000, tag)),
      endKey: memcomparable(rowKey(TABLE, (i + 1) * 1000, tag)),
      regionEpoch: { confVer: 5n, version: 61n },
      peers,
    },
    leader: peers[0],
  };
}

/** pdpb.GetRegionResponse for the tenant with this number. */
export function regionAnswer(tag = TAG): Uint8Array {
  return encode('pdpb.GetRegionResponse', { header: HEADER, ...region(0, tag) });
}

/** GetRegion, and ScanRegions with as many as TiDB asks for at most. */
export function regionCalls(): Call[] {
  const key = memcomparable(rowKey(TABLE, 500));
  const limit = 1024;
  return [
    {
      name: 'PD GetRegion',
      path: '/pdpb.PD/GetRegion',
      request: frame(encode('pdpb.GetRegionRequest', { header: HEADER, regionKey: key })),
      answer: frame(regionAnswer()),
      streaming: false,
    },
    {
      name: 'PD ScanRegions, 1,024',
      path: '/pdpb.PD/ScanRegions',
      request: frame(encode('pdpb.ScanRegionsRequest', { header: HEADER, startKey: key, limit })),
      answer: frame(
        encode('pdpb.ScanRegionsResponse', {
          header: HEADER,
          regions: Array.from({ length: limit }, (_, i) => region(i)),
        }),
      ),
      streaming: false,
    },
  ];
}

/** How many regions are in an answer to the call, its bytes being the message alone. */
export function regionsIn(call: Call, bytes: Uint8Array): number {
  if (call.path.endsWith('/GetRegion')) return decode('pdpb.GetRegionResponse', bytes)['region'] ? 1 : 0;
  return (decode('pdpb.ScanRegionsResponse', bytes)['regions'] as unknown[]).length;
}
