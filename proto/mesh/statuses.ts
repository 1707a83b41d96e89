/**
 * Every way in which the filter refuses something, and every other sentence that it says. `npm run schema` makes the filter's `Status`
 * and its texts of it, `npm run docs` docs/refusals.md.
 *
 * A sentence is a whole template: {0}, {1} … are places for values. It says what was wrong, which value, and what to change.
 */

export type GrpcStatus =
  | 'INVALID_ARGUMENT'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE';

export interface StatusRow {
  /** Shown in texts, logs and metrics: never changed once it was released. */
  readonly code: string;
  /** What the caller is told. */
  readonly sentence: string;
  readonly grpc: GrpcStatus;
  readonly http: number;
  /** One request of a batch can be refused with it, while the others go on. */
  readonly single?: true;
  /** For docs/refusals.md: what it means, and who has to do what. */
  readonly means: string;
  readonly remedy: string;
}

/** Of messages and bodies: what is in them, or how they come. */
const MESSAGES = [
  {
    code: 'MALFORMED',
    sentence:
      'the message is not valid protobuf of its type; check the versions of the client and of tidb-mesh',
    grpc: 'INTERNAL',
    http: 400,
    means: 'The bytes are not a protobuf message of the type that the method has.',
    remedy:
      'Developers of the client: find out who wrote the bytes. In an answer: report it with the versions of TiKV and PD.',
  },
  {
    code: 'DUPLICATE',
    sentence: 'a field that may be there once is there twice; send it once',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    single: true,
    means: 'A singular field is there twice. Two parsers could read two different values.',
    remedy: 'Developers of the client: send the field once.',
  },
  {
    code: 'GROUP',
    sentence:
      'the message holds a protobuf group, which these protocols do not use; send a message field instead',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    single: true,
    means: 'The message holds a group (wire types 3 and 4).',
    remedy: 'Developers of the client: do not use groups.',
  },
  {
    code: 'UNKNOWN_FIELD',
    sentence:
      'a field is unknown to this version of tidb-mesh, because the client is newer; upgrade tidb-mesh or use an older client',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    single: true,
    means:
      'A request has a field that proto/ does not describe. It could hold a key, or a number on which TiKV or PD stops.',
    remedy: 'Operators: upgrade tidb-mesh, or run a client of a version that it knows.',
  },
  {
    code: 'KEY_OUTSIDE',
    sentence: "a key lies outside of the tenant's key range; use keys of TiDB's own layout only",
    grpc: 'PERMISSION_DENIED',
    http: 403,
    single: true,
    means: "An exact key lies outside of the tenant's key range, or is no key that TiDB writes.",
    remedy:
      "Developers of the client: use TiDB's keys, without a prefix of your own. Operators: check who is that tenant.",
  },
  {
    code: 'NAME_OUTSIDE',
    sentence: 'a name or a lease is not for tenants; use names and leases of your own',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    single: true,
    means: "A name in PD's etcd, a path or a lease belongs to PD or to everybody.",
    remedy: 'Developers of the client: use other names. PD keeps its own settings for operators.',
  },
  {
    code: 'TOO_DEEP',
    sentence: 'the message is nested deeper than 32 levels; send a flatter one',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    single: true,
    means: 'Messages in the message are nested deeper than the filter follows them.',
    remedy: 'Developers of the client: TiDB never does this.',
  },
  {
    code: 'COMPRESSED',
    sentence:
      'compressed gRPC messages cannot be rewritten; set tikv-client.grpc-compression-type = "none" in the configuration of TiDB',
    grpc: 'UNIMPLEMENTED',
    http: 400,
    means: 'A gRPC frame has the compressed flag.',
    remedy: 'The tenant: set `tikv-client.grpc-compression-type = "none"`, which is the default.',
  },
  {
    code: 'TOO_LONG',
    sentence: 'the message is longer than limits.maxMessageBytes; send less at once, or raise the limit',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 413,
    means: 'A message or a body is longer than `limits.maxMessageBytes`.',
    remedy: 'Operators: raise the limit. The tenant: send smaller batches.',
  },
  {
    code: 'TOO_LONG_UNREAD',
    sentence: 'the message is longer than the 4096 bytes that this method may have; send less',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 413,
    means:
      'A message of a method that passes unread, as `GetMembers`, is longer than 4096 bytes. Clients send a few numbers.',
    remedy: 'Developers of the client: send what the method takes.',
  },
  {
    code: 'HELD_TOO_MUCH',
    sentence:
      'too many bytes of unfinished messages are held; raise limits.heldBytesPerVM or limits.heldBytesPerTenant, or send less at once',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 503,
    means:
      'Unfinished messages and what is remembered of open requests are at `limits.heldBytesPerVM` or `limits.heldBytesPerTenant`.',
    remedy: 'Operators: raise the limit, or give the worker more memory. The tenant: send less at once.',
  },
  {
    code: 'TRUNCATED',
    sentence: 'the stream ended inside a message; send it whole',
    grpc: 'INTERNAL',
    http: 400,
    means: 'The body ended, or trailers came, before the message was whole.',
    remedy: 'Look for the peer that broke off: its log says why.',
  },
  {
    code: 'ROW_DATA',
    sentence:
      'the partition ids of a coprocessor answer could not be found in its rows; report it with the version of TiKV',
    grpc: 'INTERNAL',
    http: 400,
    means: 'A coprocessor answer has no `_tidb_tid` column where its request asked for one.',
    remedy: 'Developers of tidb-mesh: please report the statement and the version of TiKV.',
  },
  {
    code: 'TOO_MANY_PENDING',
    sentence:
      'too many requests of one stream wait for answers that must be changed; wait for some of them, or open another connection',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 400,
    means: 'Too many requests are in flight on one stream whose answers the filter must change.',
    remedy:
      'The tenant: raise `tikv-client.grpc-connection-count`, so that requests spread over more streams.',
  },
  {
    code: 'SERVICE_ID',
    sentence:
      'a service safe point needs a name of 1 to 128 printable characters without space and slash; change its name',
    grpc: 'PERMISSION_DENIED',
    http: 400,
    means: 'A service safe point has a name that PD would not keep, or none.',
    remedy: 'Developers of the client: choose another name.',
  },
  {
    code: 'VALUE_OUTSIDE',
    sentence:
      'a field has a value on which TiKV or PD could stop, or it is missing; send what the method serves',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    single: true,
    means:
      'A field has a value that no client sends, or is missing, and TiKV or PD could stop on that for all tenants: a number, an enum, a range whose start lies behind its end, a list that is empty, too short or names a key twice.',
    remedy: 'Developers of the client: send what docs/surface.md lists for the field and its message.',
  },
  {
    code: 'TOO_MANY_CHANGES',
    sentence: 'the message holds more keys and ranges than can be rewritten at once; send less at once',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 413,
    means: 'Rewriting one message would take more memory than one event may.',
    remedy: 'The tenant: send smaller batches.',
  },
  {
    code: 'TOO_MANY_FIELDS',
    sentence: 'the message holds more fields than can be read at once; send less at once',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 400,
    means: 'One message holds more fields than the filter reads.',
    remedy: 'The tenant: send smaller batches.',
  },
  {
    code: 'READ_TOO_OLD',
    sentence:
      "the snapshot is older than the copy of the tenant's data since its move, tenants[].readableSince; read at a later time",
    grpc: 'FAILED_PRECONDITION',
    http: 400,
    single: true,
    means:
      'The tenant has moved to another key range, and a request reads at a timestamp from before that. The copy has no versions so old.',
    remedy: 'The tenant: begin the transaction again, and read history from a backup.',
  },
  {
    code: 'TIME_GOES_BACK',
    sentence:
      "PD's timestamp is no later than tenants[].latestSeen, which the tenant got before it moved here; wait until PD's clock has passed it",
    grpc: 'UNAVAILABLE',
    http: 503,
    means:
      'The tenant has moved here from another storage layer, and PD answers with a timestamp that its TiDBs may have seen already. They would read what they have read before, or end themselves.',
    remedy:
      "Operators: compare the clocks of both PDs. Nothing is needed when this one's is behind by seconds only.",
  },
  {
    code: 'TIMESTAMP_AHEAD',
    sentence:
      "a timestamp lies further ahead of PD's clock than limits.maxTsDriftSeconds; use timestamps that PD gave",
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    single: true,
    means:
      "A request names a timestamp beyond PD's clock and `limits.maxTsDriftSeconds`. It would raise TiKV's `max_ts` for everybody, and could stop a TiKV of 9.0 or newer.",
    remedy:
      'Operators: see whether `tidbmesh_time_lookups_failed_total` rises, and compare the clocks of Envoy and PD. Developers of the client: use timestamps that PD gave.',
  },
  {
    code: 'WRONG_SPACE',
    sentence:
      'this request is not for a key space of this kind: transactions need mode "txn", RawKV needs mode "raw", the coprocessor needs the table or the keyspace codec',
    grpc: 'PERMISSION_DENIED',
    http: 400,
    single: true,
    means: "The tenant's key space does not serve this kind of request.",
    remedy:
      'Operators: give the tenant a key space of the other mode. Developers of the client: use the other API.',
  },
  {
    code: 'NOT_FOR_TENANTS',
    sentence: 'this request is not for tenants; an operator can send it as a system principal',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    single: true,
    means: 'Nobody but PD, TiKV and operators may send this request. Its text says why.',
    remedy:
      'Operators: send it as a system principal. The tenant: do without it; docs/surface.md lists what is served.',
  },
  {
    code: 'REGION_NOT_NAMED',
    sentence: 'a request that acts on a whole region must name the region and its epoch in its context',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    single: true,
    means: 'A request acts on a whole region, but does not say on which one, in which version.',
    remedy: 'Developers of the client: set region_id and region_epoch in the context.',
  },
  {
    code: 'REGION_NOT_PROVEN',
    sentence:
      "a request acts on a whole region, and pluginConfig.pd.cluster does not say where to ask whose region it is; set it to Envoy's cluster of PD",
    grpc: 'FAILED_PRECONDITION',
    http: 400,
    single: true,
    means: 'A request acts on a whole region, and the filter cannot ask PD whose region that is.',
    remedy: 'Operators: set `pd.cluster` in the pluginConfig; `tidb-mesh render` does.',
  },
  {
    code: 'READ_SINCE',
    sentence: 'a smallest start timestamp must be a decimal number, and be put with a lease',
    grpc: 'PERMISSION_DENIED',
    http: 400,
    means:
      "What a TiDB puts under `/tidb/server/minstartts/` is no number, or would stay for ever. It holds back everybody's garbage collection.",
    remedy: 'Developers of the client: put a decimal number with a lease.',
  },
  {
    code: 'HELD_BACK',
    sentence:
      "a service safe point lies further back than limits.maxHoldBackSeconds: it would hold back the GC of every tenant; start the service anew, or ask the storage's owner for a longer time",
    grpc: 'FAILED_PRECONDITION',
    http: 400,
    means: 'A backup or a change feed wants data kept from before `limits.maxHoldBackSeconds`.',
    remedy: 'The tenant: start the service anew. Operators: raise the limit.',
  },
  {
    code: 'TEXT_TOO_LONG',
    sentence:
      'a text that PD or the store keeps is too long: the source of a request may have 128 bytes, the name of a resource group 32 with the number of the tenant, a resource group 64 KiB, and a value in etcd 1.5 MiB; send a shorter one',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    single: true,
    means:
      'The source of a request, the name of a resource group, a resource group, or a value for etcd is longer than any client sends it. TiKV would keep it in its metrics, and PD in memory.',
    remedy: 'Developers of the client: send a shorter text.',
  },
  {
    code: 'GROUP_NAME',
    sentence:
      "this name cannot be kept for a resource group: together with the tenant's number and a colon it must fit into 32 bytes, and it must not hold a slash; take a shorter one, and end the statement that still waits by ADMIN CANCEL DDL JOBS",
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: "The name of a resource group is too long together with the tenant's number, or holds a slash.",
    remedy: 'The tenant: take a shorter name, and end the waiting statement by `ADMIN CANCEL DDL JOBS`.',
  },
  {
    code: 'GROUP_DEFAULT',
    sentence:
      'the operator of the storage layer sets the resource group `default`, and a tenant cannot change it; make one of your own and give it to your users: CREATE RESOURCE GROUP, ALTER USER ... RESOURCE GROUP',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'A tenant wants to change the resource group `default`.',
    remedy:
      'The tenant: make a group of its own. Operators: `tidb-mesh tenants set` for a tenant whose `default` is its own. Tenant 0 and system principals change the one that tenants share.',
  },
  {
    code: 'GROUP_SETTINGS',
    sentence: 'a resource group needs a name, the mode RU and its RU settings; add them',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: 'A resource group comes without the settings that PD relies on.',
    remedy: 'Developers of the client: send mode and settings.',
  },
  {
    code: 'TSO_COUNT',
    sentence: 'more than 16384 timestamps are wanted at once; ask for fewer',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: 'One request wants more timestamps than 16,384. PD has 2^18 for each tick of its clock.',
    remedy: 'Developers of the client: ask for fewer at once.',
  },
  {
    code: 'FILE_BACKUP',
    sentence:
      "BACKUP and RESTORE are the storage layer's own: the store's files hold the keys of every tenant; dump and load through SQL, for example with Dumpling and IMPORT INTO",
    grpc: 'PERMISSION_DENIED',
    http: 400,
    means: 'A BACKUP or a RESTORE begins. The files of the store hold the keys of every tenant.',
    remedy:
      'The tenant: dump and load through SQL. Operators: back up the whole storage layer as a system principal.',
  },
  {
    code: 'BY_POLICY',
    sentence: 'refused by pluginConfig.policy; ask the operators of the storage layer',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    single: true,
    means: 'The operators refuse this method or endpoint to this tenant by `policy`.',
    remedy: 'Operators: take it out of `policy`. The tenant: do without it.',
  },
  {
    code: 'TENANT_READ_ONLY',
    sentence:
      'the tenant is read-only, so nothing can be written; ask the operators of the storage layer to make it active',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    single: true,
    means:
      'The operators have set `state` of this tenant to `read-only`, and the call would change something.',
    remedy:
      'Operators: set `state` to `active`. The tenant: reads go on; docs/states.md says what else does.',
  },
  {
    code: 'TENANT_SUSPENDED',
    sentence:
      'the tenant is suspended, so all its requests are refused; ask the operators of the storage layer to make it active',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    single: true,
    means: 'The operators have set `state` of this tenant to `suspended`.',
    remedy: 'Operators: set `state` to `active`. The tenant: wait until they have.',
  },
  {
    code: 'SERVED_ELSEWHERE',
    sentence:
      'another storage layer serves the tenant, or is about to; try again, and ask PD for the addresses anew',
    grpc: 'UNAVAILABLE',
    http: 503,
    means:
      'The tenant is being handed over to another storage layer. Or two storage layers name each other as `servedBy`.',
    remedy:
      'Nobody, while it lasts seconds: clients try again. Otherwise operators: take `servedBy` from the tenant at the layer that serves it.',
  },
  {
    code: 'TENANT_MOVES',
    sentence:
      'the tenant moves to another key range, and what this request does cannot be followed; try again when the move is over',
    grpc: 'FAILED_PRECONDITION',
    http: 409,
    single: true,
    means:
      "The configuration says that the tenant moves, and the request loads or destroys data past the change feed that the move follows, or is pipelined DML (`tidb_dml_type = 'bulk'`), which the move does not follow. Or it is a change feed of the tenant itself, whose keys are about to change.",
    remedy:
      "The tenant: try again after the move. DML works meanwhile with `tidb_dml_type = 'standard'`, `ADD INDEX` meanwhile with `tidb_enable_dist_task=OFF` and `tidb_ddl_enable_fast_reorg=OFF`.",
  },
  {
    code: 'TOO_MANY_STREAMS',
    sentence:
      'the tenant has as many open streams as limits.maxStreamsPerTenant or its own limits.maxStreams allows; close some, or ask the operators of the storage layer',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 429,
    means:
      'In one worker of Envoy, the tenant has as many streams open as `limits.maxStreamsPerTenant` or `tenants[].limits.maxStreams` allows.',
    remedy:
      'Operators: raise the limit, or find the client that opens streams: `tidbmesh_tenant_streams_active`. The tenant: use fewer connections.',
  },
  {
    code: 'OVER_RATE',
    sentence:
      'the tenant sends more than limits.requestsPerSecond, limits.bytesPerSecond or limits.pdRequestsPerSecond allows; send less at once, or ask the operators of the storage layer',
    grpc: 'UNAVAILABLE',
    http: 429,
    single: true,
    means:
      'A request waited for its turn under a rate of [limits](limits.md#rates) as long as its client would, or too many others wait. Or so many messages came on a stream of PD or etcd that the stream was ended. Delayed requests of a batch get this text in a region error, which TiDB repeats.',
    remedy:
      'Operators: raise the limit, or find the client that sends so much: `tidbmesh_tenant_delayed_total`. The tenant: send less at once.',
  },
  {
    code: 'TOO_MANY_WATCHES',
    sentence:
      'the tenant has as many open watches in etcd as limits.etcdWatches allows, or 10000 on one stream; cancel some, or ask the operators of the storage layer',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 429,
    means:
      "In one worker of Envoy, the tenant has as many watches of PD's etcd open as `limits.etcdWatchesPerTenant` or `tenants[].limits.etcdWatches` allows, or 10,000 on one stream. Only the new watch ends, with this reason.",
    remedy:
      'Operators: raise the limit, or find the client: `tidbmesh_tenant_etcd_watches`. The tenant: cancel watches.',
  },
  {
    code: 'TOO_MANY_ETCD_KEYS',
    sentence:
      'the tenant has as many keys in etcd as limits.etcdKeys allows; delete some, or ask the operators of the storage layer',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 429,
    means:
      "PD's etcd has as many keys of the tenant as `limits.etcdKeysPerTenant` or `tenants[].limits.etcdKeys` allows, by the last count and what was put since. Puts of keys that are there are refused, too.",
    remedy:
      'Operators: raise the limit. The tenant: delete keys. The filter counts again within seconds ([limits](limits.md#counts)).',
  },
  {
    code: 'TOO_MANY_LEASES',
    sentence:
      'the tenant has as many leases in etcd as limits.etcdLeases allows; revoke some, or ask the operators of the storage layer',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 429,
    means:
      "PD's etcd has as many leases of the tenant as `limits.etcdLeasesPerTenant` or `tenants[].limits.etcdLeases` allows, by the last count and what was granted since.",
    remedy:
      'Operators: raise the limit. The tenant: revoke leases, or let them expire. The filter counts again within seconds ([limits](limits.md#counts)).',
  },
  {
    code: 'TOO_MANY_GROUPS',
    sentence:
      'the tenant has as many resource groups as limits.resourceGroups allows; drop some, or ask the operators of the storage layer',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 429,
    means:
      'PD has as many resource groups of the tenant as `limits.resourceGroupsPerTenant` or `tenants[].limits.resourceGroups` allows, by the last count and what was added since. A `default` of its own counts, too.',
    remedy:
      'Operators: raise the limit. The tenant: `DROP RESOURCE GROUP`. The filter counts again within seconds ([limits](limits.md#counts)).',
  },
  {
    code: 'TOO_MANY_RECORDS',
    sentence:
      'PD has as many placement rules and groups of them, region label rules and service safe points of the tenant as limits.pdRecords allows; drop some, or ask the operators of the storage layer',
    grpc: 'RESOURCE_EXHAUSTED',
    http: 429,
    means:
      'PD has as many placement rules and groups of them, region label rules and service safe points of the tenant as `limits.pdRecordsPerTenant` or `tenants[].limits.pdRecords` allows, by the last count and what was added since. A request that would add more than there is room for is refused as a whole.',
    remedy:
      'Operators: raise the limit. The tenant: drop placement policies and attributes of tables, or end dumps and changefeeds. The filter counts again within seconds ([limits](limits.md#counts)).',
  },
] as const satisfies readonly StatusRow[];

