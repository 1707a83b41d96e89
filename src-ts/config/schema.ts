/** The JSON schema of the pluginConfig. assembly/tenant/ reads the pluginConfig at run time; a test compares the two. */

export type Schema = { readonly [name: string]: unknown };

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const HOUR = 3600;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;

const whole = (minimum: number, maximum: number, description: string, byDefault?: number): Schema => ({
  type: 'integer',
  minimum,
  maximum,
  ...(byDefault === undefined ? {} : { default: byDefault }),
  description,
});
const count = (description: string): Schema => whole(1, 1_000_000, description);
const rate = (description: string): Schema => whole(1, 1_000_000, description);
const byteRate = (description: string): Schema => whole(KIB, 4_000_000_000, description);
const bytes = (description: string, byDefault: number): Schema => whole(KIB, GIB, description, byDefault);
const text = (description: string, more: Schema = {}): Schema => ({
  type: 'string',
  minLength: 1,
  ...more,
  description,
});
/** A number that is too large for JSON's. */
const bigNumber = (description: string): Schema =>
  text(description, { pattern: '^0*[1-9][0-9]{0,18}$', maxLength: 19 });
const object = (
  description: string,
  required: readonly string[],
  properties: Schema,
  more: Schema = {},
): Schema => ({
  type: 'object',
  description,
  additionalProperties: false,
  ...(required.length === 0 ? {} : { required }),
  properties,
  ...more,
});
const list = (description: string, items: Schema, more: Schema = {}): Schema => ({
  type: 'array',
  minItems: 1,
  ...more,
  description,
  items,
});

const mode = (description: string): Schema => ({ enum: ['txn', 'raw'], description });

const keyspace = object(
  "Puts the tenant's keys into a keyspace of TiKV's API V2 instead of using the table codec.",
  ['id', 'mode'],
  {
    id: whole(0, 0xffffff, 'The keyspace id. One tenant for each id and mode.'),
    mode: mode('`txn` for transactions, `raw` for RawKV.'),
  },
);

const prefix = object(
  'Puts bytes in front of every key instead of using the table codec. For applications that do not use the coprocessor.',
  ['mode'],
  {
    text: text('The bytes as text, in UTF-8. At most 128 bytes.'),
    hex: text('The bytes in hex. At most 128 bytes, not all FF.', { pattern: '^([0-9a-fA-F]{2})+$' }),
    mode: mode('`txn` for transactions, `raw` for RawKV.'),
    ttl: {
      type: 'boolean',
      default: false,
      description:
        "TiKV has `storage.enable-ttl`. Then clients may ask for a key's time to live. Without it, TiKV would stop at that question. Only for mode `raw`.",
    },
  },
  {
    oneOf: [{ required: ['text'] }, { required: ['hex'] }],
    if: { properties: { mode: { const: 'txn' } } },
    then: { properties: { ttl: { const: false } } },
  },
);

const move = object(
  "Says how far the tenant's move to another key range is. Whoever leads the move writes it. docs/status.md says what each worker of Envoy acknowledges.",
  ['serial', 'phase'],
  {
    serial: whole(
      1,
      4294967295,
      'Which attempt this is. A worker that has lifted a hold by itself says so for this number.',
    ),
    phase: {
      enum: ['prepare', 'calm', 'drain', 'fence', 'final', 'over'],
      description:
        '`prepare` refuses what a change feed does not show: bulk loads, destroyed ranges and pipelined DML. `calm` also makes a transaction commit by its Commit alone. `drain` also holds first writes. `fence` also holds all writes, and reads as of now. `final` holds everything. `over` does what `prepare` does: only after it, an entry without `move` is the end of the move.',
    },
    until: whole(
      1,
      Number.MAX_SAFE_INTEGER,
      'When the phase ends by itself and the tenant goes on as in `prepare`: ms since 1970. For `calm`, `drain` and `fence` only.',
    ),
  },
  {
    if: { required: ['phase'], properties: { phase: { enum: ['calm', 'drain', 'fence'] } } },
    then: { required: ['until'] },
    else: { not: { required: ['until'] } },
  },
);

