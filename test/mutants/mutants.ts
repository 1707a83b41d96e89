/** Filters that are broken on purpose, each in one place, and the suites that claim to see it. */

/** Replaces a text that stands exactly once in a file. */
export interface Edit {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** A jest project, one of its files, and which of its tests: by a pattern of their names. */
export interface Suite {
  readonly project: string;
  readonly file: string;
  readonly tests?: string;
  /** The project whose builds it needs. Default: its own. */
  readonly builds?: string;
}

export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
  readonly caughtBy: readonly Suite[];
}

const unit = (name: string): Suite => ({ project: 'unit', file: `unit/${name}.test` });
/** Unit tests of the whole filter, with its streams. */
const hosted = (name: string): Suite => ({ ...unit(name), builds: 'envoy' });
const envoy = (name: string, tests?: string): Suite => ({
  project: 'envoy',
  file: `envoy/${name}.test`,
  ...(tests === undefined ? {} : { tests }),
});
/** One of its two scenes, one part of it, and whether anything of others has changed: the whole takes minutes. */
const hostile = (tests: string): Suite => ({
  project: 'hostile',
  file: 'hostile/hostile.test',
  tests: `table and prefix (${tests}|what is not the attackers)`,
});
const ANSWERS: Suite = { project: 'hostile', file: 'hostile/store.test' };
const BATCHES = hostile('every request of a batch');
const METHODS = hostile('every method');
const LOST_LEADER: Suite = { project: 'ha', file: 'ha/ha.test', tests: 'leader killed' };
const VALUES = 'assembly/rewrite/values.ts';
const TABLE_CODEC = 'assembly/keys/table.ts';
const NUMBERS = 'assembly/rewrite/endings/numbers.ts';
const COLUMNS = 'assembly/rows/analyzed-columns.ts';
const PERMIT = 'assembly/streams/permit.ts';
const KVRPCPB = 'proto/tikv/kvrpcpb.proto';
const PANICS = unit('store-panics');

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
      envoy('requests'),
      envoy('wire'),
      envoy('soak', 'streams that come and go|nothing goes on unrewritten'),
      BATCHES,
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
    caughtBy: [unit('table-codec'), BATCHES],
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
    caughtBy: [unit('table-codec')],
  },
  {
    name: 'a header that PD obeys is not removed',
    edits: [{ file: 'assembly/streams/headers.ts', from: "  ascii('pd-forwarded-host'),\n", to: '' }],
    caughtBy: [envoy('requests', 'headers')],
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
        from: 'if (!isOpen || (methods.decision == Decision.PASS && !isHeaded)) {',
        to: 'if (!isOpen || (methods.decision != Decision.MAP && !isHeaded)) {',
      },
    ],
    caughtBy: [envoy('requests'), METHODS],
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
    caughtBy: [unit('leases'), METHODS],
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
    caughtBy: [hosted('moves')],
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
    caughtBy: [unit('regions')],
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
    caughtBy: [unit('timestamps')],
  },
  {
    name: 'a number on which TiKV stops passes',
    edits: [
      {
        file: 'proto/tikv/kvrpcpb.proto',
        from: 'uint64 override_priority = 3 [(mesh.role) = AT_MOST, (mesh.limit) = 16];',
        to: 'uint64 override_priority = 3 [(mesh.role) = ANY_VALUE];',
      },
    ],
    caughtBy: [unit('numbers')],
  },
  {
    name: 'a number above its limit is not capped',
    edits: [{ file: VALUES, from: '  overwrite(field, limit);\n', to: '' }],
    caughtBy: [unit('numbers')],
  },
  {
    name: 'a moving tenant is not held',
    edits: [
      { file: 'assembly/rewrite/current.ts', from: 'holdsMessage = true;', to: 'holdsMessage = false;' },
    ],
    caughtBy: [hosted('moves')],
  },
  {
    name: 'a limit by count is ignored',
    edits: [
      {
        file: 'assembly/terms/holdings.ts',
        from: '    if (<u64>this.known + this.added + amount > <u64>this.limit) return false;\n',
        to: '',
      },
    ],
    caughtBy: [hosted('counts')],
  },
  {
    name: 'a limit of watches is ignored',
    edits: [
      {
        file: 'assembly/terms/account.ts',
        from: 'return this.maxWatches == 0 || this.watches < this.maxWatches;',
        to: 'return true;',
      },
    ],
    caughtBy: [hosted('counts')],
  },
  {
    name: 'regions are looked up at one member of PD only',
    edits: [
      {
        file: 'src-ts/standalone/bootstrap.ts',
        from: "cluster(PD_HTTP_CLUSTER, pd, 'http', tls)",
        to: "cluster(PD_HTTP_CLUSTER, pd.slice(0, 1), 'http', tls)",
      },
    ],
    caughtBy: [LOST_LEADER],
  },
  {
    name: "the mesh's own header for the tenant is not removed",
    edits: [{ file: 'assembly/streams/headers.ts', from: "  ascii('x-tidb-mesh-tenant'),\n", to: '' }],
    caughtBy: [envoy('requests', 'headers')],
  },
  {
    name: 'a range whose start lies behind its end passes',
    edits: [
      {
        file: NUMBERS,
        from: '? compareBytes(start, startLength, end, endLength) <= 0',
        to: '? true',
      },
    ],
    caughtBy: [PANICS, BATCHES, METHODS],
  },
  {
    name: 'a range without a bound passes',
    edits: [{ file: NUMBERS, from: ': !(flags & Flag.NOT_ZERO);', to: ': true;' }],
    caughtBy: [PANICS],
  },
  {
    name: 'a known shape hides the order of a range',
    edits: [
      {
        file: 'assembly/rewrite/fast-path/learn-layout.ts',
        from: '  Flag.TXN_START;\n\nconst VECTOR',
        to: '  Flag.TXN_START |\n  Flag.COMPARED;\n\nconst VECTOR',
      },
    ],
    caughtBy: [PANICS],
  },
  {
    name: 'a prewrite without mutations passes',
    edits: [
      {
        file: KVRPCPB,
        from: 'repeated Mutation mutations = 2 [(mesh.requires) = true, (mesh.distinct) = true];',
        to: 'repeated Mutation mutations = 2 [(mesh.distinct) = true];',
      },
    ],
    caughtBy: [PANICS],
  },
  {
    name: 'a prewrite skips the check for newer versions',
    edits: [
      {
        file: KVRPCPB,
        from: 'bool skip_constraint_check = 6 [(mesh.role) = ONE_OF, (mesh.allowed) = 0];',
        to: 'bool skip_constraint_check = 6 [(mesh.role) = ANY_VALUE];',
      },
    ],
    caughtBy: [PANICS],
  },
  {
    name: 'a split takes its keys as they are',
    edits: [
      {
        file: KVRPCPB,
        from: 'bool is_raw_kv = 4 [(mesh.role) = ONE_OF, (mesh.allowed) = 0];',
        to: 'bool is_raw_kv = 4 [(mesh.role) = ANY_VALUE];',
      },
    ],
    caughtBy: [PANICS],
  },
  {
    name: 'a flashback begins in a batch',
    edits: [
      {
        file: 'proto/tikv/tikvpb.proto',
        from: 'mesh.Unread PrepareFlashbackToVersion = 36 [(mesh.role) = REFUSED];',
        to: 'bytes PrepareFlashbackToVersion = 36 [(mesh.role) = OPAQUE];',
      },
    ],
    caughtBy: [PANICS],
  },
  {
    name: 'an ANALYZE groups columns that it does not list',
    edits: [{ file: COLUMNS, from: 'if (offset >= columns) return Status.VALUE_OUTSIDE;', to: '' }],
    caughtBy: [PANICS, BATCHES],
  },
  {
    name: 'an ANALYZE has a handle of more columns than it lists',
    edits: [
      {
        file: COLUMNS,
        from: 'if (isMixed && ids > columns - (hasHandle ? 1 : 0)) return Status.VALUE_OUTSIDE;',
        to: '',
      },
    ],
    caughtBy: [PANICS],
  },
  {
    name: 'a handle counts as a column',
    edits: [{ file: COLUMNS, from: 'columns - (hasHandle ? 1 : 0)', to: 'columns' }],
    caughtBy: [PANICS],
  },
  {
    name: 'a call opened before a move acts at the former place',
    edits: [{ file: PERMIT, from: 'terms.isAway || hasMovedAway(terms)', to: 'terms.isAway' }],
    caughtBy: [hosted('moves'), envoy('waiting', 'a move that ends meanwhile')],
  },
  {
    name: 'a call of a tenant that is served elsewhere acts at the former place',
    edits: [{ file: PERMIT, from: 'terms.isAway || hasMovedAway(terms)', to: 'hasMovedAway(terms)' }],
    caughtBy: [hosted('hand-over')],
  },
  {
    name: 'a call without a region that TiKV looks at acts at the former place',
    edits: [
      {
        file: PERMIT,
        from: `    isHeldAlone(MovePhase.FINAL, stream.call) &&
    stream.requestMessage != Msg.DESTROY_RANGE_REQUEST &&
    stream.requestMessage != Msg.LOCK_WAIT_REQUEST
`,
        to: '    isHeldAlone(MovePhase.FINAL, stream.call)\n',
      },
    ],
    caughtBy: [hosted('moves')],
  },
  {
    name: 'a body of HTTP that comes after a move acts at the former place',
    edits: [
      {
        file: 'assembly/streams/http.ts',
        from: `  let status = refusalByMove(stream, terms);
  if (status != Status.OK) {
    refuseBody(stream, status);
    return false;
  }
  enter(stream, terms);
  status = json`,
        to: '  enter(stream, terms);\n  let status = json',
      },
    ],
    caughtBy: [hosted('moves')],
  },
  {
    name: 'a path that waited during a move acts at the former place',
    edits: [
      {
        file: 'assembly/streams/delays.ts',
        from: 'else if (terms != null && !stream.isGrpc && hasMovedAway(terms)) refuse(stream, Status.TENANT_MOVES);',
        to: '',
      },
    ],
    caughtBy: [hosted('moves')],
  },
  {
    name: 'two VMs register under one id',
    edits: [
      {
        file: 'assembly/host/host.ts',
        from: 'const ABSENT: u32 = u32.MAX_VALUE;',
        to: 'const ABSENT: u32 = 0;',
      },
    ],
    caughtBy: [hosted('status-page')],
  },
  {
    name: "leases of others use up a tenant's limit",
    edits: [
      {
        file: 'assembly/streams/holdings.ts',
        from: 'if (ranges == 0 && size > MAX_ANSWER_BYTES) account.holdings.leases.takeAnswer(0);',
        to: '',
      },
    ],
    caughtBy: [hosted('counts')],
  },
  {
    name: 'a client that asks for tokens keeps its id',
    edits: [{ file: VALUES, from: 'result = names.encodeClient(value);', to: 'result = value;' }],
    caughtBy: [unit('token-requests')],
  },
  {
    name: 'a message asks for tokens of any number of groups',
    edits: [
      {
        file: 'assembly/rewrite/endings/tokens.ts',
        from: '(isWhole ? MAX_REQUESTS : MAX_UNITS)',
        to: '(isWhole ? u32.MAX_VALUE : u32.MAX_VALUE)',
      },
    ],
    caughtBy: [unit('token-requests')],
  },
  {
    name: 'tenants share groups in which regions are scattered',
    edits: [
      {
        file: VALUES,
        from: 'return request ? scatterGroup(tag, field) : Status.OK;',
        to: 'return Status.OK;',
      },
    ],
    caughtBy: [unit('regions')],
  },
  {
    name: 'peers of a foreign region stay in an answer',
    edits: [
      {
        file: 'proto/pd/pdpb.proto',
        from: `  ResponseHeader header = 1;
  metapb.Region region = 2 [(mesh.essential) = true];`,
        to: `  ResponseHeader header = 1;
  metapb.Region region = 2;`,
      },
    ],
    caughtBy: [unit('foreign-answers')],
  },
];