/** Of calls: their method, path, query or JSON. */
const CALLS = [
  {
    code: 'FORM',
    sentence:
      'this request could be read in two ways; send gRPC as POST /package.Service/Method without a query and with content-type application/grpc, or plain HTTP without upgrade and with a path of letters, digits and -._~/,=: that has no empty, . or .. segment',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: 'Envoy, PD and the filter could read the method, the path or the content type differently.',
    remedy: 'Developers of the client: send plain gRPC or plain HTTP.',
  },
  {
    code: 'NO_CONFIGURATION',
    sentence: 'no valid configuration is loaded; the operators find the reason in the log of Envoy',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: 'Envoy runs the filter, but its pluginConfig was refused or has not come yet.',
    remedy:
      'Operators: look for `the pluginConfig is refused` in the log of Envoy; `tidb-mesh validate` says the same.',
  },
  {
    code: 'UNKNOWN_METHOD',
    sentence: 'this version of tidb-mesh does not know the method; upgrade tidb-mesh or use an older client',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'proto/ does not describe the method, so nobody has judged it.',
    remedy: 'Operators: upgrade tidb-mesh.',
  },
  {
    code: 'QUERY_UNREADABLE',
    sentence: 'the range of keys in the query cannot be read; send keys as PD takes them',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: "The keys in a query are not in PD's form, or are there twice.",
    remedy: 'Developers of the client: send hex or escaped keys, as the endpoint takes them.',
  },
  {
    code: 'KEY_UNREADABLE',
    sentence: "the key in the path cannot be read, or is not the tenant's; send an own key as PD takes it",
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: "The key in the path is not in PD's form, or lies outside of the tenant's key range.",
    remedy: 'Developers of the client: send an own key, hex or escaped.',
  },
  {
    code: 'ID_UNREADABLE',
    sentence: 'the id in the path cannot be read, or is not for tenants; send the id of an own rule',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: "The id of a rule in the path cannot be read, or is PD's.",
    remedy: 'Developers of the client: send the id of an own rule.',
  },
  {
    code: 'QUERY_REFUSED',
    sentence: 'a tenant can use this endpoint without a query only; leave the query out',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: 'The endpoint is served without a query only.',
    remedy: 'Developers of the client: leave the query out.',
  },
  {
    code: 'BODY_REFUSED',
    sentence: 'this endpoint takes no body; leave the body out',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: 'The request has a body, and PD needs none here. PD would read it whole into memory.',
    remedy: 'Developers of the client: leave the body out.',
  },
  {
    code: 'BODY_UNREADABLE',
    sentence: 'the body is not the JSON that PD takes here; check it against the API of PD',
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    means: 'The body is no JSON, or not of the shape that PD takes.',
    remedy: 'Developers of the client: send what PD takes.',
  },
  {
    code: 'BODY_NAMES',
    sentence:
      'the body holds a name, label or index that is not for tenants, or a member that is unknown or there twice; leave it out',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: "A rule in the body has a name, label or index that is PD's or the storage layer's.",
    remedy: 'The tenant: use other names; docs/what-tenants-share.md says which rules a tenant may make.',
  },
] as const satisfies readonly StatusRow[];

