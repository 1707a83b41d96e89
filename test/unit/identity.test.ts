/** Who is calling: the principal, what Istio says of the peer, what Envoy says of its node, and what of it counts. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { create, toBinary } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import { BUILD_NAMES, buildFilter, Filter, type Caller } from './filter.ts';
import { concat } from '../harness/model/bytes.ts';
import { bytes } from '../harness/model/wire.ts';
import { rounds } from '../harness/support/rounds.ts';

const TENANTS = [
  { name: 'alpha', number: 1 },
  { name: 'beta', number: 2 },
];
const TD = 'spiffe://cluster.local/ns';
const ALPHA = `${TD}/alpha/sa/tidb`;
const SHARED = `${TD}/databases/sa/tidb`;
const LABEL = 'tidb-mesh.io/tenant';
const LABEL_FACT = `labels["${LABEL}"]`;

const value = (text: string): object => ({ kind: { case: 'stringValue', value: text } });

/** The header as a sidecar writes it. */
function metadata(fields: Record<string, string>, labels: Record<string, string> = {}): string {
  const map = (from: Record<string, string>): object =>
    Object.fromEntries(Object.entries(from).map(([name, text]) => [name, value(text)]));
  const inner = { case: 'structValue', value: { fields: map(labels) } };
  const all = { ...map(fields), ...(Object.keys(labels).length ? { LABELS: { kind: inner } } : {}) };
  const message = create(StructSchema, { fields: all } as never);
  return Buffer.from(toBinary(StructSchema, message)).toString('base64');
}

const base64 = (value: Uint8Array): string => Buffer.from(value).toString('base64');
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
/** An entry of a Struct. */
const entry = (key: string, string: string): Uint8Array =>
  bytes(1, concat(bytes(1, text(key)), bytes(2, bytes(3, text(string)))));

