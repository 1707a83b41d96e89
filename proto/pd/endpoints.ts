/**
 * PD's HTTP API: what a tenant may ask, what its query, its body and its answer hold, and why the rest is refused. The first entry that
 * matches decides; what no entry matches is refused. `npm run schema` makes the filter's table from it; a test holds it against the
 * routes and the JSON of PD itself (server/api/router.go, server/apiv2/handlers, pkg/schedule/placement, pkg/schedule/labeler).
 */

/** What a JSON value means. In requests only what is said here passes; in answers what is not said passes when it holds no keys. */
export type Shape =
  | 'text' //           a string, as it is
  | 'whole' //          0 to 999999999
  | 'id' //             0 to 2^64-1
  | 'time' //           milliseconds since 1970, of 13 digits at most
  | 'flag' //           true or false
  | 'lower' //          hex of a range's start in PD's memcomparable form; '' is the tenant's first key
  | 'upper' //          hex of a range's end; '' is the tenant's end
  | 'hot-type' //       read or write in any case, each once in a body
  | 'label-id' //       id of a region label rule: behind tidb-mesh:<tenant>:
  | 'deleted-id' //     the same; one that no tenant can have set stands for nobody's
  | 'label-key' //      any but those that begin with tidb-mesh
  | 'rule-type' //      key-range
  | 'group' //          group of placement rules: behind tidb-mesh:<tenant>:
  | 'group-index' //    0 to 120: an operator's rules with a higher one stay above those of all tenants
  | 'group-override' // true or false
  | 'replicas' //       0 to 9
  | 'store-label' //    key in a constraint; not one that sets stores apart ($..., exclusive), engine only to avoid TiFlash
  | 'constraint-op' //  of the constraint it is in
  | 'constraint-value'
  | 'any' //            answers: what has start_key and end_key is a region, clamped or left out; `count` follows the `regions` beside it
  | { readonly list: Shape; readonly orNull?: boolean; readonly most?: number }
  | {
      readonly object: Readonly<Record<string, Shape>>;
      readonly needs?: readonly string[];
      /**
       * PD keeps each of them: it counts against `limits.pdRecords`. What has a `group-index` counts by itself, as one where PD keeps the group
       * (RuleGroup.isDefault in pkg/schedule/placement/rule.go).
       */
      readonly isRecord?: true;
    };

/** The two parameters of a range of keys; the others stay as they are. */
export interface RangeQuery {
  readonly start: string;
  readonly end: string;
  /** As hex, or as hex where the query says `format=hex`; else as escaped bytes. */
  readonly hex?: true | 'format';
}

/**
 * Segments of a path: `*` one as it is, `{group}`, `{label-id}` and `{key}` (the last one of its path, with escapes) mapped, `**` whatever is left.
 * A query stays as it is where nothing is said: `none` refuses one, `dropped` leaves it out, `partial` must be `partial=true`. With `format`
 * it may say that the key in the path is hex, `format=hex`, and is left out.
 */
export interface Endpoint {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE' | 'PUT' | '*';
  readonly path: string;
  /** pass: nothing in it is a tenant's. map: as said. answer: by the filter itself, with `text`. regions: as `regions/key` over the tenant's range. */
  readonly decision: 'pass' | 'map' | 'answer' | 'regions' | 'refuse';
  readonly query?: 'none' | 'dropped' | 'partial' | 'format' | RangeQuery;
  readonly body?: Shape;
  /** Of a success; absent: a text that may not quote keys, like that of every error. */
  readonly answer?: Shape;
  readonly text?: string;
  readonly because?: string;
}

const RANGE: Shape = { object: { start_key: 'lower', end_key: 'upper' }, needs: ['start_key', 'end_key'] };

/**
 * Maximum of ranges in a rule: PD splits regions at both ends of each. TiDB names each partition of a table, of which there are 8192 at most,
 * and the table.
 */
const MOST_RANGES = 8193;

/** labeler.LabelRule */
export const LABEL_RULE: Shape = {
  object: {
    id: 'label-id',
    index: 'whole',
    labels: {
      list: {
        object: { key: 'label-key', value: 'text', ttl: 'text', start_at: 'text' },
        needs: ['key', 'value'],
      },
    },
    rule_type: 'rule-type',
    data: { list: RANGE, most: MOST_RANGES },
  },
  needs: ['id', 'labels', 'rule_type', 'data'],
  isRecord: true,
};

