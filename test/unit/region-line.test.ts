/**
 * What a tenant is shown of PD's regions is one whole line of keys, from '' to '': by every way to ask, each key lies in exactly the region
 * that ScanRegions shows for it. Random regions, in all kinds of key spaces, behind a model of PD.
 */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { compare, EMPTY, hex, unhex } from '../harness/model/bytes.ts';
import * as model from '../harness/model/key-spaces.ts';
import { Random } from '../harness/model/random.ts';
import { contains, RegionTree, type KeyRange, type Region } from '../harness/model/region-tree.ts';
import { messageId } from '../harness/model/schema.ts';
import { ADVERSARIAL, edges, randomKey, sorted } from '../harness/model/some-keys.ts';
import { memcomparable } from '../harness/model/table-codec.ts';
import { buildFilter, Filter, Status, type SpaceChoice, type Way } from './filter.ts';

const V1 = '/pd/api/v1';
const LAYOUTS = 6;
const KEYS = 40;
const NO_LIMIT = 10_000;

const CHOICES: SpaceChoice[] = [
  { number: 0 },
  { number: 1 },
  { number: 255 },
  { number: 32766 },
  { number: 3, keyspace: { id: 7, mode: 'txn' } },
  { number: 3, keyspace: { id: 0xffffff, mode: 'txn' } },
  { number: 3, keyspace: { id: 7, mode: 'raw' } },
  { number: 4, prefix: { bytes: Buffer.from('app1:'), mode: 'txn' } },
  { number: 4, prefix: { bytes: unhex('61ffff'), mode: 'txn' } },
  { number: 4, prefix: { bytes: Buffer.from('app1:'), mode: 'raw' } },
];

/** Those that the table codec has no key for, and what TiDB asks for: a table of information_schema. */
const BEHIND = ['748001', '74c0', '74c000000000000001', '74ffff', '75', '7a', 'ff'].map(unhex);

const fieldsOf = ({ id, start, end }: Region): Fields => ({ id, startKey: start, endKey: end });
const regionOf = (fields: Fields): Region => ({
  id: fields['id'] as bigint,
  start: fields['startKey'] as Uint8Array,
  end: fields['endKey'] as Uint8Array,
});
const jsonOf = ({ id, start, end }: Region): object => ({
  id: Number(id),
  start_key: hex(start).toUpperCase(),
  end_key: hex(end).toUpperCase(),
  epoch: { conf_ver: 1, version: 1 },
});
const regionOfJson = (json: { id: number; start_key: string; end_key: string }): Region => ({
  id: BigInt(json.id),
  start: unhex(json.start_key),
  end: unhex(json.end_key),
});
const shown = (region: Region | undefined): string =>
  region ? `${region.id} [${hex(region.start)}, ${hex(region.end)})` : 'none';
const bytesOfQuery = (text: string | null): Uint8Array => new Uint8Array(Buffer.from(text ?? '', 'latin1'));
const escaped = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
const unescaped = (text: string): Uint8Array =>
  bytesOfQuery(text.replace(/%(..)/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 16))));

/** Every way to ask a PD with these regions, through the filter. */
class Asker {
  constructor(
    private readonly filter: Filter,
    private readonly tree: RegionTree,
  ) {}

  scan(range: KeyRange, limit = NO_LIMIT): Region[] {
    const asked = this.request('pdpb.ScanRegionsRequest', {
      startKey: range.start,
      endKey: range.end,
      limit,
    });
    const found = this.tree.scan(
      { start: asked['startKey'], end: asked['endKey'] },
      asked['limit'] as number,
    );
    return this.list('pdpb.ScanRegionsResponse', found);
  }

  batchScan(ranges: readonly KeyRange[], limit = NO_LIMIT): Region[] | undefined {
    const asked = this.request('pdpb.BatchScanRegionsRequest', {
      ranges: ranges.map(({ start, end }) => ({ startKey: start, endKey: end })),
      limit,
    });
    const sent = (asked['ranges'] as Fields[]).map(regionOf);
    const found = this.tree.batchScan(sent, asked['limit'] as number);
    return found && this.list('pdpb.BatchScanRegionsResponse', found);
  }

  byKey(key: Uint8Array): Region | undefined {
    const { regionKey } = this.request('pdpb.GetRegionRequest', { regionKey: key });
    return this.one(this.tree.byKey(regionKey as Uint8Array));
  }