/** Callers that come once. So long are their names that WARM of them fill all that may be remembered. */
const MANY = rounds(25_000, 100_000);
const WARM = MANY * 0.6;
const LONG_NAME = 'a'.repeat(200);
const REFUSED = rounds(10_000, 50_000);

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  const load = (rules: object[] | undefined, more: object = {}): string =>
    filter.config(JSON.stringify({ tenants: TENANTS, ...(rules ? { rules } : {}), ...more }));

  /** The tenant's name, SYSTEM or the reason. */
  const who = (caller: string | Caller): string => {
    const { access, text } = filter.identity(caller);
    return access === 'tenant' ? text : access === 'system' ? 'SYSTEM' : text;
  };

  describe('rules that are refused', () => {
    const P = `${TD}/{tenant}/sa/*`;
    const CHOOSES =
      'would let a workload choose its tenant by its own metadata; capture {tenant} in the principal too, or name the tenant';
    const MISSING = "is missing: a pattern over the caller's SPIFFE principal";
    const loose = { requirePrincipal: false };

    test.each<[string, object[], string, object?]>([
      ['a peer alone', [{ peer: { workload: '{tenant}-tidb' } }], `rules[0].principal: ${MISSING}`],
      ['a node alone', [{ node: { workload: '{tenant}-tidb' } }], `rules[0].principal: ${MISSING}`],
      ['a peer that chooses', [{ principal: SHARED, peer: { app: '{tenant}' } }], `rules[0]: ${CHOOSES}`],
      ['a system peer', [{ peer: { app: 'pd' }, system: true }], `rules[0].principal: ${MISSING}`, loose],
      ['no source at all', [{ tenant: 'alpha' }], `rules[0].principal: ${MISSING}`, loose],
      [
        'requirePrincipal off for nothing',
        [{ principal: P }],
        'requirePrincipal: must not be false: every rule is decided by a principal alone',
        loose,
      ],
      [
        'an unknown fact',
        [{ principal: P, peer: { pod: 'x' } }],
        'rules[0].peer.pod: unknown field; known here: workload, namespace, cluster, app, labels',
      ],
      [
        'no fact',
        [{ principal: P, peer: {} }],
        'rules[0].peer: must name at least one of workload, namespace, cluster, app, labels',
      ],
      ['a peer as a text', [{ principal: P, peer: 'x' }], 'rules[0].peer: must be an object'],
      [
        'labels as a text',
        [{ principal: P, peer: { labels: 'x' } }],
        'rules[0].peer.labels: must be an object: the names of labels with patterns',
      ],
      [
        'an odd label',
        [{ principal: P, peer: { labels: { 'a\nb': 'x' } } }],
        'rules[0].peer.labels: has a name that no label can have',
      ],
      [
        'a pattern that is none',
        [{ principal: P, peer: { app: '{tenant' } }],
        'rules[0].peer.app: has a brace that does not belong to {tenant}',
      ],
      [
        'a number as a pattern',
        [{ principal: P, node: { app: 5 } }],
        'rules[0].node.app: must be a text that is not empty',
      ],
      [
        'a capture with two readings',
        [{ principal: `${TD}/*-{tenant}/sa/x` }],
        "rules[0].principal: has more than one of '*' and {tenant} between two slashes: what each stands for would be ambiguous",
      ],
      [
        'two stars in one segment',
        [{ principal: `${TD}/*a*/sa/x`, tenant: 'alpha' }],
        "rules[0].principal: has more than one of '*' and {tenant} between two slashes: what each stands for would be ambiguous",
      ],
      [
        'an odd character',
        [{ principal: `${TD}/é/sa/x`, tenant: 'alpha' }],
        'rules[0].principal: must be printable ASCII without spaces',
      ],
      [
        'the same principal twice',
        [
          { principal: ALPHA, tenant: 'alpha' },
          { principal: ALPHA, tenant: 'beta' },
        ],
        'rules[1].principal: is never reached: rules[0] comes first and matches the same principals',
      ],
      [
        'a principal behind a pattern for all',
        [
          { principal: `${TD}/a/sa/x`, tenant: 'beta' },
          { principal: P },
          { principal: ALPHA, tenant: 'beta' },
        ],
        'rules[2].principal: is never reached: rules[1] comes first and matches the same principals',
      ],
      [
        'a pattern behind a wider one',
        [{ principal: `${TD}/*/sa/*`, system: true }, { principal: `${TD}/x-{tenant}/sa/tidb*` }],
        'rules[1].principal: is never reached: rules[0] comes first and matches the same principals',
      ],
      [
        'more facts than are read for a stream',
        Array.from({ length: 17 }, (_, i) => ({
          principal: `${TD}/n${i}/sa/x`,
          peer: { labels: { [`l${i}`]: 'x' } },
          tenant: 'alpha',
        })),
        'rules[16].peer.labels["l16"]: all rules together may ask for 16 different facts only',
      ],
      [
        'no rules where anybody could call',
        [],
        'rules: must list at least one rule, for example {"principal": "spiffe://cluster.local/ns/{tenant}/sa/*"}',
        loose,
      ],
    ])('%s', (_name, rules, error, more = {}) => {
      expect(load(rules, more)).toBe(error);
      expect(load([{ principal: P }])).toBe('');
    });

    test('any rule behind one that covers it', () => {
      let seed = 1;
      const below = (n: number): number => {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        return Math.floor((seed / 2 ** 32) * n);
      };
      const SEGMENTS = [
        'a',
        'ab',
        'abc',
        '',
        '*',
        'a*',
        '*c',
        'ab*',
        'a*c',
        '{tenant}',
        'a{tenant}',
        'a{tenant}c',
      ];
      const pattern = (): string => {
        const segments = Array.from({ length: 1 + below(3) }, () => SEGMENTS[below(SEGMENTS.length)]!);
        const first = segments.findIndex((segment) => segment.includes('{'));
        const once = segments.map((segment, i) => (i === first ? segment : segment.replace('{tenant}', 'b')));
        return once.join('/') || '*';
      };
      const covers = (one: string, other: string): boolean =>
        new RegExp(
          `^${one.replaceAll('*', '[^/]*').replace('{tenant}', '(?:[a-z0-9-]{1,63}|\\{tenant\\})')}$`,
        ).test(other);
      let refused = 0;
      for (let round = 0; round < 400; round++) {
        const patterns = Array.from({ length: 12 }, pattern);
        const rules = patterns.map((principal) =>
          principal.includes('{') ? { principal } : { principal, tenant: 'alpha' },
        );
        const last = patterns.findIndex((one, i) => patterns.slice(0, i).some((other) => covers(other, one)));
        const first = patterns.findIndex((one) => covers(one, patterns[last] ?? ''));
        if (last >= 0) refused++;
        expect([rules, load(rules)]).toEqual([
          rules,
          last < 0
            ? ''
            : `rules[${last}].principal: is never reached: rules[${first}] comes first and matches the same principals`,
        ]);
      }
      expect(refused).toBeGreaterThan(100);
      expect(refused).toBeLessThan(400);
    });

    test('more rules than are compared', () => {
      const rules = (count: number): object[] =>
        Array.from({ length: count }, (_, i) => ({ principal: `spiffe://m/${i}`, tenant: 'alpha' }));
      expect(load(rules(1000))).toBe('');
      expect(load(rules(1002))).toBe(
        'rules: has 1002 rules, and 1000 are the most; serve many tenants by one rule that captures {tenant}',
      );
    });

    test('absent rules without requirePrincipal', () => {
      expect(load(undefined, loose)).toBe('rules: must be given where "requirePrincipal" is false');
    });

    test.each<[string, object[]]>([
      [
        'a narrower pattern first',
        [{ principal: `${TD}/*/sa/pd`, system: true }, { principal: `${TD}/{tenant}/sa/*` }],
      ],
      [
        'patterns that overlap in part',
        [
          { principal: `${TD}/a*/sa/x`, tenant: 'alpha' },
          { principal: `${TD}/*b/sa/x`, tenant: 'beta' },
        ],
      ],
      [
        'a star behind a capture',
        [{ principal: `${TD}/{tenant}/sa/*` }, { principal: `${TD}/*/sa/*`, system: true }],
      ],
    ])('but not %s', (_name, rules) => {
      expect(load(rules)).toBe('');
    });
  });

  test('without rules the namespace is the tenant, in the trust domain cluster.local', () => {
    expect(load(undefined)).toBe('');
    expect(who(ALPHA)).toBe('alpha');
    expect(who(`${TD}/gamma/sa/tidb`)).toMatch(/the tenant "gamma"/);
    expect(who('spiffe://other.domain/ns/alpha/sa/tidb')).toMatch(/no rule matches /);
    // Whoever may make service accounts in some namespace must not become a tenant by that.
    expect(who(`${TD}/other/sa/alpha-tidb`)).toMatch(/the tenant "other"/);
  });

  describe('the peer may refuse, never choose', () => {
    const RULES = [
      {
        principal: `${TD}/{tenant}/sa/*`,
        peer: { workload: '{tenant}-tidb', labels: { [LABEL]: '{tenant}' } },
      },
    ];
    const good = { workload: 'alpha-tidb', [LABEL_FACT]: 'alpha' };

    test('all agree', () => {
      expect(load(RULES)).toBe('');
      expect(who({ principal: ALPHA, peer: good })).toBe('alpha');
    });

    test.each<[string, Caller, RegExp]>([
      [
        'another tenant by its label',
        { peer: { ...good, [LABEL_FACT]: 'beta' } },
        /: for peer.labels\["tidb-mesh.io\/tenant"\] of rules\[0\] "alpha" is expected and "beta" was found/,
      ],
      [
        'another tenant by its workload',
        { peer: { ...good, workload: 'beta-tidb' } },
        /peer.workload of rules\[\d\] "alpha" is expected and "beta-tidb" was found/,
      ],
      [
        'a workload that does not match',
        { peer: { ...good, workload: 'alpha-pd' } },
        /peer.workload of rules\[\d\] "\{tenant\}-tidb" is expected and "alpha-pd" was found/,
      ],
      [
        'no label',
        { peer: { workload: 'alpha-tidb' } },
        /^tidb-mesh\[FACT_MISSING\]: rules\[0\] asks principal .* for peer.labels\["tidb-mesh.io\/tenant"\], which is not known; /,
      ],
      ['nothing', {}, /rules\[0\] asks .* for peer.workload, which is not known/],
      ['no principal', { principal: '', peer: good }, /^tidb-mesh\[[A-Z_]+\]: the caller has no principal/],
    ])('%s', (_name, caller, reason) => {
      load(RULES);
      expect(who({ principal: ALPHA, ...caller })).toMatch(reason);
    });

    test('a workload cannot get to a later rule by what it says of itself', () => {
      load([
        { principal: SHARED, peer: { app: 'one' }, tenant: 'alpha' },
        { principal: `${TD}/databases/sa/*`, tenant: 'beta' },
      ]);
      expect(who({ principal: SHARED, peer: { app: 'one' } })).toBe('alpha');
      for (const app of ['two', '', 'x'.repeat(254)])
        expect(who({ principal: SHARED, peer: { app } })).toMatch(/^tidb-mesh\[[A-Z_]+\]: .*peer.app/);
      expect(who(`${TD}/databases/sa/other`)).toBe('beta');
    });

    test('a tenant that is named and a label that is captured must agree', () => {
      load([{ principal: SHARED, peer: { labels: { [LABEL]: '{tenant}' } }, tenant: 'alpha' }]);
      expect(who({ principal: SHARED, peer: { [LABEL_FACT]: 'alpha' } })).toBe('alpha');
      expect(who({ principal: SHARED, peer: { [LABEL_FACT]: 'beta' } })).toMatch(
        /"alpha" is expected and "beta" was found/,
      );
    });

    test('each caller is judged by all that is known of it, again and again', () => {
      load(RULES);
      for (let i = 0; i < 3; i++) {
        expect(who({ principal: ALPHA, peer: good })).toBe('alpha');
        expect(who({ principal: ALPHA, peer: { ...good, workload: 'beta-tidb' } })).toMatch(/disagrees/);
        expect(who({ principal: ALPHA, peer: good, header: metadata({ WORKLOAD_NAME: 'x' }) })).toMatch(
          /disagrees/,
        );
        expect(who({ principal: ALPHA, peer: good, header: '', headers: 2 })).toMatch(/or several; /);
      }
    });
  });

  describe('x-envoy-peer-metadata', () => {
    const RULES = [
      {
        principal: `${TD}/{tenant}/sa/*`,
        peer: { workload: '{tenant}-tidb', labels: { [LABEL]: '{tenant}' } },
      },
    ];
    const GOOD = metadata({ NAME: 'p', WORKLOAD_NAME: 'alpha-tidb' }, { app: 'tidb', [LABEL]: 'alpha' });

    beforeAll(() => {
      expect(load(RULES)).toBe('');
    });

    test.each<[string, Caller]>([
      ['alone', {}],
      ['unpadded', { header: GOOD.replace(/=+$/, '') }],
      ['beside the same', { peer: { workload: 'alpha-tidb', [LABEL_FACT]: 'alpha' } }],
      ['beside a part of it', { peer: { workload: 'alpha-tidb' } }],
    ])('is read: %s', (_name, caller) => {
      load(RULES);
      expect(who({ principal: ALPHA, header: GOOD, ...caller })).toBe('alpha');
    });

    test('must agree with what the proxy knows', () => {
      load(RULES);
      expect(who({ principal: ALPHA, header: GOOD, peer: { workload: 'beta-tidb' } })).toBe(
        `tidb-mesh[IDENTITY_CONFLICT]: what is known of principal ${ALPHA} disagrees: for peer.workload of rules[0] "beta-tidb" is expected and "alpha-tidb" was found; correct the rule or the workload`,
      );
      expect(who({ principal: `${TD}/beta/sa/x`, header: GOOD })).toMatch(/disagrees/);
    });

    test.each<[string, string]>([
      ['no base64', '!!!!'],
      ['base64 that ends inside of a byte', 'AAAAA'],
      ['no protobuf', base64(text('what is this'))],
      ['a field cut short', base64(bytes(1, bytes(1, text('WORKLOAD_NAME'))).slice(0, -1))],
      ['a length beyond the end', base64(Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f))],
      ['a field of another kind', base64(Uint8Array.of(0x08, 0x01))],
      [
        'a workload twice',
        base64(concat(entry('WORKLOAD_NAME', 'alpha-tidb'), entry('WORKLOAD_NAME', 'beta-tidb'))),
      ],
      [
        'two keys in one entry',
        base64(
          bytes(
            1,
            concat(
              bytes(1, text('A')),
              bytes(1, text('WORKLOAD_NAME')),
              bytes(2, bytes(3, text('alpha-tidb'))),
            ),
          ),
        ),
      ],
      ['too much', metadata({ WORKLOAD_NAME: 'a'.repeat(16_000) })],
    ])('is refused: %s', (_name, header) => {
      load(RULES);
      expect(who({ principal: ALPHA, header })).toBe(
        `tidb-mesh[PEER_UNREADABLE]: principal ${ALPHA} sends an x-envoy-peer-metadata header that cannot be read, or several; send one as Istio does`,
      );
    });

    test('cut short at every byte or with any byte changed, it never makes another tenant', () => {
      load(RULES);
      const plain = Buffer.from(GOOD, 'base64');
      for (let i = 0; i < plain.length; i++) {
        expect(
          who({ principal: `${TD}/beta/sa/x`, header: plain.subarray(0, i).toString('base64') }),
        ).toMatch(/^tidb-mesh\[[A-Z_]+\]: /);
        const changed = Buffer.from(plain);
        changed[i] = changed[i]! ^ 0x55;
        expect(who({ principal: `${TD}/beta/sa/x`, header: changed.toString('base64') })).toMatch(
          /^tidb-mesh\[[A-Z_]+\]: /,
        );
      }
      expect(who({ principal: ALPHA, header: GOOD })).toBe('alpha');
    });

    test('is not looked at where rules ask for the principal only', () => {
      load([{ principal: `${TD}/{tenant}/sa/*` }]);
      expect(who(ALPHA)).toBe('alpha');
    });
  });

  describe('without requirePrincipal', () => {
    const load2 = (rules: object[]): void => expect(load(rules, { requirePrincipal: false })).toBe('');

    test('the node says who is calling', () => {
      load2([{ node: { workload: '{tenant}-tidb', namespace: 'databases' } }]);
      expect(who({ node: { workload: 'beta-tidb', namespace: 'databases' } })).toBe('beta');
      load2([{ node: { workload: '{tenant}-tidb', namespace: 'databases' } }]);
      expect(who({ node: { workload: 'beta-tidb', namespace: 'other' } })).toMatch(
        /^tidb-mesh\[NO_RULE\]: no rule matches a caller without a principal/,
      );
    });

    test('rules are told apart by facts, and one that asks for a principal still does', () => {
      load2([
        { principal: `${TD}/storage/sa/*`, system: true },
        { principal: SHARED, peer: { app: '{tenant}' } },
        { peer: { app: 'two' }, tenant: 'beta' },
      ]);
      expect(who({ principal: `${TD}/storage/sa/pd` })).toBe('SYSTEM');
      expect(who({ principal: SHARED, peer: { app: 'alpha' } })).toBe('alpha');
      expect(who({ peer: { app: 'two' } })).toBe('beta');
      expect(who({ peer: { app: 'alpha' } })).toMatch(/no rule matches /);
      expect(who({})).toMatch(/no rule matches /);
    });

    test('captures that disagree do not fall through', () => {
      load2([
        { peer: { workload: '{tenant}-tidb', app: '{tenant}' } },
        { peer: { app: '*' }, tenant: 'beta' },
      ]);
      expect(who({ peer: { workload: 'alpha-tidb', app: 'alpha' } })).toBe('alpha');
      expect(who({ peer: { workload: 'alpha-tidb', app: 'beta' } })).toMatch(/disagrees/);
    });
  });

  describe('whatever bytes a caller is called by', () => {
    const odd: [string, Uint8Array][] = [
      ['control characters', text('spiffe://cluster.local/ns/alpha/sa/a\r\nx-tidb-mesh-tenant: beta')],
      ['a NUL', text('spiffe://cluster.local/ns/alpha\0/sa/x')],
      ['quotes', text(`${TD}/"alpha"\\/sa/x`)],
      ['no UTF-8', concat(text(`${TD}/`), Uint8Array.of(0xff, 0xfe, 0xc0), text('/sa/x'))],
      // A decoder that takes overlong forms reads "alpha".
      ['an overlong a', concat(text(`${TD}/`), Uint8Array.of(0xc1, 0xa1), text('lpha/sa/tidb'))],
      ['letters beyond ASCII', text(`${TD}/älpha/sa/x`)],
      ['a capture itself', text(`${TD}/{tenant}/sa/x`)],
      ['64 KB', text(`${TD}/${'a'.repeat(65_536)}/sa/x`)],
    ];

    test.each(odd)('a principal with %s is nobody, and its refusal is printable', (_name, principal) => {
      load([{ principal: ALPHA, tenant: 'alpha' }, { principal: `${TD}/{tenant}/sa/*` }]);
      const { access, text: said } = filter.identity({ principal });
      expect(access).toBe('refused');
      expect(said).toMatch(/^[\x20-\x7e]{1,1024}$/);
    });

    test.each(odd)('a label with %s holds nowhere, and its refusal is printable', (_name, label) => {
      load([{ principal: `${TD}/{tenant}/sa/*`, peer: { labels: { [LABEL]: '*' } } }]);
      expect(who({ principal: ALPHA, peer: { [LABEL_FACT]: 'x' } })).toBe('alpha');
      const { access, text: said } = filter.identity({ principal: ALPHA, peer: { [LABEL_FACT]: label } });
      expect(access).toBe('refused');
      expect(said).toMatch(/^[\x20-\x7e]{1,1024}$/);
    });
  });

  describe('many callers', () => {
    const rules = Array.from({ length: 1000 }, (_, i) =>
      i % 2
        ? { principal: `${TD}/n${i}/sa/*`, tenant: 'alpha' }
        : { principal: `${TD}/n${i}/sa/tidb`, tenant: 'beta' },
    );

    test('exact rules and patterns in their order', () => {
      expect(load(rules)).toBe('');
      for (let i = 0; i < 1000; i += 7) {
        expect(who(`${TD}/n${i}/sa/tidb`)).toBe(i % 2 ? 'alpha' : 'beta');
        expect(who(`${TD}/n${i}/sa/other`)).toMatch(i % 2 ? /^alpha$/ : /no rule matches/);
      }
      load([
        { principal: `${TD}/*/sa/tidb`, tenant: 'beta' },
        { principal: `${TD}/a/sa/x`, tenant: 'alpha' },
        { principal: `${TD}/a/sa/*`, system: true },
      ]);
      expect([who(`${TD}/a/sa/x`), who(`${TD}/a/sa/tidb`), who(`${TD}/a/sa/y`)]).toEqual([
        'alpha',
        'beta',
        'SYSTEM',
      ]);
    });

    test(`${MANY} of them, in bounded memory, and one that comes often stays known`, () => {
      const fresh = new Filter(build);
      fresh.config(
        JSON.stringify({
          tenants: TENANTS,
          rules: [...rules.slice(1), { principal: `${TD}/{tenant}/sa/*` }],
        }),
      );
      let warm = 0;
      for (let i = 0; i < MANY; i++) {
        if (fresh.identity(`${TD}/beta/sa/${LONG_NAME}-${i}`).text !== 'beta') throw new Error(`caller ${i}`);
        if (i % 1000 === 0 && fresh.identity(ALPHA).text !== 'alpha') throw new Error('alpha');
        if (i === WARM) warm = fresh.memoryBytes;
      }
      expect(fresh.memoryBytes).toBe(warm);
      const often = fresh.identityTime(ALPHA, 10_000);
      // A caller for the first time goes through 500 patterns; a known one through a hash.
      expect(often).toBeLessThan(20_000);
    });

    test('refused ones push nobody out and leave nothing behind', () => {
      const fresh = new Filter(build);
      fresh.config(JSON.stringify({ tenants: TENANTS, rules }));
      fresh.identity(`${TD}/n1/sa/x`);
      const before = fresh.memoryBytes;
      for (let i = 0; i < REFUSED; i++) fresh.identity(`${TD}/nobody/sa/${i}`);
      expect(fresh.memoryBytes).toBe(before);
    });
  });
});
