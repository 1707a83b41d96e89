/** Reads regions and region label rules over PD's HTTP API, and changes the rules. */
import type { Endpoint } from './endpoint.ts';

const V1 = '/pd/api/v1';

/** A replica of a region. */
export interface Peer {
  readonly id: number;
  readonly storeId: number;
}

export interface Region {
  readonly id: number;
  /** Keys in PD's form. An empty end means no bound. */
  readonly start: Buffer;
  readonly end: Buffer;
  readonly epoch: { readonly confVer: number; readonly version: number };
  /** All that the epoch's configuration has: voters, learners and witnesses, whether they are up or not. */
  readonly peers: readonly Peer[];
  readonly leader: Peer | undefined;
  /** PD's estimates: size in MiB, and number of keys. */
  readonly approximateSize: number;
  readonly approximateKeys: number;
}

interface PeerJson {
  id?: number;
  store_id?: number;
}

interface RegionJson {
  id: number;
  start_key: string;
  end_key: string;
  epoch: { conf_ver?: number; version?: number };
  peers?: PeerJson[];
  leader?: PeerJson;
  approximate_size?: number;
  approximate_keys?: number;
}

export interface LabelRule {
  readonly id: string;
  readonly labels: readonly { readonly key: string; readonly value: string }[];
  readonly rule_type: string;
  readonly data: readonly { readonly start_key: string; readonly end_key: string }[] | null;
}

/** Writes each byte as a percent-escape. */
function escaped(key: Uint8Array): string {
  return [...key].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
}

function peerOf({ id = 0, store_id: storeId = 0 }: PeerJson): Peer {
  return { id, storeId };
}

/** Of one answer: PD sends some 700 bytes of JSON for each, and to parse 74 MB of them stops a process for 15 s. */
const PAGE = 512;

/** The regions that overlap [start, end), in order, page by page. Empty bounds mean everything. */
export async function* regionPages(
  pd: Endpoint,
  start: Uint8Array,
  end: Uint8Array,
  most = PAGE,
): AsyncGenerator<Region[]> {
  let from = start;
  for (;;) {
    const query = `key=${escaped(from)}&end_key=${escaped(end)}&limit=${most}`;
    const answer = (await pd.http('GET', `${V1}/regions/key?${query}`)) as { regions: RegionJson[] | null };
    const page = (answer.regions ?? []).map(regionOf);
    if (page.length > 0) yield page;
    const next = page.at(-1)?.end ?? Buffer.alloc(0);
    const isLast = page.length < most || next.length === 0;
    if (isLast || (end.length > 0 && Buffer.compare(next, end) >= 0)) return;
    from = next;
  }
}

function regionOf(region: RegionJson): Region {
  return {
    id: region.id,
    start: Buffer.from(region.start_key, 'hex'),
    end: Buffer.from(region.end_key, 'hex'),
    epoch: { confVer: region.epoch.conf_ver ?? 0, version: region.epoch.version ?? 0 },
    peers: (region.peers ?? []).map(peerOf),
    leader: region.leader?.id ? peerOf(region.leader) : undefined,
    approximateSize: region.approximate_size ?? 0,
    approximateKeys: region.approximate_keys ?? 0,
  };
}

/** The same, all of them. */
export async function regionsIn(pd: Endpoint, start: Uint8Array, end: Uint8Array): Promise<Region[]> {
  const found: Region[] = [];
  for await (const page of regionPages(pd, start, end)) found.push(...page);
  return found;
}

export async function labelRules(pd: Pick<Endpoint, 'http'>): Promise<LabelRule[]> {
  return ((await pd.http('GET', `${V1}/config/region-label/rules`)) as LabelRule[] | null) ?? [];
}

export async function setLabelRule(pd: Endpoint, rule: LabelRule): Promise<void> {
  await pd.http('POST', `${V1}/config/region-label/rule`, { body: rule });
}

/** Deletes a label rule. False when there was none. */
export async function deleteLabelRule(pd: Endpoint, id: string): Promise<boolean> {
  const path = `${V1}/config/region-label/rule/${encodeURIComponent(id)}`;
  return (await pd.http('DELETE', path, { missing: true })) !== undefined;
}
