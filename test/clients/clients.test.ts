/**
 * Published clients of TiKV, as their users would run them: each prints through the mesh what it prints without one. The short form runs
 * Go's, `--long` all of them.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { principalOf } from '../harness/stack/certs.ts';
import { startStack, type Stack, type StackOptions, type Tenant } from '../harness/stack/stack.ts';
import { GO, JAVA, missingOf, outputOf, RUST, type Client, type Mode } from './clients.ts';

const IS_LONG = process.env['TIDB_MESH_LONG'] === '1';

interface Layout {
  readonly title: string;
  readonly mode: Mode;
  readonly api?: StackOptions['api'];
  /** What a tenant has in place of the table codec. */
  readonly space: (name: string, number: number) => Pick<Tenant, 'keyspace' | 'prefix'>;
}

const prefix =
  (mode: Mode): Layout['space'] =>
  (name) => ({ prefix: { text: `${name}:`, mode, ...(mode === 'raw' ? { ttl: true } : {}) } });
const keyspace =
  (mode: Mode): Layout['space'] =>
  (_, id) => ({ keyspace: { id, mode } });

const SHORT: readonly Layout[] = [
  { title: 'transactions behind a prefix', mode: 'txn', space: prefix('txn') },
  { title: 'RawKV behind a prefix', mode: 'raw', api: 'raw', space: prefix('raw') },
];
const LONG: readonly Layout[] = [
  ...SHORT,
  { title: "transactions in TiDB's key range", mode: 'txn', space: () => ({}) },
  { title: 'transactions in a keyspace', mode: 'txn', api: 'v2', space: keyspace('txn') },
  { title: 'RawKV in a keyspace', mode: 'raw', api: 'v2', space: keyspace('raw') },
];
const CLIENTS = IS_LONG ? [GO, RUST, JAVA] : [GO];

/** What the client prints on a cluster of its own. */
const alone = new Map<string, Promise<string>>();
function aloneOf(client: Client, mode: Mode): Promise<string> {
  const key = `${client.id} ${mode}`;
  const known = alone.get(key) ?? runAlone(client, mode);
  alone.set(key, known);
  return known;
}

async function runAlone(client: Client, mode: Mode): Promise<string> {
  const stack = await startStack({ startTidbs: false, mesh: false, api: mode === 'raw' ? 'raw' : 'v1' });
  try {
    return await outputOf(client, mode, stack.pd.meshAddress);
  } finally {
    await stack.stop();
  }
}

const tenantsOf = ({ id }: Client): string[] => [`${id}-one`, `${id}-two`];

describe.each(IS_LONG ? LONG : SHORT)('$title', ({ mode, api, space }) => {
  let stack: Stack;

  beforeAll(async () => {
    const tenants = CLIENTS.flatMap(tenantsOf).map((name, at) => ({
      name,
      number: at + 1,
      ...space(name, at + 1),
    }));
    stack = await startStack({ startTidbs: false, tenants, ...(api === undefined ? {} : { api }) });
  });
  afterAll(async () => {
    await stack?.stop();
  });

  for (const client of CLIENTS) {
    const [missing] = missingOf(client);
    const title = `${client.title}: two tenants get what a cluster of their own gives`;
    // The second tenant begins with an empty scan, though the first has left its keys.
    const body = async (): Promise<void> => {
      const expected = await aloneOf(client, mode);
      expect(expected).toMatch(/^scan at first: \[\]/m);
      expect(expected).not.toMatch(/failed|no answer/);
      for (const name of tenantsOf(client)) {
        const certs = await stack.certs.client(principalOf(name));
        expect(await outputOf(client, mode, stack.pd.meshAddress, certs)).toBe(expected);
      }
    };
    if (missing === undefined) test(title, body);
    else test.skip(`${title} (not run: ${missing} is not installed)`, body);
  }
});