/** Limits of what PD keeps of a tenant. */
const HOLDINGS = ['etcdKeys', 'etcdLeases', 'resourceGroups', 'pdRecords'];

/** What a tenant from another storage layer has. Nothing that was here first can be one. */
const ELSEWHERE = ['confVerOffset', 'clusterId', 'latestSeen'];

const tenant = object(
  'One tenant.',
  ['name', 'number'],
  {
    name: text('1 to 63 of a-z, 0-9 and -.', { pattern: '^[a-z0-9-]{1,63}$' }),
    number: whole(
      0,
      32766,
      "Part of every key (table codec) and every lease. Never change it, and never give it to another tenant. 0 stands for the store's existing keys; at most one tenant has it.",
    ),
    state: {
      enum: ['active', 'read-only', 'suspended'],
      default: 'active',
      description:
        '`read-only` refuses writes, `suspended` all that reads or writes; both hold for open streams, too. See docs/states.md. Tenant 0 must stay `active`.',
    },
    limits: object('What differs from `limits` for this tenant.', [], {
      maxStreams: whole(1, 1_000_000, 'In place of `limits.maxStreamsPerTenant`.'),
      requestsPerSecond: rate('In place of `limits.requestsPerSecondPerTenant`.'),
      bytesPerSecond: byteRate('In place of `limits.bytesPerSecondPerTenant`.'),
      pdRequestsPerSecond: rate('In place of `limits.pdRequestsPerSecondPerTenant`.'),
      etcdWatches: count('In place of `limits.etcdWatchesPerTenant`.'),
      etcdKeys: count('In place of `limits.etcdKeysPerTenant`. Not for number 0.'),
      etcdLeases: count('In place of `limits.etcdLeasesPerTenant`. Not for number 0.'),
      resourceGroups: count('In place of `limits.resourceGroupsPerTenant`. Not for number 0.'),
      pdRecords: count('In place of `limits.pdRecordsPerTenant`. Not for number 0.'),
    }),
    keyspace,
    prefix,
    ownDefaultGroup: {
      type: 'boolean',
      default: false,
      description:
        "The tenant's resource group `default` is its own: PD keeps it as `<number>:default`, and `tidb-mesh tenants set` gives it limits. Set this after `tidb-mesh tenants add` has made the group: without it, none of its TiDBs starts. False: the tenant shares PD's `default`. Not for number 0.",
    },
    keyNumber: whole(
      1,
      32766,
      'The number in the keys of a table tenant whose keys have moved. Without it, this is `number`. Names, leases and resource groups keep `number`.',
    ),
    epochOffset: whole(
      0,
      0x80000000,
      'For a tenant whose keys have moved: added to the versions of regions that the tenant sees, so that its TiDBs believe them to be newer than those before the move. Never make it smaller.',
      0,
    ),
    confVerOffset: whole(
      0,
      0x80000000,
      'The same for their configuration versions, for a tenant from another storage layer. Not for number 0.',
      0,
    ),
    clusterId: object(
      "For a tenant from another storage layer: under which id its clients know PD's cluster, so that they need not start anew. The mesh shows them `seen` in place of `own`, and asks no cached coprocessor answer of theirs. Keep it for as long as one of them runs. Not for number 0.",
      ['seen', 'own'],
      { seen: bigNumber('The id that the clients know.'), own: bigNumber('The id that PD has here.') },
    ),
    latestSeen: bigNumber(
      'For a tenant from another storage layer: the latest timestamp that it got there. No timestamp of PD that is no later ever reaches it. Not for number 0.',
    ),
    servedBy: text(
      'The name of another storage layer that serves the tenant by now. Its calls to PD and etcd go on to that layer, by a route that `tidb-mesh render` makes. Its requests to the store are answered so that its clients ask PD again. docs/decisions/0017.',
      { pattern: '^[a-z0-9-]{1,63}$' },
    ),
    readableSince: bigNumber(
      'For a tenant whose keys have moved: the earliest timestamp of PD that it may read at, because the copy has no older versions.',
    ),
    move,
  },
  {
    not: {
      anyOf: [
        { required: ['keyspace', 'prefix'] },
        { required: ['keyNumber', 'keyspace'] },
        { required: ['keyNumber', 'prefix'] },
      ],
    },
    if: { properties: { number: { const: 0 } } },
    then: {
      not: { anyOf: ['prefix', ...ELSEWHERE].map((name) => ({ required: [name] })) },
      if: { required: ['keyspace'] },
      then: { required: ['readableSince'] },
      properties: {
        state: { const: 'active' },
        ownDefaultGroup: { const: false },
        limits: { not: { anyOf: HOLDINGS.map((name) => ({ required: [name] })) } },
      },
    },
  },
);

