/** Asks about each half-way move what `diagnosis.ts` judges: both sides, the filters, and the configuration. */
import { CommandError } from '../errors.ts';
import { stores } from '../pd/cluster.ts';
import { Endpoint, type EndpointOptions } from '../pd/endpoint.ts';
import { clusterNamed, type Clusters } from './clusters.ts';
import {
  clusterOf,
  diagnose,
  isBehind,
  withoutRecord,
  type Away,
  type Commands,
  type Diagnosis,
  type Facts,
  type Told,
} from './diagnosis.ts';
import { tidbsOf } from './engine-of.ts';
import { lookAt } from './look.ts';
import { moves, type MoveRecord } from './record.ts';

export interface DoctorOptions {
  /** How PD and the stores of the mesh are reached. */
  readonly endpoint: EndpointOptions;
  readonly clusters: Clusters;
  /** Where the filters are asked; none: they are not. */
  readonly envoys: readonly Endpoint[];
  /** What the configuration says of the tenants that are being moved; undefined when it is not known. */
  readonly told?: readonly Told[];
  /** Only this tenant. */
  readonly only?: string;
  readonly commands: Commands;
}

/** Every move and import that is half-way, by the tenant's name. @throws CommandError when PD does not answer, and no configuration is known */
export async function examineMoves(pd: Endpoint, options: DoctorOptions): Promise<Diagnosis[]> {
  const { told = [], only, commands } = options;
  const isMeant = ({ tenant }: { readonly tenant: string }): boolean => only === undefined || tenant === only;
  let records: MoveRecord[];
  try {
    records = (await moves(pd)).map(({ record }) => record);
  } catch (error) {
    const meant = told.filter(isMeant);
    if (!(error instanceof CommandError) || error.code !== 'UNREACHABLE' || meant.length === 0) throw error;
    return meant.map((one) => withoutRecord(one, error.message));
  }
  const here = await sideOf(pd);
  const aways = awaysOf(options.clusters);
  const known = records.filter(isMeant).map(async (record) => {
    const cluster = clusterOf(record);
    const there = cluster === undefined ? undefined : await aways(cluster);
    return diagnose(record, await factsOf(record, here, there, options), commands);
  });
  const lost = told
    .filter(isMeant)
    .filter(({ tenant }) => !records.some((record) => record.tenant === tenant))
    .map((one) => withoutRecord(one));
  return [...(await Promise.all(known)), ...lost].sort((a, b) => (a.tenant < b.tenant ? -1 : 1));
}

/** What is found at a PD. */
interface Found {
  /** Stores that are not up, in words. */
  readonly down: readonly string[];
  /** Why it cannot be asked. */
  readonly gone?: string;
  readonly tidbs: readonly string[];
}

async function sideOf(pd: Endpoint, name = ''): Promise<Found> {
  try {
    const [all, tidbs] = await Promise.all([stores(pd), name === '' ? [] : tidbsOf(pd)]);
    const down = all
      .filter(({ state }) => state !== 'Up' && state !== 'Tombstone')
      .map(({ id, address, state }) => `store ${id} (${address})${name} is ${state}`);
    return { down, tidbs };
  } catch (error) {
    return { down: [], tidbs: [], gone: error instanceof Error ? error.message : String(error) };
  }
}

/** Asks each cluster once, however many moves name it. */
function awaysOf(clusters: Clusters): (name: string) => Promise<Found> {
  const asked = new Map<string, Promise<Found>>();
  const ask = async (name: string): Promise<Found> => {
    try {
      const pd = new Endpoint(clusterNamed(clusters, name));
      return await sideOf(pd, ` of cluster ${name}`).finally(() => pd.close());
    } catch (error) {
      const { message, hint } = error as CommandError;
      return { down: [], tidbs: [], gone: `${message}; ${hint}` };
    }
  };
  return (name) => {
    const known = asked.get(name) ?? ask(name);
    asked.set(name, known);
    return known;
  };
}

async function factsOf(
  record: MoveRecord,
  here: Found,
  there: Found | undefined,
  { endpoint, clusters, envoys, told = [] }: DoctorOptions,
): Promise<Facts> {
  const locks = isBehind(record) && there?.gone === undefined;
  const look = await lookAt(record, { endpoint, clusters, envoys, locks });
  const { acknowledged, oldestLock, failures } = look;
  const order = told.find(({ tenant }) => tenant === record.tenant)?.order;
  const away: Away | undefined = there && {
    name: clusterOf(record) ?? '',
    tidbs: there.tidbs,
    ...(there.gone === undefined ? {} : { gone: there.gone }),
  };
  return {
    ...(away ? { away } : {}),
    down: [...here.down, ...(there?.down ?? [])],
    ...(acknowledged ? { acknowledged } : {}),
    ...(order ? { told: order } : {}),
    ...(oldestLock === undefined ? {} : { oldestLock }),
    failures: [...failures, ...(here.gone === undefined ? [] : [here.gone])],
  };
}