/** Of callers: {0} is who calls, {1} and on are said at each. */
const CALLERS = [
  {
    code: 'NO_PRINCIPAL',
    sentence: 'the caller has no principal (a SPIFFE URI in a client certificate); connect with mutual TLS',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'The connection has no client certificate with a URI.',
    remedy: 'Operators: give the workload a certificate of the mesh; with Istio, a sidecar.',
  },
  {
    code: 'PRINCIPAL_TOO_LONG',
    sentence: 'the principal is longer than 2048 bytes; take a certificate with a shorter one',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'The URI in the certificate is longer than a SPIFFE ID may be.',
    remedy: 'Operators: look at who issued the certificate.',
  },
  {
    code: 'PRINCIPAL_ODD',
    sentence: '{0} is refused: a principal must be printable ASCII without spaces; take another certificate',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'The URI in the certificate holds characters that no SPIFFE ID has.',
    remedy: 'Operators: look at who issued the certificate.',
  },
  {
    // {1} a rule to add.
    code: 'NO_RULE',
    sentence: 'no rule matches {0}; add one to pluginConfig.rules, for example {1}',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'No rule of the pluginConfig matches the caller.',
    remedy:
      'Operators: add a rule if the caller is a tenant; `tidb-mesh explain` says what the rules make of a caller.',
  },
  {
    // {1} the rule's place, {2} the tenant's name.
    code: 'UNKNOWN_TENANT',
    sentence:
      'rules[{1}] makes {0} the tenant "{2}", which pluginConfig.tenants does not list; add {"name": "{2}", "number": <a free number>} there',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'A rule captures a name that `tenants` does not list.',
    remedy: 'Operators: add the tenant, or make the rule narrower.',
  },
  {
    // {1} the rule's place.
    code: 'BEHALF_UNSAID',
    sentence:
      'rules[{1}] lets {0} act for tenants, and the call names none, or more than one; send one header x-tidb-mesh-on-behalf',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'A rule with `mayActFor` matches the caller, and its call does not say for which tenant it is.',
    remedy:
      'Operators: only the Envoys of another storage layer may have a principal that such a rule matches.',
  },
  {
    // {1} the rule's place, {2} the tenant's name.
    code: 'BEHALF_REFUSED',
    sentence:
      'rules[{1}] does not let {0} act for the tenant "{2}"; list it in mayActFor if that storage layer hands it over',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means:
      'The Envoy of another storage layer hands over a tenant that this one does not expect from there. Or the first rule that matches this Envoy makes it a system principal, whose calls would pass unread.',
    remedy:
      'Operators: list the tenant in `mayActFor` of a rule before all others, or take `servedBy` from it at the other layer.',
  },
  {
    // {1} the rule's place, {2} the fact.
    code: 'FACT_MISSING',
    sentence:
      'rules[{1}] asks {0} for {2}, which is not known; have the mesh send it, or take it out of the rule',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'A rule has a condition on `peer` or `node`, and Envoy knows nothing of that fact.',
    remedy: "Operators: check that the caller's sidecar exchanges metadata, or take the condition out.",
  },
  {
    // {1} the rule's place, {2} the fact, {3} what is expected, {4} what was found.
    code: 'IDENTITY_CONFLICT',
    sentence:
      'what is known of {0} disagrees: for {2} of rules[{1}] "{3}" is expected and "{4}" was found; correct the rule or the workload',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'The principal and the metadata of a caller, or two sources of its metadata, disagree.',
    remedy: 'Operators: it is a wrong rule, a wrong label, or a workload that claims to be another one.',
  },
  {
    code: 'PEER_UNREADABLE',
    sentence:
      '{0} sends an x-envoy-peer-metadata header that cannot be read, or several; send one as Istio does',
    grpc: 'PERMISSION_DENIED',
    http: 403,
    means: 'The header with the metadata of the caller is broken, or there several times.',
    remedy: 'Operators: it does not come from a sidecar; find out who sends it.',
  },
] as const satisfies readonly StatusRow[];

