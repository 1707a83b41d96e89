/** What the filter says by itself, in ASCII; `npm run schema` puts it into assembly/texts/table.ts, where each is Text.<name>. */

/** Why a message or stream is ended, by Status: what is wrong, and what to do. */
const BY_STATUS: Record<string, string> = {
  MALFORMED: 'the message is not valid protobuf of its type',
  DUPLICATE: 'a singular field is there twice',
  GROUP: 'the message holds a protobuf group, which these protocols do not use',
  UNKNOWN_FIELD: 'a field that this version does not know; the client is newer than tidb-mesh',
  KEY_OUTSIDE: "a key lies outside of the tenant's key space; only keys of TiDB's own layout can be used",
  NAME_OUTSIDE: 'a name or lease that is not for tenants',
  TOO_DEEP: 'the message is nested deeper than 32 levels',
  COMPRESSED:
    'compressed gRPC messages cannot be rewritten; set tikv-client.grpc-compression-type = "none" in the configuration of TiDB',
  TOO_LONG: 'the message is longer than limits.maxMessageBytes',
  HELD_TOO_MUCH:
    'too many bytes of unfinished messages; raise limits.heldBytesPerVM or limits.heldBytesPerTenant, or send less at once',
  TRUNCATED: 'the stream ended inside a message',
  ROW_DATA: 'the partition ids of a coprocessor answer could not be found in its rows',
  TOO_MANY_PENDING: 'too many coprocessor requests for partition ids in flight on one stream',
  TOO_MANY_CHANGES: 'the message holds more keys and ranges than can be rewritten at once; send less at once',
  SERVICE_ID: 'a service safe point needs a name of 1 to 128 printable characters without space and slash',
  TIMESTAMP_AHEAD:
    'a timestamp lies further in the future than limits.maxTsDriftSeconds; check the clocks of the client and of PD',
  WRONG_SPACE:
    'not for a key space of this kind: transactions need mode "txn", RawKV needs mode "raw", the coprocessor needs the table or the keyspace codec',
  NOT_FOR_TENANTS: 'a request that is not for tenants',
  REGION_NOT_NAMED: 'a request that acts on a whole region must name the region and its epoch in its context',
  REGION_NOT_PROVEN:
    "a request that acts on a whole region, and pluginConfig.pd.cluster does not say where to ask whose region it is; set it to Envoy's cluster of PD",
  BY_POLICY: 'refused by pluginConfig.policy',
  RANGES_MISSING: 'a request without key ranges would act on the whole store; name the ranges',
  READ_SINCE: 'a smallest start timestamp must be a decimal number, and be put with a lease',
  HELD_BACK:
    "a service safe point lies further back than limits.maxHoldBackSeconds: it would hold back the GC of every tenant; start the service anew, or ask the storage's owner for a longer time",
  FILE_BACKUP:
    "BACKUP and RESTORE are the storage layer's own: the store's files hold the keys of every tenant; dump and load through SQL, for example with Dumpling and IMPORT INTO",
  GROUP_NAME:
    "this name cannot be kept for a resource group: together with the tenant's number and a colon it must fit into 32 bytes, and it must not hold a slash; take a shorter one, and end the statement that still waits by ADMIN CANCEL DDL JOBS",
  GROUP_SHARED:
    'the resource group `default` is shared by all tenants and cannot be changed by one; make one of your own and give it to your users: CREATE RESOURCE GROUP, ALTER USER ... RESOURCE GROUP',
  GROUP_SETTINGS: 'a resource group needs a name, the mode RU and its RU settings',
  TSO_COUNT: 'more than 16384 timestamps at once',
  TOO_MANY_FIELDS: 'the message holds more fields than can be read at once; send less at once',
};

const REFUSALS: Record<string, string> = {
  REFUSED: 'refused',
  TRIED: 'dry run: would be refused: ',
  TRIED_MORE: '; others since the last line: ',
  NAME: 'tidb-mesh: ',
  COLON: ': ',
  PLACE: ' (',
  FIELD: ' field ',
  PLACE_END: ')',
  ANSWER: 'tidb-mesh: the answer of the storage: ',
  NOT_FOR_TENANTS_AT_ALL: 'not for tenants',
  FORM: 'this request could be read in two ways; send gRPC as POST /package.Service/Method without a query and with content-type application/grpc, or plain HTTP without upgrade and with a path of letters, digits and -._~/,=: that has no empty, . or .. segment',
  UNKNOWN_METHOD: 'an unknown method; this version of tidb-mesh does not let it through',
  NO_CONFIGURATION: 'no valid configuration is loaded',
  QUERY_UNREADABLE: 'the range of keys in the query cannot be read',
  KEY_UNREADABLE: 'the key in the path cannot be read or is not of the tenant',
  ID_UNREADABLE: 'the id in the path cannot be read or is not for tenants',
  NO_QUERY: 'a tenant can use this without a query only',
  BODY_UNREADABLE: 'the body is not the JSON that PD takes here',
  BODY_NAMES:
    'the body holds a name, label or index that is not for tenants, or a member that is unknown or there twice',
};

/** Why a caller is refused; put together in assembly/tenant/refusal.ts. */
const CALLERS: Record<string, string> = {
  NO_PRINCIPAL: 'the caller has no principal (a SPIFFE URI in a client certificate); connect with mutual TLS',
  PRINCIPAL_TOO_LONG: 'the principal is longer than 2048 bytes',
  PRINCIPAL: 'principal ',
  NAMELESS: 'a caller without a principal: ',
  ODD_PRINCIPAL: 'a principal must be printable ASCII without spaces',
  RULES: 'rules[',
  MAKES_IT: '] makes it tenant "',
  NOT_LISTED: '", which pluginConfig.tenants does not list; add {"name": "',
  NOT_LISTED_END: '", "number": <a free number>} there',
  ASKS_FOR: '] asks for ',
  PEER_FACT: 'peer.',
  NODE_FACT: 'node.',
  NOT_KNOWN: ', which is not known of it',
  DISAGREE: 'what is known of it disagrees: ',
  EXPECTED: ': "',
  AGAINST: '" against "',
  QUOTE: '"',
  UNREADABLE_PEER: 'its x-envoy-peer-metadata cannot be read, or in two ways',
  NO_RULE: 'no rule matches it; add one to pluginConfig.rules, for example ',
  EXAMPLE: '{"principal": "',
  NAMELESS_EXAMPLE: '{"node": {"workload": "<workload>"}, "tenant": "<name>"}, or connect with mutual TLS',
  EXAMPLE_END: '", "tenant": "<name>"}',
};

export const SENTENCES: ReadonlyMap<string, string> = new Map(
  Object.entries({ ...BY_STATUS, ...REFUSALS, ...CALLERS }),
);
