/** The JSON schema of the pluginConfig. assembly/tenant/ reads it at run time; a test holds the two against each other. */

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
const bytes = (description: string, byDefault: number): Schema => whole(KIB, GIB, description, byDefault);
const text = (description: string, more: Schema = {}): Schema => ({
  type: 'string',
  minLength: 1,
  ...more,
  description,
});
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
  "A keyspace of TiKV's API V2 that the tenant's keys go into, instead of the table codec.",
  ['id', 'mode'],
  {
    id: whole(0, 0xffffff, 'The keyspace id. One tenant for each id and mode.'),
    mode: mode('`txn` for transactions, `raw` for RawKV.'),
  },
);

const prefix = object(
  'Bytes in front of every key, instead of the table codec; for applications that do not use the coprocessor.',
  ['mode'],
  {
    text: text('The bytes as a text, in UTF-8; at most 128 bytes.'),
    hex: text('The bytes in hex; at most 128 bytes, not all FF.', { pattern: '^([0-9a-fA-F]{2})+$' }),
    mode: mode('`txn` for transactions, `raw` for RawKV.'),
  },
  { oneOf: [{ required: ['text'] }, { required: ['hex'] }] },
);

const tenant = object(
  'One tenant.',
  ['name', 'number'],
  {
    name: text('1 to 63 of a-z, 0-9 and -.', { pattern: '^[a-z0-9-]{1,63}$' }),
    number: whole(
      0,
      32766,
      'It is in every key (table codec) and every lease: never change it, and never give it to another tenant. 0, at most once: the keys that are there already, untouched.',
    ),
    keyspace,
    prefix,
  },
  {
    not: { required: ['keyspace', 'prefix'] },
    if: { properties: { number: { const: 0 } } },
    then: { not: { anyOf: [{ required: ['keyspace'] }, { required: ['prefix'] }] } },
  },
);

const CAPTURE = { pattern: '\\{tenant\\}' };
const FACTS = ['workload', 'namespace', 'cluster', 'app'];

const conditions = (whose: string): Schema =>
  object(
    `Patterns over the metadata of ${whose}; all must match.`,
    [],
    {
      workload: text('The name of its workload, such as a Deployment or StatefulSet.'),
      namespace: text('Its namespace.'),
      cluster: text("The mesh's name of the cluster that it runs in."),
      app: text('What Istio calls its app; its label `app`.'),
      labels: {
        type: 'object',
        minProperties: 1,
        additionalProperties: { type: 'string', minLength: 1 },
        description: 'Labels by their names.',
      },
    },
    { minProperties: 1 },
  );

/** A rule in which one of the conditions captures the tenant. */
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
const isSystem: Schema = { required: ['system'], properties: { system: { const: true } } };

const rule = object(
  'Says who callers are: by {tenant} in a pattern, by `tenant`, or by `system`. In a pattern `*` is any run of characters without `/`, and `{tenant}` captures the name of a tenant.',
  [],
  {
    principal: text("A pattern over the URI of the caller's certificate."),
    peer: conditions('the calling workload, as Istio hands it on'),
    node: conditions('the workload beside which this Envoy runs, as it was started with'),
    tenant: text('The tenant, where the principal captures none.'),
    system: {
      type: 'boolean',
      default: false,
      description: 'PD, TiKV, operators: passed untouched and unread.',
    },
  },
  {
    oneOf: [
      {
        anyOf: [capturesPrincipal, capturesFacts],
        not: { anyOf: [{ required: ['tenant'] }, isSystem] },
      },
      { required: ['tenant'], not: { anyOf: [capturesPrincipal, isSystem] } },
      {
        ...isSystem,
        required: ['principal', 'system'],
        not: { anyOf: [{ required: ['tenant'] }, capturesPrincipal, capturesFacts] },
      },
    ],
    anyOf: [{ required: ['principal'] }, { required: ['peer'] }, { required: ['node'] }],
  },
);

/** With requirePrincipal the principal selects the rule, and with it the tenant. */
const byPrincipal: Schema = {
  properties: {
    rules: {
      items: {
        required: ['principal'],
        anyOf: [capturesPrincipal, { required: ['tenant'] }, isSystem],
      },
    },
  },
};
const byAnything: Schema = {
  required: ['rules'],
  properties: {
    rules: {
      contains: {
        anyOf: [{ not: { required: ['principal'] } }, { required: ['peer'] }, { required: ['node'] }],
      },
    },
  },
};