/** Of streams that end although nothing is wrong with what they carry. */
const ENDINGS = [
  {
    code: 'DRAINED',
    sentence: 'the configuration has changed what this caller may do; open the stream anew',
    grpc: 'UNAVAILABLE',
    http: 503,
    means: 'A new configuration makes the caller another tenant, or nobody, so its old streams end.',
    remedy:
      'Nobody: clients open their streams anew. `limits.drainTimeoutSeconds` says how long old streams go on.',
  },
] as const satisfies readonly StatusRow[];

/** In the order of the filter's numbers, from FIRST_STATUS on. */
export const STATUSES = [...MESSAGES, ...CALLS, ...CALLERS, ...ENDINGS] as const;

export type Code = (typeof STATUSES)[number]['code'];

/** The groups as docs/refusals.md has them. */
export const STATUS_GROUPS: readonly (readonly [string, readonly StatusRow[]])[] = [
  ['Messages and bodies', MESSAGES],
  ['Calls', CALLS],
  ['Callers', CALLERS],
  ['Streams that end', ENDINGS],
];

/** What else the filter says; each is Text.<name> there. */
export const SENTENCES = {
  /** {0} the code, {1} the sentence. */
  REFUSED: 'tidb-mesh[{0}]: {1}',
  /** {2} the field, {3} the message. */
  REFUSED_AT: 'tidb-mesh[{0}]: {1} (field {2} of {3})',
  /** {2} the path. */
  REFUSED_CALL: 'tidb-mesh[{0}]: {2}: {1}',
  ANSWER_REFUSED: 'tidb-mesh[{0}]: the answer of the storage layer: {1}',
  ANSWER_REFUSED_AT: 'tidb-mesh[{0}]: the answer of the storage layer: {1} (field {2} of {3})',
  /** For Envoy's access log. */
  DETAILS: 'tidb_mesh_refused[{0}]',
  /**
   * A line of Envoy's log. {0} the code, {1} the sentence, {2} REQUEST or ANSWER, {3} the method or endpoint, {4} the tenant; {5} the
   * field, {6} its message. RESET: the caller cannot read it any more.
   */
  LOG_REFUSED: 'tidb-mesh[{0}]: refused {2} of {3} for tenant {4}: {1}',
  LOG_RESET: 'tidb-mesh[{0}]: reset the stream of {3} for tenant {4}, for {2}: {1}',
  LOG_RESET_AT: 'tidb-mesh[{0}]: reset the stream of {3} for tenant {4}, for {2}: {1} (field {5} of {6})',
  LOG_ENDED: 'tidb-mesh[{0}]: ended the stream of {3} for tenant {4}: {1}',
  REQUEST: 'a request',
  ANSWER: 'an answer of the storage layer',
  UNKNOWN: 'an unknown method',
  /** In the place of a tenant. */
  SYSTEM: 'none (a system principal)',
  /** {0} the code, {1} how many, {2} seconds, {3} the tenant's number. */
  LOG_MORE: 'tidb-mesh[{0}]: {1} more refusals of this kind within {2} s, for the tenant with the number {3}',
  LOG_MORE_NOBODY:
    'tidb-mesh[{0}]: {1} more refusals of this kind within {2} s, for callers without a tenant',
  LOG_MORE_OTHERS: 'tidb-mesh: {0} more refusals of other kinds within {1} s',
  /**
   * Names of metrics with labels, in the form of Istio's, see docs/metrics.md. {0} the code.
   */
  METRIC: 'code=.={0};.;tidbmesh_refused',
  /** {0} the tenant. */
  METRIC_REQUESTS: 'tenant=.={0};.;kind=.={1};.;tidbmesh_tenant_requests_total',
  METRIC_TENANT_REFUSED: 'tenant=.={0};.;code=.={1};.;tidbmesh_tenant_refused_total',
  METRIC_ERRORS: 'tenant=.={0};.;class=.={1};.;tidbmesh_tenant_errors_total',
  METRIC_REQUEST_BYTES: 'tenant=.={0};.;tidbmesh_tenant_request_bytes_total',
  METRIC_RESPONSE_BYTES: 'tenant=.={0};.;tidbmesh_tenant_response_bytes_total',
  METRIC_REWRITES: 'tenant=.={0};.;tidbmesh_tenant_rewrites_total',
  METRIC_STREAMS: 'tenant=.={0};.;tidbmesh_tenant_streams_total',
  METRIC_STREAMS_ACTIVE: 'tenant=.={0};.;tidbmesh_tenant_streams_active',
  METRIC_HELD: 'tenant=.={0};.;tidbmesh_tenant_held_bytes',
  METRIC_WATCHES: 'tenant=.={0};.;tidbmesh_tenant_etcd_watches',
  /** {1} the name of a limit. */
  METRIC_HOLDINGS: 'tenant=.={0};.;limit=.={1};.;tidbmesh_tenant_holdings',
  METRIC_DELAYED_MS: 'tenant=.={0};.;tidbmesh_tenant_delayed_milliseconds_total',
  /** {1} the bound of the bucket in milliseconds. */
  METRIC_LATENCY_BUCKET: 'tenant=.={0};.;le=.={1};.;tidbmesh_tenant_request_milliseconds_bucket',
  METRIC_LATENCY_COUNT: 'tenant=.={0};.;tidbmesh_tenant_request_milliseconds_count',
  METRIC_LATENCY_SUM: 'tenant=.={0};.;tidbmesh_tenant_request_milliseconds_sum',
  METRIC_CONFIG_HASH: 'vm=.={0};.;tidbmesh_config_hash',
  METRIC_CONFIG_LOADED: 'vm=.={0};.;tidbmesh_config_loaded_timestamp_seconds',
  METRIC_OLDEST: 'tenant=.={0};.;tidbmesh_tenant_oldest_transaction_seconds',
  METRIC_DELAYED: 'tenant=.={0};.;limit=.={1};.;tidbmesh_tenant_delayed_total',
  /** Names of limits, by Rate. */
  LIMIT_REQUESTS: 'requestsPerSecond',
  LIMIT_BYTES: 'bytesPerSecond',
  LIMIT_PD_REQUESTS: 'pdRequestsPerSecond',
  /** By Holding. */
  LIMIT_ETCD_KEYS: 'etcdKeys',
  LIMIT_GROUPS: 'resourceGroups',
  LIMIT_ETCD_LEASES: 'etcdLeases',
  LIMIT_PD_RECORDS: 'pdRecords',
  /** Kinds of calls, by mesh.Kind. */
  KIND_READ: 'read',
  KIND_SCAN: 'scan',
  KIND_COPROCESSOR: 'coprocessor',
  KIND_WRITE: 'write',
  KIND_FINISH: 'finish',
  KIND_FIND: 'find',
  KIND_PD: 'pd',
  KIND_ETCD: 'etcd',
  KIND_OTHER: 'other',
  /** Classes of errors, by mesh.ErrorClass. */
  ERROR_REGION: 'region',
  ERROR_BUSY: 'busy',
  ERROR_LOCK: 'lock',
  ERROR_CONFLICT: 'conflict',
  ERROR_OTHER: 'other',
  /** Who calls: {0} the principal. */
  PRINCIPAL: 'principal {0}',
  NAMELESS: 'a caller without a principal',
  /** {0} the name of a fact. */
  PEER_FACT: 'peer.{0}',
  NODE_FACT: 'node.{0}',
  EXAMPLE_RULE: '{"principal": "{0}", "tenant": "<name>"}',
  NAMELESS_EXAMPLE_RULE:
    '{"node": {"workload": "<workload>"}, "tenant": "<name>"}, or connect with mutual TLS',
  /** {0} what is called, {1} how many others there were since the last line. */
  TRIED: 'tidb-mesh: dry run: would be refused: {0}',
  TRIED_MORE: 'tidb-mesh: dry run: would be refused: {0}; others since the last line: {1}',
} as const;
