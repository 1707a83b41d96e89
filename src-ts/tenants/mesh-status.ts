/** What the filter has counted of each tenant: the sums over the Envoys that are asked (docs/status.md). */
import { CommandError } from '../errors.ts';
import type { Endpoint } from '../pd/endpoint.ts';

const PATH = '/tidb-mesh/status';

/** Sums since the Envoys started. */
export const MESH_COUNTERS = ['requests', 'requestBytes', 'responseBytes', 'refused'] as const;
export type MeshCounters = Readonly<Record<(typeof MESH_COUNTERS)[number], number>>;

export interface MeshUsage extends MeshCounters {
  /** As the Envoys have it; more than one while a configuration is on its way. */
  readonly state: string;
  readonly openStreams: number;
  readonly heldBytes: number;
}

interface TenantStatus {
  readonly state: string;
  readonly requests: Readonly<Record<string, number>>;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly refused: number;
  readonly openStreams: number;
  readonly heldBytes: number;
}

async function statusOf(envoy: Endpoint): Promise<Readonly<Record<string, TenantStatus>>> {
  const answer = (await envoy.http('GET', PATH, { missing: true })) as
    { readonly tenants?: Readonly<Record<string, TenantStatus>> } | undefined;
  if (answer?.tenants) return answer.tenants;
  throw new CommandError(
    'REFUSED',
    `${envoy.url.host}: no filter answers ${PATH}`,
    'give an address of PD or TiKV at which the filter runs',
  );
}

function usageOf({ requests, ...status }: TenantStatus): MeshUsage {
  return { ...status, requests: Object.values(requests).reduce((sum, count) => sum + count, 0) };
}

function add(a: MeshUsage, b: MeshUsage): MeshUsage {
  const states = new Set([...a.state.split(', '), b.state]);
  return {
    state: [...states].join(', '),
    requests: a.requests + b.requests,
    requestBytes: a.requestBytes + b.requestBytes,
    responseBytes: a.responseBytes + b.responseBytes,
    refused: a.refused + b.refused,
    openStreams: a.openStreams + b.openStreams,
    heldBytes: a.heldBytes + b.heldBytes,
  };
}

/** Asks each Envoy. Gives the sums by tenant. */
export async function meshUsage(envoys: readonly Endpoint[]): Promise<Map<string, MeshUsage>> {
  const found = new Map<string, MeshUsage>();
  for (const tenants of await Promise.all(envoys.map(statusOf)))
    for (const [name, status] of Object.entries(tenants)) {
      const usage = usageOf(status);
      const known = found.get(name);
      found.set(name, known ? add(known, usage) : usage);
    }
  return found;
}