const CAPTURE = { pattern: '\\{tenant\\}' };
const FACTS = ['workload', 'namespace', 'cluster', 'app'];

const conditions = (whose: string): Schema =>
  object(
    `Patterns over the metadata of ${whose}. All must match.`,
    [],
    {
      workload: text('The name of its workload, such as a Deployment or StatefulSet.'),
      namespace: text('Its namespace.'),
      cluster: text("The mesh's name for its cluster."),
      app: text("Istio's name for its app: the label `app`."),
      labels: {
        type: 'object',
        minProperties: 1,
        additionalProperties: { type: 'string', minLength: 1 },
        description: 'Patterns over its labels, by the names of the labels.',
      },
    },
    { minProperties: 1 },
  );

/** A rule in which a condition captures the tenant. */
const capturesIn = (source: string): Schema => ({
  required: [source],
  properties: {
    [source]: {
      anyOf: [
        ...FACTS.map((fact) => ({ required: [fact], properties: { [fact]: CAPTURE } })),
        { required: ['labels'], properties: { labels: { not: { additionalProperties: { not: CAPTURE } } } } },
      ],
    },
  },
});
const capturesPrincipal: Schema = { required: ['principal'], properties: { principal: CAPTURE } };
const capturesFacts: Schema = { anyOf: [capturesIn('peer'), capturesIn('node')] };
const acts: Schema = { required: ['mayActFor'] };
const isSystem: Schema = { required: ['system'], properties: { system: { const: true } } };

const rule = object(
  'A caller rule maps callers to a tenant, by {tenant} in a pattern or by `tenant`, or to `system`. In a pattern, `*` is any text without `/`, and `{tenant}` captures the name of a tenant.',
  [],
  {
    principal: text("A pattern over the URI of the caller's certificate."),
    peer: conditions('the calling workload, as Istio passes it on'),
    node: conditions("this Envoy's own workload"),
    tenant: text('The tenant, if no pattern captures one.'),
    system: {
      type: 'boolean',
      default: false,
      description: 'True for PD, TiKV and operators: their streams pass unread.',
    },
    mayActFor: list(
      'For the Envoys of another storage layer: the tenants that they hand over. Such a caller names the tenant of each call in the header `x-tidb-mesh-on-behalf`, which is believed of nobody else. Needs `requirePrincipal`.',
      text('The name of a tenant in `tenants`.'),
      { uniqueItems: true },
    ),
  },
  {
    oneOf: [
      {
        anyOf: [capturesPrincipal, capturesFacts],
        not: { anyOf: [{ required: ['tenant'] }, isSystem, acts] },
      },
      { required: ['tenant'], not: { anyOf: [capturesPrincipal, isSystem, acts] } },
      {
        ...isSystem,
        required: ['principal', 'system'],
        not: { anyOf: [{ required: ['tenant'] }, capturesPrincipal, capturesFacts, acts] },
      },
      {
        required: ['principal', 'mayActFor'],
        not: { anyOf: [{ required: ['tenant'] }, capturesPrincipal, capturesFacts, isSystem] },
      },
    ],
    anyOf: [{ required: ['principal'] }, { required: ['peer'] }, { required: ['node'] }],
  },
);