  before(key: Uint8Array): Region | undefined {
    const { regionKey } = this.request('pdpb.GetRegionRequest', { regionKey: key });
    return this.one(this.tree.before(regionKey as Uint8Array));
  }

  byId(id: bigint): Region | undefined {
    const { regionId } = this.request('pdpb.GetRegionByIDRequest', { regionId: id });
    return this.one(this.tree.byId(regionId as bigint));
  }

  /** What a store's answer says when a request's region has changed: the store may name any. */
  ofRegionError(regions: readonly Region[], isRaw: boolean): Region[] {
    const type = isRaw ? 'kvrpcpb.RawGetResponse' : 'kvrpcpb.GetResponse';
    const regionError = { epochNotMatch: { currentRegions: regions.map(fieldsOf) } };
    const answer = this.pass(type, { regionError }, 'response');
    return (answer['regionError'].epochNotMatch.currentRegions as Fields[]).map(regionOf);
  }

  httpByKey(key: Uint8Array): Region | undefined {
    const target = this.target(`${V1}/region/key/${escaped(key)}`);
    const at = unescaped(target.slice(target.lastIndexOf('/') + 1));
    return this.json(`${V1}/region/key/x`, jsonOf(this.tree.byKey(at)))[0];
  }

  httpById(id: bigint): Region | undefined {
    const region = this.tree.byId(id);
    return region && this.json(this.target(`${V1}/region/id/${id}`), jsonOf(region))[0];
  }

  httpScan(range: KeyRange | undefined, limit: number): Region[] {
    const query = range && `/key?key=${escaped(range.start)}&end_key=${escaped(range.end)}&limit=${limit}`;
    const target = this.target(`${V1}/regions${query ?? ''}`);
    const [path, sent = ''] = target.split('?');
    expect(path).toBe(`${V1}/regions/key`);
    const value = (name: string): string =>
      sent
        .split('&')
        .find((part) => part.startsWith(`${name}=`))!
        .slice(name.length + 1);
    const asked = { start: unescaped(value('key')), end: unescaped(value('end_key')) };
    const found = this.tree.scan(asked, Number(value('limit')));
    return this.json(`${V1}/regions/key`, { count: found.length, regions: found.map(jsonOf) });
  }

  /** The regions in what PD answers, as the tenant sees them. */
  private json(path: string, answer: object): Region[] {
    const { status, text } = this.filter.httpAnswer('GET', path, JSON.stringify(answer));
    expect(Status[status]).toBe('OK');
    const all = JSON.parse(text) as { id?: number; regions?: unknown[] } | null;
    return [...(all?.regions ?? []), ...(all?.id === undefined ? [] : [all])].map((one) =>
      regionOfJson(one as Parameters<typeof regionOfJson>[0]),
    );
  }

  private target(path: string): string {
    const { status, text } = this.filter.http('GET', path);
    expect(`${path} ${Status[status]}`).toBe(`${path} OK`);
    return text;
  }

  private one(region: Region | undefined): Region | undefined {
    const answer = this.pass('pdpb.GetRegionResponse', { region: region && fieldsOf(region) }, 'response');
    return answer['region'] && regionOf(answer['region'] as Fields);
  }

  private list(type: string, regions: readonly Region[]): Region[] {
    const fields = { regions: regions.map((region) => ({ region: fieldsOf(region) })) };
    return (this.pass(type, fields, 'response')['regions'] as Fields[]).map(({ region }) => regionOf(region));
  }

  private request(type: string, fields: Fields): Fields {
    return this.pass(type, fields, 'request');
  }

  private pass(type: string, fields: Fields, way: Way): Fields {
    const { status, bytes } = this.filter.message(messageId(type), encode(type, fields), way);
    if (status !== Status.OK) expect(`${type} ${Status[status]}`).toBe(`${type} OK`);
    return decode(type, bytes);
  }
}

/** Random boundaries in PD's form: inside the space, at and around its edges, and anywhere else. Some layouts have none inside. */
function randomTree(space: model.KeySpace, random: Random): RegionTree {
  const inside = Array.from({ length: random.pick([0, 1, 3, 12]) }, () => {
    const key = randomKey(random);
    return space.takes(key) ? (space.encodeLower(key) as Uint8Array) : space.first;
  });
  const about = [...edges(space), ...ADVERSARIAL].filter(() => random.chance(random.pick([0, 10, 60])));
  // Nothing splits at keys that nobody can have.
  const boundaries = [...inside, ...about].filter((key) => key.length > 0);
  return new RegionTree(sorted(boundaries).map((key) => model.stored(space, key)));
}