/** labeler.LabelRulePatch */
export const LABEL_PATCH: Shape = {
  object: {
    sets: { list: LABEL_RULE, orNull: true },
    deletes: { list: 'deleted-id', orNull: true },
  },
};

/**
 * Maxima of labels, constraints and their values in a placement rule. PD compares the labels of each two of a region's stores, and walks the
 * constraints for each peer, whenever it checks a region (pkg/schedule/placement/fit.go). Stores mostly have four labels.
 */
const MOST_LABELS = 10;
const MOST_CONSTRAINTS = 64;

const RULE_MEMBERS: Readonly<Record<string, Shape>> = {
  group_id: 'group',
  id: 'text',
  index: 'whole',
  override: 'flag',
  start_key: 'lower',
  end_key: 'upper',
  role: 'text',
  is_witness: 'flag',
  count: 'replicas',
  label_constraints: {
    list: {
      object: {
        key: 'store-label',
        op: 'constraint-op',
        values: { list: 'constraint-value', orNull: true, most: MOST_CONSTRAINTS },
      },
      needs: ['key', 'op'],
    },
    orNull: true,
    most: MOST_CONSTRAINTS,
  },
  location_labels: { list: 'text', orNull: true, most: MOST_LABELS },
  isolation_level: 'text',
};
/** PD reads an absent bound as the end of the whole cluster. */
const RULE_NEEDS = ['group_id', 'id', 'start_key', 'end_key'];

/** placement.Rule */
export const PLACEMENT_RULE: Shape = { object: RULE_MEMBERS, needs: RULE_NEEDS, isRecord: true };

/** placement.RuleOp */
export const RULE_OPERATION: Shape = {
  object: { ...RULE_MEMBERS, action: 'text', delete_by_id_prefix: 'flag' },
  needs: [...RULE_NEEDS, 'action'],
  isRecord: true,
};

/** placement.RuleGroup */
export const RULE_GROUP: Shape = {
  object: { id: 'group', index: 'group-index', override: 'group-override' },
  needs: ['id'],
};

/** placement.GroupBundle */
export const BUNDLE: Shape = {
  object: {
    group_id: 'group',
    group_index: 'group-index',
    group_override: 'group-override',
    rules: { list: PLACEMENT_RULE, orNull: true },
  },
  needs: ['group_id'],
};

/** Maximum of ids in a list: PD makes a map of them. */
const MOST_IDS = 10_000;
const IDS: Shape = { list: 'id', most: MOST_IDS };
const FLAGS: Shape = { list: 'flag', most: 2 };

/** server.HistoryHotRegionsRequest. PD opens an iterator of its store for each type, also for one that is there twice. */
export const HOT_HISTORY: Shape = {
  object: {
    start_time: 'time',
    end_time: 'time',
    region_ids: IDS,
    store_ids: IDS,
    peer_ids: IDS,
    is_learners: FLAGS,
    is_leaders: FLAGS,
    hot_region_type: { list: 'hot-type', most: 2 },
  },
};

const CLUSTER = 'it changes or shows what all tenants share; ask whoever runs the storage layer';
const BY_ID = 'it names regions by id only, and whose they are is not known; ask by keys';
const TOP = 'PD would choose among the regions of all tenants; ask for /pd/api/v1/regions/key';
const SPLIT = 'TiDB splits regions at the store';
const SAFE_POINTS = 'safe points are kept through gRPC';
const KEYSPACES = 'keyspaces are given out in the pluginConfig';
const RESET = 'it would replace the rules of all tenants; send ?partial=true';
const UNUSED = 'TiDB does not ask for it';
const FLASHBACK =
  'FLASHBACK CLUSTER needs it, and is not served: garbage collection and merging of regions cannot be halted for one tenant alone; use FLASHBACK TABLE or FLASHBACK DATABASE, or read AS OF TIMESTAMP';

const V1 = '/pd/api/v1';
const V2 = '/pd/api/v2';

