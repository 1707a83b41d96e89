/** What the filter has counted of each tenant: the sums over the Envoys that are asked (docs/status.md). */
import { CommandError } from '../errors.ts';
import type { At, Endpoint } from '../pd/endpoint.ts';
import type { State } from './tenant.ts';

const PATH = '/tidb-mesh/status';

/** Sums since the Envoys started. */
export const MESH_COUNTERS = ['requests', 'requestBytes', 'responseBytes', 'refused'] as const;
export type MeshCounters = Readonly<Record<(typeof MESH_COUNTERS)[number], number>>;

/** Sums that are not billed: requests over a rate, and milliseconds in which there were some. */
export const DELAYS = ['delayed', 'delayedMs'] as const;
type Delays = Readonly<Record<(typeof DELAYS)[number], number>>;

/** Classes of the store's errors, see docs/metrics.md. */
export const ERROR_CLASSES = ['region', 'busy', 'lock', 'conflict', 'other'] as const;
export type Errors = Readonly<Record<(typeof ERROR_CLASSES)[number], number>>;

export interface MeshUsage extends MeshCounters, Delays {
  /** What the stores answered, by class: sums, too. */
  readonly errors: Errors;
  /** As the Envoys have it; more than one while a configuration is on its way. */
  readonly state: string;
  readonly openStreams: number;
  readonly heldBytes: number;
}

/** What a VM says of a tenant that is being moved (docs/status.md). */
export interface Acknowledgement {
  readonly tenant: string;
  readonly serial: number;
  readonly phase: string;
  /** The highest serial that it has obeyed, when what it was told is outdated by it. An earlier filter does not say it. */
  readonly latestSerial?: number;
  /** It has stopped to hold requests because `until` was over. */
  readonly lifted: boolean;
  readonly writesOutstanding: number;
  readonly finishesOutstanding: number;
  /** Of what a move refuses. */
  readonly bulkOutstanding: number;
  readonly outstanding: number;
  /** Number of requests that were held so far. */
  readonly held: number;
}

/** What a VM tells of itself. */
interface VmStatus {
  readonly id: number;
  /** True when it has told nothing for a while: it has ended, or hangs. */
  readonly stale: boolean;
  /** Another version of the filter has told it. Nothing more of it can be read. */
  readonly otherVersion?: true;
  /** The configurations in force, one for each name of the plugin, with the states of tenants that are not active. */
  readonly configs: readonly { readonly states: Readonly<Record<string, State>> }[];
  readonly moves?: readonly Acknowledgement[];
}

export interface EnvoyStatus {
  /** Tells this process of Envoy from others. An earlier filter does not. */
  readonly envoy?: string;
  readonly vms: readonly VmStatus[];
  readonly tenants: Readonly<Record<string, TenantStatus>>;
}

/** An earlier filter tells no delays. */
interface TenantStatus extends Partial<Delays> {
  readonly state: string;
  readonly requests: Readonly<Record<string, number>>;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly errors: Errors;
  readonly refused: number;
  readonly openStreams: number;
  readonly heldBytes: number;
  readonly etcdWatches?: number;
}

/** Watches of PD's etcd that are open at these Envoys now, by tenant. */
export async function watchesAt(envoys: readonly Endpoint[]): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const { tenants } of await Promise.all(envoys.map((envoy) => statusOf(envoy))))
    for (const [name, { etcdWatches = 0 }] of Object.entries(tenants))
      found.set(name, (found.get(name) ?? 0) + etcdWatches);
  return found;
}

/** @throws CommandError when no filter answers there */
export async function statusOf(envoy: Endpoint, at?: At): Promise<EnvoyStatus> {
  const answer = (await envoy.http('GET', PATH, { missing: true, at })) as Partial<EnvoyStatus> | undefined;
  if (answer?.vms && answer.tenants) return answer as EnvoyStatus;
  throw new CommandError(
    'REFUSED',
    `${envoy.url.host}: no filter answers ${PATH}`,
    'give addresses of PD and TiKV at which the filter runs',
  );
}

function usageOf({ requests, ...status }: TenantStatus): MeshUsage {
  const { delayed = 0, delayedMs = 0 } = status;
  return {
    ...status,
    delayed,
    delayedMs,
    requests: Object.values(requests).reduce((sum, count) => sum + count, 0),
  };
}

/** Errors of one value for each class. */
export function errorsOf(value: (name: keyof Errors) => number): Errors {
  return Object.fromEntries(ERROR_CLASSES.map((name) => [name, value(name)])) as unknown as Errors;
}

function add(a: MeshUsage, b: MeshUsage): MeshUsage {
  const states = new Set([...a.state.split(', '), b.state]);
  return {
    state: [...states].join(', '),
    requests: a.requests + b.requests,
    requestBytes: a.requestBytes + b.requestBytes,
    responseBytes: a.responseBytes + b.responseBytes,
    refused: a.refused + b.refused,
    errors: errorsOf((name) => a.errors[name] + b.errors[name]),
    openStreams: a.openStreams + b.openStreams,
    heldBytes: a.heldBytes + b.heldBytes,
    delayed: a.delayed + b.delayed,
    delayedMs: a.delayedMs + b.delayedMs,
  };
}

/** Asks each Envoy. Gives the sums by tenant. */
export async function meshUsage(envoys: readonly Endpoint[]): Promise<Map<string, MeshUsage>> {
  const found = new Map<string, MeshUsage>();
  for (const { tenants } of await Promise.all(envoys.map((envoy) => statusOf(envoy))))
    for (const [name, status] of Object.entries(tenants)) {
      const usage = usageOf(status);
      const known = found.get(name);
      found.set(name, known ? add(known, usage) : usage);
    }
  return found;
}

/** How many VMs of these Envoys there are, and where the tenant is in another state: `host:port, VM id: state`. */
export async function statesIn(
  envoys: readonly Endpoint[],
  tenant: string,
  state: State,
): Promise<{ vms: number; others: string[] }> {
  const found = await Promise.all(
    envoys.map(async (envoy) => {
      const alive = (await statusOf(envoy)).vms.filter(({ stale }) => !stale);
      return alive.map(({ id, configs, otherVersion }) => {
        if (otherVersion) return [`${envoy.url.host}, VM ${id}: another version of the filter`];
        const others = configs
          .map(({ states }) => states[tenant] ?? 'active')
          .filter((inForce) => inForce !== state);
        return others.length === 0 ? [] : [`${envoy.url.host}, VM ${id}: ${others.join(', ')}`];
      });
    }),
  );
  const vms = found.flat();
  return { vms: vms.length, others: vms.flat() };
}