/** With requirePrincipal, the principal selects the rule and so the tenant. */
const byPrincipal: Schema = {
  properties: {
    rules: {
      items: {
        required: ['principal'],
        anyOf: [capturesPrincipal, { required: ['tenant'] }, isSystem, acts],
      },
    },
  },
};
const byAnything: Schema = {
  required: ['rules'],
  properties: {
    rules: {
      items: { not: acts },
      contains: {
        anyOf: [{ not: { required: ['principal'] } }, { required: ['peer'] }, { required: ['node'] }],
      },
    },
  },
};

const limits = object('Limits of memory and time.', [], {
  maxMessageBytes: bytes('The longest gRPC message or HTTP body that the filter rewrites.', 64 * MIB),
  heldBytesPerVM: bytes("Bytes of unfinished messages in one worker's memory.", 256 * MIB),
  heldBytesPerTenant: bytes("Bytes of one tenant's unfinished messages in one worker's memory.", 128 * MIB),
  maxTsDriftSeconds: whole(
    1,
    YEAR,
    "How far ahead of PD's clock a timestamp in a request may be. TiKV 9.0 and newer may stop on one that is a minute ahead. Without `pd`, Envoy's clock and at least 600 seconds count.",
    30,
  ),
  maxHoldBackSeconds: whole(
    1,
    YEAR,
    "How far back a tenant may hold the store's garbage collection, and for how long without renewing it.",
    DAY,
  ),
  maxEtcdLeaseSeconds: whole(
    1,
    YEAR,
    "The longest lease in PD's etcd. A request for a longer one gets this, and the answer says so.",
    DAY,
  ),
  maxStreamsPerTenant: whole(
    1,
    1_000_000,
    'How many streams one tenant may have open in one worker of Envoy. More are refused; those that are open go on. A unary call is a stream. Without it there is no limit.',
  ),
  requestsPerSecondPerTenant: rate(
    'How many requests one tenant may send to TiKV a second, through each Envoy. More are delayed, see docs/limits.md. Without it there is no limit.',
  ),
  bytesPerSecondPerTenant: byteRate(
    "How many bytes one tenant's bodies may have a second, requests and answers, through each Envoy. Beyond it requests to TiKV are delayed. Without it there is no limit.",
  ),
  pdRequestsPerSecondPerTenant: rate(
    'How many requests one tenant may send to PD and its etcd a second, through each Envoy. More are delayed. Streams count once, and timestamps are not limited. Without it there is no limit.',
  ),
  etcdWatchesPerTenant: count(
    "How many watches of PD's etcd one tenant may have open in one worker of Envoy. A further one is canceled with a reason; those that are open go on. Without it there is no limit.",
  ),
  etcdKeysPerTenant: count(
    "How many keys one tenant may have in PD's etcd. Beyond it puts are refused, see docs/limits.md. Needs `pd`. Without it there is no limit. It does not hold for number 0.",
  ),
  etcdLeasesPerTenant: count(
    "How many leases one tenant may have in PD's etcd. More are refused. Needs `pd`. Without it there is no limit. It does not hold for number 0.",
  ),
  resourceGroupsPerTenant: count(
    'How many resource groups one tenant may have. More are refused. Needs `pd`. Without it there is no limit. It does not hold for number 0.',
  ),
  pdRecordsPerTenant: count(
    'How many placement rules and groups of them, region label rules and service safe points PD may keep of one tenant, together. More are refused. Needs `pd`. Without it there is no limit. It does not hold for number 0.',
  ),
  drainTimeoutSeconds: whole(
    0,
    DAY,
    'How long a stream may go on whose caller a new config version maps differently. It ends earlier if nothing is outstanding.',
    30,
  ),
});

const pd = object(
  "Tells the filter how to ask PD for a region's boundaries. Without it, requests that act on a whole region are refused. `tidb-mesh render` fills it in.",
  ['cluster'],
  {
    cluster: text("The Envoy cluster that reaches PD's HTTP API over HTTP/1.1."),
    authority: text('The `Host` of those requests.', { default: 'pd' }),
  },
);