const limits = object('What the filter holds and waits for at most.', [], {
  maxMessageBytes: bytes('The longest gRPC message or HTTP answer that is rewritten.', 64 * MIB),
  heldBytesPerVM: bytes("Unfinished messages in one worker's memory.", 256 * MIB),
  heldBytesPerTenant: bytes("Unfinished messages of one tenant in one worker's memory.", 128 * MIB),
  maxTsDriftSeconds: whole(1, YEAR, 'How far beyond the clock a timestamp in a request may lie.', 600),
  maxHoldBackSeconds: whole(
    1,
    YEAR,
    "How far back a tenant may hold the store's garbage collection, and for how long without saying so again.",
    DAY,
  ),
  maxEtcdLeaseSeconds: whole(
    1,
    YEAR,
    "The longest lease in PD's etcd that a tenant is granted; who wants a longer one gets this.",
    DAY,
  ),
  drainTimeoutSeconds: whole(
    0,
    DAY,
    'How long a stream goes on whose caller a new configuration makes somebody else; it ends earlier when nothing is outstanding.',
    30,
  ),
});

const pd = object(
  'How the filter asks PD whose a region is. Without it, requests that act on a whole region are refused. `tidb-mesh render` fills it in.',
  ['cluster'],
  {
    cluster: text("The Envoy cluster that reaches PD's HTTP API over HTTP/1.1."),
    authority: text('The `Host` of those requests.', { default: 'pd' }),
  },
);

const refuse = (whom: string): Schema => ({
  type: 'array',
  uniqueItems: true,
  description: `What ${whom} refused beyond what every tenant is, by the names of docs/surface.md: \`tikvpb.Tikv/KvDeleteRange\`, \`GET /pd/api/v1/regions\`, or with \`/*\` at the end all below. A method is refused inside batches too.`,
  items: text('The name of a method or of an endpoint.'),
});
const policy = object('What tenants are refused beyond what the filter refuses by itself.', [], {
  refuse: refuse('all tenants are'),
  tenants: {
    type: 'object',
    additionalProperties: object('One tenant.', [], { refuse: refuse('this tenant is') }),
    description: 'What one tenant is refused, by its name.',
  },
});
/** Only tenant 0 can be in a dry run. */
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
    'What the TiDB Mesh filter is configured with: its tenants, and who they are.',
    ['tenants'],
    {
      $schema: text('Where this schema is, for editors. The filter does not read it.'),
      tenants: list('The tenants of this storage layer.', tenant),
      rules: list(
        "Who callers are; the first rule whose principal matches counts, and a caller that none matches is refused. Without rules a tenant's name is the namespace in the trust domain cluster.local: `spiffe://cluster.local/ns/{tenant}/sa/*`. At most 1,000.",
        rule,
        { maxItems: 1000 },
      ),
      requirePrincipal: {
        type: 'boolean',
        default: true,
        description:
          "No certificate, no access; the principal alone selects the rule, and peer and node can only refuse. False only on the tenants' side, where the first rule counts of which everything matches.",
      },
      limits,
      pd,
      policy,
      dryRun: {
        type: 'boolean',
        default: false,
        description:
          'What tenant 0 would be refused goes on, counted (`tidbmesh_would_be_refused_total`) and logged: what `policy` says; while it is the only tenant, every method and endpoint, unread.',
      },
    },
    {
      if: { required: ['requirePrincipal'], properties: { requirePrincipal: { const: false } } },
      then: byAnything,
      else: byPrincipal,
      allOf: [isDryRun],
    },
  ),
};

/** What the filter checks and a schema cannot say; `tidb-mesh validate` says it. */
export const BEYOND_THE_SCHEMA: readonly string[] = [
  'a name or a number that two tenants have',
  'key spaces that one store could not serve side by side',
  "a prefix's length in bytes, and that it is not all FF",
  'a tenant of a rule that is not in tenants',
  'braces, `**` and ambiguous captures in patterns',
  "a label's name that no label can have",
  'rules that ask for more than 16 different facts of the peer, or of the node',
  'a rule that is never reached',
  'a name in policy that is no method or endpoint, or that is refused already; a tenant there that is not in tenants',
  'a name that is twice in one object',
];

/** As it is published in schema/. */
export function schemaText(): string {
  return `${JSON.stringify(PLUGIN_CONFIG_SCHEMA, null, 2)}\n`;
}
