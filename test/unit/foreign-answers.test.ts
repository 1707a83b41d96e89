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
      header: { clusterId: 5n },
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

  test('a foreign region is removed, and the header stays', () => {
    const { header, region } = tenant.told(REGION, regionOf(2));
    expect(header).toMatchObject({ clusterId: 5n });
    expect(region).toBeUndefined();
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