const observability = object('What is counted of single tenants, see docs/metrics.md.', [], {
  maxTenants: whole(
    1,
    32767,
    'How many tenants, the first of the list, have series of their own. All others are counted together, as `_other`.',
    1000,
  ),
  latency: {
    type: 'boolean',
    default: false,
    description:
      'Measures how long requests of tenants take, in streams that begin under this configuration. See docs/metrics.md for what it costs.',
  },
});

const refuse = (whom: string): Schema => ({
  type: 'array',
  uniqueItems: true,
  description: `Operations that ${whom} refused besides those that every tenant is, by the names of docs/surface.md: \`tikvpb.Tikv/KvDeleteRange\`, \`GET /pd/api/v1/regions\`. A name that ends in \`/*\` stands for all below it. A method is refused inside batches, too.`,
  items: text('The name of a method or of an endpoint.'),
});
const policy = object('Refuses operations to tenants beyond what the filter refuses by itself.', [], {
  refuse: refuse('all tenants are'),
  tenants: {
    type: 'object',
    additionalProperties: object('One tenant.', [], { refuse: refuse('this tenant is') }),
    description: 'Operations that single tenants are refused, by the names of the tenants.',
  },
});
/** dryRun needs a tenant 0. */
const isDryRun: Schema = {
  if: { required: ['dryRun'], properties: { dryRun: { const: true } } },
  then: {
    properties: { tenants: { contains: { required: ['number'], properties: { number: { const: 0 } } } } },
  },
};

export const PLUGIN_CONFIG_SCHEMA: Schema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'TiDB Mesh pluginConfig',
  ...object(
    'Configures the TiDB Mesh filter: tenants, caller rules, limits.',
    ['tenants'],
    {
      $schema: text('Where this schema is, for editors. The filter does not read it.'),
      tenants: list('The tenants of this storage layer.', tenant),
      rules: list(
        'Caller rules. The first rule whose principal matches counts. A caller that no rule matches is refused. Without rules, the namespace in the trust domain cluster.local is the tenant: `spiffe://cluster.local/ns/{tenant}/sa/*`. At most 1,000.',
        rule,
        { maxItems: 1000 },
      ),
      requirePrincipal: {
        type: 'boolean',
        default: true,
        description:
          "True: a caller without a certificate is refused, the principal alone selects the rule, and peer and node can only refuse. False, on the tenants' side only: the first rule that matches completely counts.",
      },
      limits,
      pd,
      policy,
      dryRun: {
        type: 'boolean',
        default: false,
        description:
          'Lets through, counts (`tidbmesh_would_be_refused_total`) and logs what tenant 0 would be refused: what `policy` refuses and, while it is the only tenant, every other operation, unread.',
      },
      observability,
    },
    {
      if: { required: ['requirePrincipal'], properties: { requirePrincipal: { const: false } } },
      then: byAnything,
      else: byPrincipal,
      allOf: [isDryRun],
    },
  ),
};

/** What the filter checks and a schema cannot express. `tidb-mesh validate` reports it. */
export const BEYOND_THE_SCHEMA: readonly string[] = [
  'a name, a number or a key number that two tenants have',
  'key spaces that one store could not serve side by side',
  "a prefix's length in bytes, and that it is not all FF",
  'a tenant of a rule that is not in tenants',
  'braces, `**` and ambiguous captures in patterns',
  "a label's name that no label can have",
  'rules that ask for more than 16 different facts of the peer, or of the node',
  'a rule that is never reached',
  'a name in policy that is no method or endpoint, or that is refused already; a tenant there that is not in tenants',
  'a name that is twice in one object',
  'limits of `etcdKeys`, `etcdLeases`, `resourceGroups` or `pdRecords` without `pd`',
];

/** The schema's text as published in schema/. */
export function schemaText(): string {
  return `${JSON.stringify(PLUGIN_CONFIG_SCHEMA, null, 2)}\n`;
}