describe('the regions of a tenant', () => {
  let filter: Filter;
  beforeAll(async () => {
    await buildFilter();
    filter = new Filter('release');
  });

  test.each(CHOICES.map((choice) => [model.spaceOf(choice).name, choice] as const))('%s', (_, choice) => {
    const space = model.spaceOf(choice);
    const isRaw = (choice.keyspace ?? choice.prefix)?.mode === 'raw';
    // Tenant 0's messages pass unread: it is shown the store's regions, by gRPC.
    const isOwner = model.ownsTheRest(choice);
    const form = (key: Uint8Array): Uint8Array => (space.clientEncodes ? memcomparable(key) : key);
    filter.selectSpace(choice);
    for (let seed = 0; seed < LAYOUTS; seed++) {
      const random = new Random(seed * 100 + choice.number);
      const tree = randomTree(space, random);
      const ask = new Asker(filter, tree);
      const everything = { start: EMPTY, end: EMPTY };
      const whole = isOwner ? ask.httpScan(undefined, 0) : ask.scan(everything);

      // A whole line.
      expect(whole[0]!.start).toHaveLength(0);
      expect(whole.at(-1)!.end).toHaveLength(0);
      whole.slice(1).forEach(({ start }, i) => expect(hex(start)).toBe(hex(whole[i]!.end)));
      const lines = [ask.httpScan(undefined, 0), ask.httpScan(everything, NO_LIMIT)];
      if (!isOwner) lines.push(ask.batchScan([everything])!, ask.ofRegionError(tree.regions, isRaw));
      for (const line of lines) expect(line.map(shown)).toEqual(whole.map(shown));
      // And nothing else: by id, and where a region's bounds meet nobody is shown twice.
      for (const { id } of tree.regions) {
        const own = shown(whole.find((region) => region.id === id));
        if (!isOwner) expect(shown(ask.byId(id))).toBe(own);
        expect(shown(ask.httpById(id))).toBe(own);
      }

      const keys = [...BEHIND, ...Array.from({ length: KEYS }, () => randomKey(random))].map(form);
      if (space.clientEncodes) keys.push(...BEHIND);
      for (const key of keys) {
        const at = whole.findIndex((region) => contains(region, key));
        const wanted = whole[at];
        const limit = random.pick([0, 1, 2, NO_LIMIT]);
        const rest = whole.slice(at);
        const asked: [string, Region | undefined][] = [];
        // The path of an empty key is another one.
        if (key.length > 0) asked.push(['HTTP region/key', ask.httpByKey(key)]);
        if (!isOwner) {
          asked.push(['GetRegion', ask.byKey(key)]);
          asked.push(['ScanRegions with a limit of 1', ask.scan({ start: key, end: EMPTY }, 1)[0]]);
          const [previous, before] = [ask.before(key), whole[at - 1]];
          if (shown(previous) !== shown(before)) expect(`${hex(key)} ${shown(previous)}`).toBe(shown(before));
        }
        for (const [how, found] of asked)
          if (shown(found) !== shown(wanted))
            expect(`${how} ${hex(key)}: ${shown(found)}`).toBe(shown(wanted));

        // From there on, and up to another key.
        const end = random.chance(30) ? EMPTY : random.pick(keys);
        const range = { start: key, end };
        const isIn = ({ start }: Region): boolean => end.length === 0 || compare(start, end) < 0;
        const inRange = rest.filter(isIn);
        const some = inRange.slice(0, limit > 0 ? limit : undefined).map(shown);
        expect(ask.httpScan(range, limit).map(shown)).toEqual(some);
        if (isOwner) continue;
        expect(ask.scan(range, limit).map(shown)).toEqual(some);
        const isForward = end.length === 0 || compare(key, end) <= 0;
        if (isForward) expect(ask.batchScan([range], limit)?.map(shown)).toEqual(some);
      }
      if (isOwner) continue;
      // Several ranges, one after the other: PD refuses those that overlap, and they must not come to.
      const bounds = sorted(keys).filter((key) => key.length > 0);
      const ranges = bounds.slice(1).map((end, i) => ({ start: bounds[i]!, end }));
      const touched = whole.filter(
        (region) =>
          contains(region, bounds[0]!) ||
          (compare(region.start, bounds[0]!) > 0 && compare(region.start, bounds.at(-1)!) < 0),
      );
      expect(ask.batchScan(ranges)?.map(shown)).toEqual(touched.map(shown));
    }
  });
});