const pass = (path: string): Endpoint => ({ method: 'GET', path, decision: 'pass' });
const refuse = (path: string, because: string, method: Endpoint['method'] = '*'): Endpoint => ({
  method,
  path,
  decision: 'refuse',
  because,
});
const map = (
  method: Endpoint['method'],
  path: string,
  more: Omit<Endpoint, 'method' | 'path' | 'decision'> = {},
): Endpoint => ({ method, path, decision: 'map', ...more });
const REGIONS_BY_KEY: RangeQuery = { start: 'key', end: 'end_key', hex: 'format' };

export const ENDPOINTS: readonly Endpoint[] = [
  pass(`${V1}/ping`),
  pass(`${V2}/ms/members/*`),
  pass(`${V1}/version`),
  pass(`${V1}/status`),
  pass(`${V1}/health`),
  pass(`${V1}/members`),
  pass(`${V1}/leader`),
  pass(`${V1}/stores`),
  pass(`${V1}/store/*`),
  pass(`${V1}/cluster`),
  pass(`${V1}/cluster/status`),
  pass(`${V1}/min-resolved-ts`),
  pass(`${V1}/min-resolved-ts/*`),
  pass(`${V1}/config`),
  pass(`${V1}/config/replicate`),
  pass(`${V1}/config/cluster-version`),

  map('GET', `${V1}/stats/region`, { query: { start: 'start_key', end: 'end_key' }, answer: 'any' }),
  map('GET', `${V1}/regions/replicated`, { query: { start: 'startKey', end: 'endKey', hex: true } }),
  map('GET', `${V1}/regions/key`, { query: REGIONS_BY_KEY, answer: 'any' }),
  { method: 'GET', path: `${V1}/regions`, decision: 'regions', query: REGIONS_BY_KEY, answer: 'any' },
  map('GET', `${V1}/region/id/*`, { answer: 'any' }),
  map('GET', `${V1}/region/key/{key}`, { query: 'format', answer: 'any' }),
  map('GET', `${V1}/regions/store/*`, { answer: 'any' }),
  map('GET', `${V1}/regions/sibling/*`, { answer: 'any' }),
  refuse(`${V1}/regions/check/hist-size`, TOP),
  refuse(`${V1}/regions/check/hist-keys`, TOP),
  map('GET', `${V1}/regions/check/*`, { answer: 'any' }),
  map('GET', `${V1}/hotspot/regions/history`, { body: HOT_HISTORY, answer: 'any' }),
  map('POST', `${V1}/regions/accelerate-schedule`, { body: RANGE }),
  map('POST', `${V1}/regions/accelerate-schedule/batch`, { body: { list: RANGE, most: MOST_RANGES } }),
  map('POST', `${V1}/regions/scatter`, {
    body: {
      object: { start_key: 'lower', end_key: 'upper', group: 'group', retry_limit: 'whole' },
      needs: ['start_key', 'end_key'],
    },
  }),

  map('GET', `${V1}/config/region-label/rules`, { answer: { list: LABEL_RULE } }),
  map('PATCH', `${V1}/config/region-label/rules`, { body: LABEL_PATCH }),
  map('GET', `${V1}/config/region-label/rules/ids`, {
    body: { list: 'deleted-id', orNull: true },
    answer: { list: LABEL_RULE },
  }),
  map('POST', `${V1}/config/region-label/rule`, { body: LABEL_RULE }),
  map('GET', `${V1}/config/region-label/rule/{label-id}`, { query: 'dropped', answer: LABEL_RULE }),
  map('DELETE', `${V1}/config/region-label/rule/{label-id}`, { query: 'dropped' }),

  map('GET', `${V1}/config/placement-rule`, { answer: { list: BUNDLE } }),
  map('POST', `${V1}/config/placement-rule`, { query: 'partial', body: { list: BUNDLE }, because: RESET }),
  map('GET', `${V1}/config/placement-rule/{group}`, { answer: BUNDLE }),
  map('POST', `${V1}/config/placement-rule/{group}`, { body: BUNDLE }),
  // With ?regexp PD takes the group as an expression.
  map('DELETE', `${V1}/config/placement-rule/{group}`, { query: 'none' }),
  map('GET', `${V1}/config/rules`, { answer: { list: PLACEMENT_RULE } }),
  refuse(`${V1}/config/rules`, RESET, 'POST'),
  map('POST', `${V1}/config/rules/batch`, { body: { list: RULE_OPERATION } }),
  map('GET', `${V1}/config/rules/group/{group}`, { answer: { list: PLACEMENT_RULE } }),
  refuse(`${V1}/config/rules/region/**`, BY_ID),
  refuse(`${V1}/config/rules/key/*`, UNUSED),
  map('POST', `${V1}/config/rule`, { body: PLACEMENT_RULE }),
  map('GET', `${V1}/config/rule/{group}/*`, { answer: PLACEMENT_RULE }),
  // What TiDB deletes when a table shall have no TiFlash replica: no tenant has one.
  {
    method: 'DELETE',
    path: `${V1}/config/rule/tiflash/*`,
    decision: 'answer',
    text: '"tidb-mesh: no tenant has TiFlash replicas"',
  },
  map('DELETE', `${V1}/config/rule/{group}/*`),
  map('GET', `${V1}/config/rule_groups`, { answer: { list: RULE_GROUP } }),
  map('POST', `${V1}/config/rule_group`, { body: RULE_GROUP }),
  // What TiDB sets at its start; answered as set already, since no tenant may have TiFlash replicas.
  {
    method: 'GET',
    path: `${V1}/config/rule_group/tiflash`,
    decision: 'answer',
    text: '{"id":"tiflash","index":120,"override":false}',
  },
  map('GET', `${V1}/config/rule_group/{group}`, { answer: RULE_GROUP }),
  map('DELETE', `${V1}/config/rule_group/{group}`),

  refuse(`${V1}/hotspot/**`, BY_ID),
  refuse(`${V1}/region/id/**`, BY_ID),
  refuse(`${V1}/regions/split`, SPLIT),
  refuse(`${V1}/regions/**`, TOP),
  refuse(`${V1}/operators/**`, CLUSTER),
  refuse(`${V1}/operators`, CLUSTER),
  refuse(`${V1}/checker/*`, CLUSTER),
  refuse(`${V1}/schedulers`, CLUSTER),
  refuse(`${V1}/schedulers/**`, CLUSTER),
  refuse(`${V1}/scheduler-config`, CLUSTER),
  refuse(`${V1}/scheduler-config/**`, CLUSTER),
  // The first that a flashback of the cluster asks for: refused later, its DDL job could neither go on nor be cancelled.
  refuse(`${V1}/config/schedule`, FLASHBACK),
  refuse(`${V1}/config`, CLUSTER),
  refuse(`${V1}/config/**`, CLUSTER),
  refuse(`${V1}/store/**`, CLUSTER),
  refuse(`${V1}/stores/**`, CLUSTER),
  refuse(`${V1}/labels`, UNUSED),
  refuse(`${V1}/labels/**`, UNUSED),
  refuse(`${V1}/members/**`, CLUSTER),
  refuse(`${V1}/leader/**`, CLUSTER),
  refuse(`${V1}/trend`, CLUSTER),
  refuse(`${V1}/admin/**`, CLUSTER),
  refuse(`${V1}/service-middleware/**`, CLUSTER),
  refuse(`${V1}/replication_mode/status`, UNUSED),
  refuse(`${V1}/plugin`, CLUSTER),
  refuse(`${V1}/metric/**`, CLUSTER),
  refuse(`${V1}/debug/**`, CLUSTER),
  refuse(`${V1}/gc/**`, SAFE_POINTS),
  refuse(`${V1}/tso/**`, CLUSTER),
  refuse(`${V1}/fail/**`, CLUSTER),
  refuse(`${V1}/cluster/status`, UNUSED),
  refuse(`${V2}/keyspaces`, KEYSPACES),
  refuse(`${V2}/keyspaces/**`, KEYSPACES),
  refuse(`${V2}/tso/**`, CLUSTER),
  refuse(`${V2}/ms/primary/*`, UNUSED),
  refuse('/pd/health', UNUSED),
  refuse('/pd/ping', UNUSED),
];
