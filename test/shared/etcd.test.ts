/**
 * PD's etcd as tenants have it, through Go's own client and its recipes: two tenants with the same names at the same time, held against a
 * client that puts its own prefix in front and calls PD itself.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { callHttp } from '../harness/stack/caller.ts';
import { principalOf } from '../harness/stack/certs.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import {
  directPlace,
  etcdLines,
  follow,
  tenantPlace,
  type EtcdStep,
  type Place,
  type Told,
} from './support/etcd.ts';

/** Small, so that etcd cuts large answers to watches into fragments; PD's own limit is 150 MB. */
const LARGEST = 1.5 * 1024 * 1024;
const FOREIGN_LEASE = {
  code: 'PermissionDenied',
  text: expect.stringMatching(/^tidb-mesh\[NAME_OUTSIDE\]: a name or a lease /) as unknown as string,
};

/** What a tenant is answered in place of the reference's answer, and why. */
const DIFFERENCES: Readonly<Record<string, { because: string; tenant: Partial<EtcdStep> }>> = {
  'keys: get an empty key': {
    because: 'the empty key becomes the prefix itself, which etcd takes for a key; nobody can put it',
    tenant: { result: { kvs: [], count: 0, more: false } },
  },
  'odd ranges: delete an empty key': {
    because: 'the same',
    tenant: { result: { deleted: 0, prev: [] } },
  },
  'odd ranges: empty key with an end': {
    because: "the prefix is a start, as etcd's first key would be",
    tenant: {
      result: {
        kvs: ['\0', 'a'].map((key, i) => ({
          key,
          value: 'v',
          create: `r${i + 1}`,
          mod: `r${i + 1}`,
          version: 1,
          lease: '0',
        })),
        count: 2,
        more: false,
      },
    },
  },
  'txn limits: an empty key': {
    because: "a tenant is answered as by etcd itself; the client's namespace puts to the prefix as a key",
    tenant: { error: { code: 'InvalidArgument', text: 'etcdserver: key is not provided' } },
  },
  'txn limits: a value that is too large': {
    because: 'the filter refuses more than 1.5 MiB by itself, since PD lets etcd take 150',
    tenant: {
      error: {
        code: 'InvalidArgument',
        text: expect.stringMatching(/^tidb-mesh\[TEXT_TOO_LONG\]: /) as unknown as string,
      },
    },
  },
  'leases: a lease of ten years': {
    because: 'limits.maxEtcdLeaseSeconds, a day',
    tenant: { result: { lease: 'lease 6', ttl: 86_400, error: '' } },
  },
  'leases: a lease of too much time': {
    because: 'the same: etcd never hears how much was wanted',
    tenant: { result: { lease: 'lease 7', ttl: 86_400, error: '' } },
  },
  'chosen leases: more than 48 bits': {
    because: "the upper bits of a lease's id are the tenant's number",
    tenant: { error: FOREIGN_LEASE },
  },
  'chosen leases: revoke that': { because: 'the same', tenant: { error: FOREIGN_LEASE } },
  'chosen leases: a negative id': { because: 'the same', tenant: { error: FOREIGN_LEASE } },
  'chosen leases: revoke the negative one': { because: 'the same', tenant: { error: FOREIGN_LEASE } },
};

let stack: Stack;
const places = {} as Record<'alpha' | 'beta' | 'reference', Place>;

beforeAll(async () => {
  stack = await startStack({ startTidbs: false, pdConfig: `max-request-bytes = ${LARGEST}` });
  places.alpha = await tenantPlace(stack, 'alpha');
  places.beta = await tenantPlace(stack, 'beta');
  places.reference = directPlace(stack, 'reference/');
});
afterAll(async () => {
  await stack?.stop();
});

