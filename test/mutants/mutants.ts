/** Filters that are broken on purpose, each in one place, and the suites that claim to see it. */

/** Replaces a text that stands exactly once in a file. */
export interface Edit {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** A jest project and one of its files. */
export type Suite = readonly [project: string, file: string];

export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
  readonly caughtBy: readonly Suite[];
}

const WALKER: Suite = ['unit', 'walker.test'];
const ANSWERS: Suite = ['hostile', 'hostile/store.test'];
const REQUESTS: Suite = ['hostile', 'hostile/hostile.test'];
const VALUES = 'assembly/rewrite/values.ts';
const TABLE_CODEC = 'assembly/keys/table.ts';

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'a field loses its role',
    edits: [
      {
        file: 'proto/tikv/kvrpcpb.proto',
        from: `message GetRequest {
  option (mesh.needs) = TXN;
  Context context = 1;
  bytes key = 2 [(mesh.role) = KEY];`,
        to: `message GetRequest {
  option (mesh.needs) = TXN;
  Context context = 1;
  bytes key = 2 [(mesh.role) = OPAQUE];`,
      },
    ],
    caughtBy: [
      ['envoy', 'envoy/requests.test'],
      ['envoy', 'envoy/wire.test'],
      ['envoy', 'envoy/soak.test'],
      REQUESTS,
    ],
  },
  {
    name: 'a bound beyond the tenant is not clamped',
    edits: [
      {
        file: TABLE_CODEC,
        from: 'return mapped == Mapped.OUTSIDE ? writeBound(high) : mapped;',
        to: 'return mapped == Mapped.OUTSIDE ? Mapped.SAME : mapped;',
      },
    ],
    caughtBy: [['unit', 'table-codec.test'], REQUESTS],
  },
  {
    name: 'an absent end stays absent',
    edits: [
      {
        file: TABLE_CODEC,
        from: 'return length == 0 ? writeBound(high) : encodeLower(p, length);',
        to: 'return length == 0 ? Mapped.SAME : encodeLower(p, length);',
      },
    ],
    caughtBy: [['unit', 'table-codec.test'], REQUESTS],
  },
  {
    name: 'a header that PD obeys is not removed',
    edits: [{ file: 'assembly/streams/headers.ts', from: "  ascii('pd-forwarded-host'),\n", to: '' }],
    caughtBy: [['envoy', 'envoy/requests.test']],
  },
  {
    name: "another tenant's key stays in an answer",
    edits: [
      {
        file: VALUES,
        from: 'if (field.length != 0) replaceField(tag, field.at, field.end, 0, 0);',
        to: '',
      },
    ],
    caughtBy: [ANSWERS],
  },
  {
    name: 'a text that may quote keys passes',
    edits: [
      {
        file: VALUES,
        from: 'if (!request && mayQuoteKeys(value, length))',
        to: 'if (request && mayQuoteKeys(value, length))',
      },
    ],
    caughtBy: [ANSWERS],
  },
  {
    name: "another tenant's key in etcd stays in an answer",
    edits: [
      { file: VALUES, from: 'Status.NAME_OUTSIDE : Status.DROP;', to: 'Status.NAME_OUTSIDE : Status.OK;' },
    ],
    caughtBy: [ANSWERS],
  },
  {
    name: 'methods that are refused pass',
    edits: [
      {
        file: 'assembly/streams/filter.ts',
        from: 'const isOpen = known && (methods.decision == Decision.PASS || methods.decision == Decision.MAP);',
        to: 'const isOpen = known;',
      },
      {
        file: 'assembly/streams/filter.ts',
        from: 'if (!isOpen || methods.decision == Decision.PASS) {',
        to: 'if (!isOpen || methods.decision != Decision.MAP) {',
      },
    ],
    caughtBy: [['envoy', 'envoy/requests.test'], REQUESTS],
  },
  {
    name: 'a lease keeps its number',
    edits: [
      {
        file: VALUES,
        from: 'else result = names.encodeLease(value == 0 && role == Role.LEASE_GRANT_ID ? current.leaseSeed : value);',
        to: 'else result = value;',
      },
    ],
    caughtBy: [['unit', 'leases.test'], REQUESTS],
  },
  {
    name: 'the phase of a move is ignored',
    edits: [
      {
        file: VALUES,
        from: 'if (request && value != 0 && current.terms.account.phase >= MovePhase.CALM) overwrite(field, 0);',
        to: '',
      },
    ],
    caughtBy: [['unit', 'moves.test']],
  },
  {
    name: "PD acts on anybody's regions",
    edits: [
      {
        file: VALUES,
        from: 'if (verdictNow(region) == Verdict.INSIDE) return true;',
        to: 'if (verdictNow(region) == Verdict.INSIDE || region != 0) return true;',
      },
    ],
    caughtBy: [['unit', 'regions.test']],
  },
  {
    name: 'reads of the far future pass',
    edits: [
      {
        file: VALUES,
        from: 'if (request && !isReadable(value)) return unreadable(value);',
        to: '',
      },
    ],
    caughtBy: [WALKER, REQUESTS],
  },
];
