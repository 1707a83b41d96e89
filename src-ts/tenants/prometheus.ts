/** What the filter has counted of each tenant over a time, as Prometheus has kept it. */
import { CommandError } from '../errors.ts';
import type { Listed } from './list.ts';
import { MESH_COUNTERS, type MeshCounters } from './mesh-status.ts';
import type { TenantUsage } from './usage.ts';

const TIMEOUT_MS = 60_000;

const METRICS = {
  requests: 'tidbmesh_tenant_requests_total',
  requestBytes: 'tidbmesh_tenant_request_bytes_total',
  responseBytes: 'tidbmesh_tenant_response_bytes_total',
  refused: 'tidbmesh_tenant_refused_total',
} as const satisfies Record<keyof MeshCounters, string>;

/** PD's estimates of now. */
type Stored = Pick<TenantUsage, 'number' | 'storedMiB' | 'storedKeys' | 'regions'>;

/** With `Stored` where PD was asked and has the tenant. */
export interface MeteredTenant extends Partial<Stored> {
  readonly name: string;
  readonly mesh: MeshCounters;
}

export interface MeteredUsage {
  /** ISO 8601. */
  readonly since: string;
  readonly at: string;
  readonly tenants: readonly MeteredTenant[];
}

interface Answer {
  readonly status?: 'success' | 'error';
  readonly error?: string;
  readonly data?: { readonly result: readonly { metric: { tenant?: string }; value: [number, string] }[] };
}

async function ask(prometheus: URL, query: string, at: Date): Promise<Map<string, number>> {
  const url = new URL('api/v1/query', prometheus.href.endsWith('/') ? prometheus : `${prometheus.href}/`);
  url.search = new URLSearchParams({ query, time: String(at.getTime() / 1000) }).toString();
  let answer: Answer;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    answer = (await response.json()) as Answer;
  } catch (error) {
    const { cause, message } = error as Error;
    const why = cause instanceof Error && cause.message !== '' ? cause.message : message;
    throw new CommandError(
      'UNREACHABLE',
      `${prometheus.href}: no answer of Prometheus: ${why}`,
      'give the address at which its /api/v1/query answers',
      { cause: error },
    );
  }
  if (!answer.data)
    throw new CommandError(
      'PD_ERROR',
      `${prometheus.href}: Prometheus answers: ${answer.error ?? 'no result'}`,
      "see Prometheus' log",
    );
  return new Map(
    answer.data.result.map(({ metric, value }) => [metric.tenant ?? '', Math.round(Number(value[1]))]),
  );
}

/** Asks Prometheus by what the counters of each tenant have grown in the `seconds` before `at`, over all Envoys and their restarts. */
export async function growthOver(
  prometheus: URL,
  at: Date,
  seconds: number,
): Promise<Map<string, MeshCounters>> {
  const asked = MESH_COUNTERS.map((name) =>
    ask(prometheus, `sum by (tenant) (increase(${METRICS[name]}[${seconds}s]))`, at),
  );
  const grown = await Promise.all(asked);
  const names = new Set(grown.flatMap((by) => [...by.keys()]));
  const counters = (tenant: string): MeshCounters =>
    Object.fromEntries(
      MESH_COUNTERS.map((name, i) => [name, grown[i]?.get(tenant) ?? 0]),
    ) as unknown as MeshCounters;
  return new Map([...names].sort().map((tenant) => [tenant, counters(tenant)]));
}

const NOTHING: MeshCounters = { requests: 0, requestBytes: 0, responseBytes: 0, refused: 0 };

/** Joins what was counted and what is stored. A tenant of either has its row: a removed one was served, a silent one stores. */
export function metered(
  listed: readonly Listed[],
  counted: ReadonlyMap<string, MeshCounters>,
): MeteredTenant[] {
  const known = new Set(listed.map(({ name }) => name));
  return [
    ...listed.map(({ name, number, approximateMiB, approximateKeys, regions }) => ({
      name,
      number: number ?? null,
      storedMiB: approximateMiB,
      storedKeys: approximateKeys,
      regions,
      mesh: counted.get(name) ?? NOTHING,
    })),
    ...[...counted].filter(([name]) => !known.has(name)).map(([name, mesh]) => ({ name, mesh })),
  ];
}