describe("Go's client, as two tenants and past Envoy at the same time", () => {
  const steps = {} as Record<keyof typeof places, EtcdStep[]>;
  beforeAll(async () => {
    await Promise.all(
      (Object.keys(places) as (keyof typeof places)[]).map(async (name) => {
        steps[name] = await etcdLines<EtcdStep>('scenarios', places[name]);
      }),
    );
  });

  test.each(['alpha', 'beta'] as const)('%s is answered as by an etcd of its own', (tenant) => {
    const seen = new Set<string>();
    const wanted = steps.reference.map((step) => {
      const name = `${step.scenario}: ${step.step}`;
      const difference = DIFFERENCES[name];
      if (!difference) return step;
      seen.add(name);
      // A difference that is none any more has to leave the list.
      const other = { scenario: step.scenario, step: step.step, ...difference.tenant };
      expect(other).not.toEqual(step);
      return other;
    });
    expect(steps[tenant]).toEqual(wanted);
    expect([...seen].sort()).toEqual(Object.keys(DIFFERENCES).sort());
    expect(wanted.length).toBeGreaterThan(250);
  });

  const stepOf = (name: string): EtcdStep =>
    steps.alpha.find((step) => `${step.scenario}: ${step.step}` === name)!;

  test('and what was tried has taken place', () => {
    expect(stepOf('fragments: was it cut').result).toEqual({ cut: true, events: 12 });
    expect(stepOf('many watches: each was told its own').result).toEqual({ right: 200 });
    expect(stepOf('mutexes: sum').result).toBe('40');
    expect(stepOf('stm: accounts').result).toEqual(
      Object.fromEntries([0, 1, 2, 3].map((i) => [`account/${i}`, '100'])),
    );
    const DAY = 86_400;
    expect(stepOf('leases: a lease of a day').result).toMatchObject({ ttl: DAY });
    expect(steps.reference.find(({ step }) => step === 'a lease of ten years')!.result).toMatchObject({
      ttl: 3650 * DAY,
    });
    expect(stepOf('expiry: expired').result).toEqual({
      a: 'DELETE, was 1 under lease 1',
      b: 'DELETE, was 1 under lease 1',
    });
  });
});

const DIRECT_KINDS = ['range', 'watch'] as const;

