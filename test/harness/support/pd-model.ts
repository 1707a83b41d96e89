/** PD, its etcd and one store, as far as the commands for tenants need them. */
import type { Endpoint } from '../../../src-ts/pd/endpoint.ts';
import type { LabelRule } from '../../../src-ts/pd/regions.ts';
import { memcomparable } from '../../../src-ts/tenants/tenant.ts';
import { EtcdModel } from './etcd-model.ts';

interface Bounds {
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
}

const RULES = '/config/region-label/rule';
const GROUPS = '/resource-manager/api/v1/config/group';
const STORES = [
  { store: { id: 1, address: 'tikv:20160', state_name: 'Up' } },
  {
    store: {
      id: 2,
      address: 'tiflash:3930',
      state_name: 'Up',
      labels: [{ key: 'engine', value: 'tiflash' }],
    },
  },
];
const TIME = { physical: 1_700_000_000_000n, logical: 0n };

export class PdModel {
  /** Of PD's cluster. */
  clusterId: number | string = 7;
  rules: LabelRule[] = [];
  groups = new Set<string>();
  /** Keys as the store has them, in latin1: those of transactions are encoded. */
  keys = new Set<string>();
  placement: { group_id: string; id: string }[] = [];
  /** Service safe points, as PD writes them. */
  services: object[] = [];
  /** More boundaries of regions, in hex. */
  splits: string[] = [];
  /** What was called at which address. */
  readonly calls: string[] = [];
  /** Is called when a connection to a server has been made. */
  onConnected: (address: string) => Promise<void> = async () => undefined;
  /** Is called after a rule was written. */
  onRuleWritten: () => void = () => undefined;
  private readonly etcd = new EtcdModel();

  readonly endpoint = {
    url: new URL('http://pd:2379'),
    http: async (_method: string, path: string, options: { body?: { name?: string; id?: string } } = {}) =>
      path.includes('/regions/key?')
        ? this.regions(new URL(path, 'http://pd').search)
        : this.http(path, options.body),
    grpc: async ({ path }: { path: string }, fields: never, address = 'pd') => {
      this.calls.push(`${address} ${path.split('/').at(-1) ?? ''}`);
      return this.grpc(path, fields);
    },
    connected: (address: string) => this.onConnected(address),
  } as unknown as Endpoint;

  /** PD splits at all boundaries at once. */
  private regions(query: string): object {
    const bytes = (name: string): string =>
      (new RegExp(`[?&]${name}=([^&]*)`).exec(query)?.[1] ?? '').replaceAll('%', '');
    const [from, to] = [bytes('key'), bytes('end_key')];
    const ends = this.rules.flatMap(({ data }) =>
      (data ?? []).flatMap((range) => [range.start_key, range.end_key]),
    );
    const starts = [...new Set(['', ...ends, ...this.splits])].sort();
    const regions = starts
      .map((start_key, i) => ({ id: 10 + i, start_key, end_key: starts[i + 1] ?? '' }))
      .filter(({ start_key: start, end_key: end }) => (to === '' || start < to) && (end === '' || end > from))
      .map((region) => ({
        ...region,
        epoch: { conf_ver: 1, version: 1 },
        leader: { id: 6, store_id: 1 },
      }));
    return { regions };
  }

  private http(path: string, body: { name?: string; id?: string } = {}): unknown {
    const last = decodeURIComponent(path.split('/').at(-1) ?? '');
    if (path.endsWith(`${RULES}s`)) return this.rules;
    if (path.endsWith(RULES)) {
      this.rules = [...this.rules.filter(({ id }) => id !== body.id), body as LabelRule];
      this.onRuleWritten();
      return 'ok';
    }
    if (path.includes(`${RULES}/`)) {
      this.rules = this.rules.filter(({ id }) => id !== last);
      return 'ok';
    }
    if (path.includes('/config/placement-rule/')) {
      this.placement = this.placement.filter((rule) => rule.group_id !== last);
      return 'ok';
    }
    if (path === `${GROUPS}s`) return [...this.groups].map((name) => ({ name, mode: 1 }));
    if (path === GROUPS) this.groups.add(body.name ?? '');
    else if (path.startsWith(GROUPS)) this.groups.delete(last);
    else return this.read(path);
    return 'ok';
  }

  private read(path: string): unknown {
    const answers: Record<string, unknown> = {
      '/stores': { stores: STORES },
      '/members': { members: [{ name: 'pd', client_urls: ['http://pd:2379'] }] },
      '/cluster': { id: this.clusterId },
      '/cluster/status': {},
      '/version': { version: 'v8.5.0' },
      '/config/rules': this.placement,
      '/gc/safepoint': { gc_safe_point: 0, service_gc_safe_points: this.services },
    };
    const [, answer] = Object.entries(answers).find(([end]) => path.endsWith(`v1${end}`)) ?? [];
    if (answer === undefined) throw new Error(`the model has no ${path}`);
    return answer;
  }

  private within({ startKey, endKey }: Bounds, form: (key: Uint8Array) => Buffer): string[] {
    const [start, end] = [form(startKey), form(endKey)];
    return [...this.keys].filter((name) => {
      const key = Buffer.from(name, 'latin1');
      return Buffer.compare(key, start) >= 0 && Buffer.compare(key, end) < 0;
    });
  }

  private async grpc(path: string, fields: never): Promise<unknown> {
    const bounds = fields as Bounds;
    const raw = (key: Uint8Array): Buffer => Buffer.from(key);
    const one = (name: string): object => ({ key: Buffer.from(name, 'latin1') });
    switch (path.split('/').at(-1)) {
      case 'Tso':
        return { timestamp: TIME };
      case 'KvScan':
        return { pairs: this.within(bounds, memcomparable).map(one) };
      case 'RawScan':
        return { kvs: this.within(bounds, raw).map(one) };
      // TiKV encodes both ends.
      case 'UnsafeDestroyRange':
        for (const name of this.within(bounds, memcomparable)) this.keys.delete(name);
        return { error: '' };
      case 'RawDeleteRange':
        for (const name of this.within(bounds, raw)) this.keys.delete(name);
        return { error: '' };
      case 'DeleteRange':
        await this.etcd.endpoint.grpc(
          { path: '/etcdserverpb.KV/Txn' } as never,
          {
            compare: [],
            success: [{ request: { case: 'requestDeleteRange', value: fields } }],
          } as never,
        );
        return { deleted: 0n };
      case 'Range': {
        const found = (await this.etcd.endpoint.grpc({ path } as never, fields)) as unknown as {
          kvs: unknown[];
        };
        return { ...found, count: BigInt(found.kvs.length) };
      }
      default:
        return this.etcd.endpoint.grpc({ path } as never, fields);
    }
  }
}
