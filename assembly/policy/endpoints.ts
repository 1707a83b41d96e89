/**
 * PD's HTTP API as far as a tenant may use it: a table, first match wins, everything else is refused. What may be read but is kept
 * from tenants (placement and label rules, which they cannot set) is answered as an unshared cluster without any would answer.
 */
import { Ascii, ascii, equals, startsWith } from '../wire/bytes';

export const enum EndpointKind {
  /** Nothing in it belongs to a tenant. */
  PASS,
  /** The query holds a range of keys. */
  QUERY,
  /** The same, and the answer holds regions. */
  QUERY_REGIONS,
  /** The answer holds regions. */
  REGIONS,
  /** Becomes /pd/api/v1/regions/key over the tenant's range. */
  ALL_REGIONS,
  /** Answered here with `body`. */
  ANSWER,
  /** The last segment of the path is a key, and the answer holds regions. */
  KEY_REGIONS,
  /** The body is one region label rule, or a patch of them. */
  RULE,
  PATCH_RULES,
}

export class Endpoint {
  methodBytes: Ascii;
  pathBytes: Ascii;
  bodyBytes: Ascii;
  startBytes: Ascii;
  endBytes: Ascii;

  /** A path that ends in '*' matches one more segment there. `start` and `end` name the parameters of a range; `hex` is how they hold it. */
  constructor(
    public kind: EndpointKind,
    method: string,
    path: string,
    body: string = '',
    start: string = '',
    end: string = '',
    public hex: bool = false,
  ) {
    this.methodBytes = ascii(method);
    this.pathBytes = ascii(path);
    this.bodyBytes = ascii(body);
    this.startBytes = ascii(start);
    this.endBytes = ascii(end);
  }
}

const V1: string = '/pd/api/v1';

/** What PD answers for a rule bundle that nobody set. */
function emptyBundle(group: string): string {
  return '{"group_id":"' + group + '","group_index":0,"group_override":false,"rules":null}';
}

/** What TiDB sets at its start; answered as set already, since the group is the whole cluster's. */
const TIFLASH_GROUP: string = '{"id":"tiflash","index":120,"override":false}';

export const ENDPOINTS: Endpoint[] = [
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/ping'),
  new Endpoint(EndpointKind.PASS, 'GET', '/pd/api/v2/ms/members/*'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/version'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/status'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/health'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/members'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/leader'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/stores'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/store/*'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/cluster'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/cluster/status'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/min-resolved-ts'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/min-resolved-ts/*'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/config'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/config/replicate'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/config/schedule'),
  new Endpoint(EndpointKind.PASS, 'GET', V1 + '/config/cluster-version'),
  new Endpoint(EndpointKind.QUERY, 'GET', V1 + '/stats/region', '', 'start_key', 'end_key'),
  new Endpoint(EndpointKind.QUERY, 'GET', V1 + '/regions/replicated', '', 'startKey', 'endKey', true),
  new Endpoint(EndpointKind.QUERY_REGIONS, 'GET', V1 + '/regions/key', '', 'key', 'end_key'),
  new Endpoint(EndpointKind.REGIONS, 'GET', V1 + '/region/id/*'),
  new Endpoint(EndpointKind.KEY_REGIONS, 'GET', V1 + '/region/key/*'),
  new Endpoint(EndpointKind.ALL_REGIONS, 'GET', V1 + '/regions'),
  new Endpoint(EndpointKind.ANSWER, 'GET', V1 + '/config/region-label/rules', '[]'),
  new Endpoint(EndpointKind.ANSWER, 'GET', V1 + '/config/region-label/rules/ids', '[]'),
  new Endpoint(EndpointKind.RULE, 'POST', V1 + '/config/region-label/rule'),
  new Endpoint(EndpointKind.PATCH_RULES, 'PATCH', V1 + '/config/region-label/rules'),
  new Endpoint(EndpointKind.ANSWER, 'GET', V1 + '/config/placement-rule', '[]'),
  new Endpoint(
    EndpointKind.ANSWER,
    'GET',
    V1 + '/config/placement-rule/TiDB_GLOBAL',
    emptyBundle('TiDB_GLOBAL'),
  ),
  new Endpoint(EndpointKind.ANSWER, 'GET', V1 + '/config/placement-rule/TiDB_META', emptyBundle('TiDB_META')),
  new Endpoint(EndpointKind.ANSWER, 'GET', V1 + '/config/rule_group/tiflash', TIFLASH_GROUP),
  new Endpoint(EndpointKind.ANSWER, 'GET', V1 + '/config/rules', '[]'),
  new Endpoint(EndpointKind.ANSWER, 'GET', V1 + '/config/rules/group/*', '[]'),
  new Endpoint(EndpointKind.ANSWER, 'GET', V1 + '/config/rule_groups', '[]'),
];

function matchesPath(p: usize, length: usize, pattern: Ascii): bool {
  const size = <usize>pattern.length;
  const at = changetype<usize>(pattern);
  if (size == 0 || load<u8>(at + size - 1) != 0x2a) return equals(p, length, pattern);
  if (length < size || memory.compare(p, at, size - 1) != 0) return false;
  for (let i = size - 1; i < length; i++) if (load<u8>(p + i) == 0x2f) return false;
  return true;
}

/** Index of the endpoint for a method and a path without query; -1 when a tenant may not use it. */
export function findEndpoint(method: usize, methodLength: usize, path: usize, pathLength: usize): i32 {
  for (let i = 0; i < ENDPOINTS.length; i++) {
    const endpoint = ENDPOINTS[i];
    if (!equals(method, methodLength, endpoint.methodBytes)) continue;
    if (matchesPath(path, pathLength, endpoint.pathBytes)) return i;
  }
  return -1;
}