describe('a tenant that tries to leave its namespace', () => {
  // Words that no call of alpha's holds.
  const NAME = 'name-of-beta';
  const VALUE = 'value-of-beta';
  const STORAGE = 'value-of-the-storage';
  const known = ['/tidb-mesh/beta:known', 'beta:known', '../beta:known', '/tidb/known', '/pd/known'];
  const direct = (): Place => directPlace(stack);
  const act = <T>(place: Place, ...words: string[]): Promise<T[]> => etcdLines<T>('do', [...place, ...words]);

  interface Attempt {
    group: string;
    step: string;
    bytes?: string;
    error?: { code: string; text: string };
  }
  interface Lease {
    lease: string;
    left: number;
    granted: number;
    keys: string[];
  }
  /** All of etcd that is not alpha's, PD's own left out: it counts there what the groups have used. */
  async function others(): Promise<{ keys: { key: string }[]; leases: Lease[]; state: unknown[] }> {
    const keys = await act<{ key: string }>(direct(), 'get', '');
    const leases = await act<Lease>(direct(), 'leases');
    return {
      keys: keys.filter(
        ({ key }) =>
          !['/pd/', 'resource_group/states/', '/tidb-mesh/alpha:'].some((own) => key.startsWith(own)),
      ),
      leases: leases.filter(({ lease }) => foreign.includes(lease)),
      state: await act(direct(), 'state'),
    };
  }
  const saidOf = ({ bytes, error }: Attempt): string =>
    Buffer.from(bytes ?? '', 'base64').toString('latin1') + (error?.text ?? '');

  let foreign: string[];
  let since: string;
  let before: Awaited<ReturnType<typeof others>>;
  let after: typeof before;
  let attempts: Attempt[];

  beforeAll(async () => {
    const [first] = await act<{ revision: number }>(places.alpha, 'put', 'own-of-alpha', 'own');
    since = `--since=${first!.revision}`;
    const [own] = await act<{ lease: string }>(places.beta, 'grant', '0', '600');
    const [chosen] = await act<{ lease: string }>(places.beta, 'grant', '777', '600');
    const [system] = await act<{ lease: string }>(direct(), 'grant', '0', '600');
    await act(places.beta, 'put', NAME, VALUE, own!.lease);
    await act(places.beta, 'put', 'known', VALUE, chosen!.lease);
    for (const key of [`/tidb/${NAME}`, '/tidb/known', '/zzz', 'beta:known'])
      await act(direct(), 'put', key, STORAGE, system!.lease);
    const ids = (await act<Lease>(direct(), 'leases')).filter(({ keys }) =>
      keys.some((key) => key.endsWith(NAME) || key.endsWith('known')),
    );
    expect(ids).toHaveLength(3);
    foreign = ids.map(({ lease }) => lease);
    // Time passes, so that a lease that is prolonged has more of it left than before.
    await sleep(3000);
    before = await others();
    const names = `--names=${known.join()}`;
    // As etcd has them, and as beta has them.
    const leases = `--leases=${[...foreign, own!.lease, chosen!.lease].join()}`;
    attempts = await etcdLines<Attempt>('attack', [...places.alpha, names, leases, since]);
    after = await others();
  });

  const of = (group: string): Attempt[] => attempts.filter((attempt) => attempt.group === group);

  test('is shown nothing that is not its own, in answers and in errors', () => {
    expect(attempts.length).toBeGreaterThan(800);
    for (const attempt of attempts) {
      const said = saidOf(attempt);
      for (const word of [NAME, VALUE, STORAGE]) expect(`${attempt.step}: ${said}`).not.toContain(word);
      for (const word of ['known', '/tidb', '/pd']) expect(attempt.error?.text ?? '').not.toContain(word);
    }
    // Watches on everything have told of the keys that it has.
    expect(of('watch').map(saidOf).join('')).toContain('own-of-alpha');
  });

  test('changes nothing that is not its own', () => {
    const lasting = (leases: Lease[]): unknown[] =>
      leases.map(({ lease, granted, keys }) => ({ lease, granted, keys }));
    const names = [`/tidb-mesh/beta:${NAME}`, '/tidb-mesh/beta:known', '/tidb/known', '/zzz', 'beta:known'];
    expect(before.keys.map(({ key }) => key)).toEqual(expect.arrayContaining(names));
    expect(after.keys).toEqual(before.keys);
    expect(after.state).toEqual(before.state);
    expect(before.leases).toHaveLength(3);
    expect(lasting(after.leases)).toEqual(lasting(before.leases));
    for (const [i, { left }] of after.leases.entries()) {
      expect(before.leases[i]!.left).toBeLessThan(600);
      expect(left).toBeLessThanOrEqual(before.leases[i]!.left);
    }
  });

  test('has no way to a lease of another', () => {
    const groups = [...new Set(attempts.map(({ group }) => group))].filter((name) =>
      name.startsWith('lease '),
    );
    expect(groups).toHaveLength(5);
    for (const group of groups) {
      const id = BigInt(group.slice('lease '.length));
      const small = id >= 0n && id < 1n << 48n;
      for (const { step, bytes, error } of of(group)) {
        if (!small) expect({ step, error }).toEqual({ step, error: FOREIGN_LEASE });
        else if (error) expect(error).toMatchObject({ code: 'NotFound' });
        else {
          // etcd says of leases that are not there that no time is left, and no key has them.
          expect(['time to live', 'keep alive', 'compare']).toContain(step);
          expect(bytes).toBeDefined();
        }
      }
    }
  });

  test('is refused all that concerns others', () => {
    const services = of('services');
    expect(services).toHaveLength(36);
    for (const { step, error } of services)
      expect({ step, code: error?.code }).toEqual({ step, code: 'PermissionDenied' });
    expect(of('huge').map(({ error }) => error?.text)).toEqual([
      undefined,
      'etcdserver: too many operations in txn request',
    ]);
    expect(of('deep')[0]!.error).toMatchObject({ code: 'InvalidArgument' });
  });

  test.each([
    'v3/kv/range',
    'v3/kv/put',
    'v3/kv/deleterange',
    'v3/kv/txn',
    'v3/watch',
    'v3/lease/grant',
    'v3/lease/leases',
    'v3/lease/revoke',
    'v3/maintenance/snapshot',
    'v3/auth/enable',
    'v3beta/kv/range',
    'v3alpha/kv/range',
    'v2/keys',
    '/v3/kv/range',
    'V3/kv/range',
    'pd/../v3/kv/range',
    '%76%33/kv/range',
  ])('does not reach etcd by HTTP: /%s', async (path) => {
    const key = Buffer.from('/tidb-mesh/beta:known').toString('base64');
    const certs = await stack.certs.client(principalOf('alpha'));
    const { status, body } = await callHttp(stack.pd.meshAddress, certs, `/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ key, range_end: 'AA==' }),
    });
    expect([400, 403, 404]).toContain(status);
    expect(body).not.toContain(Buffer.from(VALUE).toString('base64'));
  });

  test('and the same calls past Envoy do show it', async () => {
    const seen = await etcdLines<Attempt>('attack', [
      ...direct(),
      `--names=${known.join()}`,
      since,
      '--reads',
    ]);
    for (const kind of DIRECT_KINDS) {
      const said = seen
        .filter(({ group }) => group === kind)
        .map(saidOf)
        .join('');
      for (const word of [NAME, VALUE, STORAGE]) expect(said).toContain(word);
    }
    const key = Buffer.from('/tidb-mesh/beta:known').toString('base64');
    const answer = await fetch(`${stack.pd.directUrl}/v3/kv/range`, {
      method: 'POST',
      body: JSON.stringify({ key }),
    });
    expect(await answer.text()).toContain(Buffer.from(VALUE).toString('base64'));
  });
});

describe('watches', () => {
  const put = async (place: Place, key: string, value: string): Promise<number> =>
    (await etcdLines<{ revision: number }>('do', [...place, 'put', key, value]))[0]!.revision;
  const eventsOf = (told: readonly Told[]): string[] =>
    told.filter(({ type }) => type !== undefined).map(({ key, value }) => `${key}=${value}`);

  test('go on where they were when Envoy is killed and comes back: nothing is lost, nothing comes twice', async () => {
    const tenants = ['alpha', 'beta'] as const;
    const first = await put(places.alpha, 'survive/0', 'alpha');
    await put(places.beta, 'survive/0', 'beta');
    const followers = await Promise.all(tenants.map((tenant) => follow(places[tenant], 'survive/', first)));
    try {
      const all = 60;
      let written = 1;
      const write = async (): Promise<void> => {
        // By PD's own port, so that events arise while there is no Envoy.
        for (; written < all; written++)
          for (const tenant of tenants)
            await put(directPlace(stack, `/tidb-mesh/${tenant}:`), `survive/${written}`, tenant);
      };
      const writing = write();
      await Promise.all(
        followers.map((follower) => follower.until('the first events', (told) => eventsOf(told).length > 5)),
      );
      await stack.envoy!.restart({ hard: true });
      await Promise.all(
        followers.map((follower) => follower.until('events again', (told) => eventsOf(told).length > 30)),
      );
      await stack.envoy!.restart({ hard: true });
      await writing;
      for (const [i, follower] of followers.entries()) {
        await follower.until('the last event', (told) =>
          eventsOf(told).includes(`survive/${all - 1}=${tenants[i]}`),
        );
        await sleep(500);
        expect(eventsOf(follower.told)).toEqual(
          Array.from({ length: all }, (_, n) => `survive/${n}=${tenants[i]}`),
        );
      }
    } finally {
      await Promise.all(followers.map((follower) => follower.stop()));
    }
  });

  test('from a revision that is compacted are told so, and from where they can go on', async () => {
    const first = await put(places.alpha, 'compacted', '1');
    await put(places.beta, 'compacted', '1');
    const kept = await put(places.alpha, 'compacted', '2');
    await etcdLines('do', [...directPlace(stack), 'compact', String(kept)]);
    for (const tenant of ['alpha', 'beta'] as const) {
      const follower = await follow(places[tenant], 'compacted', first);
      await follower.until('its end', (told) => told.some(({ ended }) => ended));
      const told = follower.told.find(({ error }) => error);
      expect(told).toMatchObject({
        compacted: true,
        compactRevision: kept,
        error: { code: 'OutOfRange', text: expect.stringMatching(/required revision has been compacted/) },
      });
      expect(eventsOf(follower.told)).toEqual([]);
      await follower.stop();
    }
    const follower = await follow(places.alpha, 'compacted', kept);
    await follower.until('what is kept', (told) => eventsOf(told).length === 1);
    expect(eventsOf(follower.told)).toEqual(['compacted=2']);
    await follower.stop();
  });
});
