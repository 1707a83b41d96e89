/**
 * PD's etcd as tenants have it, through Go's own client and its recipes: two tenants with the same names at the same time, held against a
 * client that puts its own prefix in front and calls PD itself.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startStack, type Stack } from '../stack/stack.ts';
import { directPlace, etcdLines, tenantPlace, type EtcdStep, type Place } from './support/etcd.ts';

/** Small, so that etcd cuts large answers to watches into fragments; PD's own limit is 150 MB. */
const LARGEST = 1.5 * 1024 * 1024;
const FOREIGN_LEASE = {
  code: 'PermissionDenied',
  text: 'tidb-mesh: a name or lease that is not for tenants',
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
    expect(stepOf('expiry: expired').result).toEqual({
      a: 'DELETE, was 1 under lease 1',
      b: 'DELETE, was 1 under lease 1',
    });
    expect(stepOf('txn limits: a value that is too large').error?.text).toContain('request is too large');
  });
});
