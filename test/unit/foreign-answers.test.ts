/** What PD's answers say of regions that are not the tenant's. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter } from './filter.ts';
import { Tenant } from './tenant.ts';
import { concat } from '../harness/model/bytes.ts';
import { bytes, scalar } from '../harness/model/wire.ts';
import { memcomparable, tablePrefix } from '../harness/support/keys.ts';
import { encode } from '../harness/support/messages.ts';
import { spaceOf } from '../harness/model/key-spaces.ts';

const REGION = 'pdpb.GetRegionResponse';
const STORE = 'pdpb.GetStoreResponse';
const HEADER = { header: { clusterId: 5n } };
const hex = (of: Uint8Array): string => Buffer.from(of).toString('hex');
const peer = { id: 8n, storeId: 1n };

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let tenant: Tenant;
  beforeEach(() => {
    tenant = new Tenant(build);
  });

  /** An answer about the region of one row of that tenant's. */
  function regionOf(number: number): Uint8Array {
    const { encodeKey } = spaceOf({ number });
    const [startKey, endKey] = [7, 8].map((id) => memcomparable(encodeKey(tablePrefix(id)) as Uint8Array));
    return encode(REGION, {
      ...HEADER,
      region: { id: 4n, startKey, endKey, peers: [peer] },
      leader: peer,
      downPeers: [{ peer, downSeconds: 9n }],
      pendingPeers: [peer],
    });
  }

  test('the own region has its peers', () => {
    const { region, leader } = tenant.told(REGION, regionOf(1));
    expect(region).toMatchObject({ id: 4n });
    expect(leader).toMatchObject(peer);
  });

  test('a foreign region takes its peers with it, and the header stays', () => {
    const header = encode(REGION, { header: { clusterId: 5n, error: { type: 2, message: 'of PD' } } });
    const rest = regionOf(2).subarray(encode(REGION, HEADER).length);
    for (const whole of [concat(header, rest), concat(rest, header)])
      expect(hex(tenant.passed(REGION, whole, 'response'))).toBe(hex(header));
    expect(tenant.passed(REGION, rest, 'response')).toHaveLength(0);
  });

  test('a text of the header that may quote keys is withheld beside a foreign region, too', () => {
    const rest = regionOf(2).subarray(encode(REGION, HEADER).length);
    for (const message of ['key "t\\200\\000"', `key ${'ab'.repeat(300)}`]) {
      const header = encode(REGION, { header: { clusterId: 5n, error: { type: 2, message } } });
      const shown = tenant.told(REGION, concat(header, rest));
      expect(shown['header']).toMatchObject({ clusterId: 5n, error: { type: 2 } });
      expect(shown['header'].error.message).toMatch(/^tidb-mesh: /);
      expect(shown).toMatchObject({ downPeers: [], pendingPeers: [] });
      expect([shown['region'], shown['leader']]).toEqual([undefined, undefined]);
    }
  });

  test("a store's statistics are removed: they name regions of others", () => {
    const [header, store, stats] = [
      bytes(1, scalar(1, 5)),
      // Its id, address, labels and state of today.
      bytes(
        2,
        scalar(1, 1),
        bytes(2, Buffer.from('tikv-0:20160')),
        bytes(4, bytes(1, Buffer.from('zone'))),
        scalar(13, 1),
      ),
      bytes(3, scalar(1, 1), bytes(18, scalar(1, 77))),
    ];
    const told = tenant.passed(STORE, concat(header, store, stats), 'response');
    expect(told).toEqual(new Uint8Array(concat(header, store)));
  });
});
