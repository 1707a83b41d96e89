/** Asks about each half-way move what `diagnosis.ts` judges: both sides, the filters, and the configuration. */
import { CommandError } from '../errors.ts';
import { stores } from '../pd/cluster.ts';
import { Endpoint, type EndpointOptions } from '../pd/endpoint.ts';
import { workedOn } from './claims.ts';
import { clusterNamed, type Clusters } from './clusters.ts';
import {
  diagnose,
  isBehind,
  otherOf,
  recordElsewhere,
  withoutRecord,
  type Away,
  type Commands,
  type Diagnosis,
  type Facts,
  type Other,
  type Told,
} from './diagnosis.ts';
import { clusterId } from '../pd/timestamp.ts';
import { tidbsOf } from './engine-of.ts';
import { lookAt } from './look.ts';
import { clocksApart, skewText } from './other-pd.ts';
import type { Place } from './place.ts';
import { findMove, moves, type MoveRecord } from './record.ts';

export interface DoctorOptions {
  /** How PD and the stores of the mesh are reached. */
  readonly endpoint: EndpointOptions;
  /** Those outside of the mesh, and the other storage layers. */
  readonly clusters: Clusters;
  /** Where the filters are asked; none: they are not. */
  readonly envoys: readonly Endpoint[];
  /** Those of the other storage layers, by their names. */
  readonly others?: ReadonlyMap<string, readonly Endpoint[]>;
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
  let worked: ReadonlySet<string>;
  try {
    const all = (await moves(pd)).filter(({ record }) => isMeant(record));
    worked = await workedOn(pd, all);
    records = all.map(({ record }) => record);
  } catch (error) {
    const meant = told.filter(isMeant);
    if (!(error instanceof CommandError) || error.code !== 'UNREACHABLE' || meant.length === 0) throw error;
    return withoutPd(meant, error.message, options.clusters);
  }
  const here = await sideOf(pd);
  const aways = awaysOf(pd, options.clusters);
  const known = records.map(async (record) => {
    const other = otherOf(record);
    const there = other && (await aways(other));
    const facts = await factsOf(record, here, there, options);
    return diagnose(record, { ...facts, hasWorker: worked.has(record.tenant) }, commands);
  });
  const lost = told
    .filter(isMeant)
    .filter(({ tenant }) => !records.some((record) => record.tenant === tenant))
    .map(async (one) =>
      // Of several storage layers, a file does not say whose PD has the record.
      one.storage === undefined ? withoutRecord(one) : recordElsewhere(one, await holderOf(one, options)),
    );
  return (await Promise.all([...known, ...lost])).sort((a, b) => (a.tenant < b.tenant ? -1 : 1));
}

/** What can be said when the PD with the records does not answer. Another storage layer may serve the tenant meanwhile. */
async function withoutPd(told: readonly Told[], gone: string, clusters: Clusters): Promise<Diagnosis[]> {
  const aways = awaysOf(undefined, clusters);
  return Promise.all(
    told.map(async (one) => {
      const goneOf = async (storage: string | undefined): Promise<{ gone?: string } | undefined> => {
        if (storage === undefined || !clusters.has(storage)) return undefined;
        const there = await aways({ kind: 'storage', name: storage });
        return there.gone === undefined ? {} : { gone: there.gone };
      };
      const [served, handedOverBy] = await Promise.all([goneOf(one.storage), goneOf(one.handedOverBy)]);
      return withoutRecord(one, {
        gone,
        ...(served ? { served } : {}),
        ...(handedOverBy ? { handedOverBy } : {}),
      });
    }),
  );
}

/** Another storage layer whose PD has the record; undefined when none of those that are known has it. */
async function holderOf({ tenant }: Told, { clusters, others }: DoctorOptions): Promise<string | undefined> {
  for (const name of others?.keys() ?? []) {
    const pd = new Endpoint(clusterNamed(clusters, name, 'storage'));
    const found = await findMove(pd, tenant)
      .catch(() => undefined)
      .finally(() => pd.close());
    if (found) return name;
  }
  return undefined;
}

/** What is found at a PD. */
interface Found {
  /** Stores that are not up, in words. */
  readonly down: readonly string[];
  /** Why it cannot be asked. */
  readonly gone?: string;
  readonly tidbs: readonly string[];
  /** Decimal. */
  readonly clusterId?: string;
  /** How far the clock of PD is ahead of that of the PD with the records, ms. */
  readonly aheadMs?: number;
  /** What could not be asked, and why. */
  readonly failures: readonly string[];
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** @param other what is asked, when it is not the storage layer with the records */
async function sideOf(pd: Endpoint, other?: Other, home?: Endpoint): Promise<Found> {
  const name = other ? ` of ${other.kind} ${other.name}` : '';
  const failures: string[] = [];
  const orNot = <T>(what: string, asked: Promise<T>): Promise<T | undefined> =>
    asked.catch((error: unknown) => {
      failures.push(`${what}${name}: ${messageOf(error)}`);
      return undefined;
    });
  try {
    const [all, tidbs, id, aheadMs] = await Promise.all([
      stores(pd),
      other?.kind === 'cluster' ? tidbsOf(pd) : [],
      orNot('the id of the PD', clusterId(pd)),
      home ? orNot('the clock of the PD', clocksApart(home, pd)) : undefined,
    ]);
    const down = all
      .filter(({ state }) => state !== 'Up' && state !== 'Tombstone')
      .map(({ id: store, address, state }) => `store ${store} (${address})${name} is ${state}`);
    return {
      down,
      tidbs,
      ...(id === undefined ? {} : { clusterId: String(id) }),
      ...(aheadMs === undefined ? {} : { aheadMs }),
      failures,
    };
  } catch (error) {
    return { down: [], tidbs: [], gone: messageOf(error), failures: [] };
  }
}

/** Asks each cluster and storage layer once, however many moves name it. */
function awaysOf(home: Endpoint | undefined, clusters: Clusters): (other: Other) => Promise<Found> {
  const asked = new Map<string, Promise<Found>>();
  const ask = async (other: Other): Promise<Found> => {
    try {
      const pd = new Endpoint(clusterNamed(clusters, other.name, other.kind));
      return await sideOf(pd, other, home).finally(() => pd.close());
    } catch (error) {
      const { message, hint } = error as CommandError;
      return { down: [], tidbs: [], gone: `${message}; ${hint}`, failures: [] };
    }
  };
  return (other) => {
    const known = asked.get(other.name) ?? ask(other);
    asked.set(other.name, known);
    return known;
  };
}

/** What is wrong between the PDs of both sides, in words. */
function contradictions(record: MoveRecord, other: Other, here: Found, there: Found): string[] {
  const { home, from, to } = record;
  const otherName = `${other.kind} ${other.name}`;
  const homeName = home === undefined ? 'the mesh' : `storage ${home}`;
  if (here.clusterId !== undefined && here.clusterId === there.clusterId)
    return [`${otherName} and ${homeName} have the same PD: give the right --pd, and the right file`];
  const skew = skewText(there.aheadMs ?? 0, `the PD of ${homeName}`, `the PD of ${otherName}`);
  const isOther = (place: Place): boolean => (place.storage ?? place.cluster) === other.name;
  const idOf = (side: 'home' | 'other'): string | undefined =>
    record.pdIds?.[side] ?? [from, to].find((place) => isOther(place) === (side === 'other'))?.clusterId?.own;
  const another = (name: string, { clusterId: is }: Found, was: string | undefined): string[] =>
    is === undefined || was === undefined || is === was
      ? []
      : [
          `the PD of ${name} has cluster id ${is}, and the record of the move ${was}: it is another PD, or has lost its data`,
        ];
  return [
    ...another(homeName, here, idOf('home')),
    ...another(otherName, there, idOf('other')),
    ...(skew === undefined ? [] : [`${skew}: set both right (NTP). A switch to the one behind is refused`]),
  ];
}

async function factsOf(
  record: MoveRecord,
  here: Found,
  there: Found | undefined,
  { endpoint, clusters, envoys, others, told = [] }: DoctorOptions,
): Promise<Facts> {
  const locks = isBehind(record) && there?.gone === undefined;
  const other = otherOf(record);
  const elsewhere = (other?.kind === 'storage' && others?.get(other.name)) || [];
  const look = await lookAt(record, { endpoint, clusters, envoys: [...envoys, ...elsewhere], locks });
  const { acknowledged, oldestLock, failures } = look;
  const order = told.find(({ tenant }) => tenant === record.tenant)?.order;
  const away: Away | undefined = there &&
    other && {
      name: other.name,
      tidbs: there.tidbs,
      ...(there.gone === undefined ? {} : { gone: there.gone }),
    };
  return {
    ...(away ? { away } : {}),
    down: [...here.down, ...(there?.down ?? [])],
    contradictions: there && other ? contradictions(record, other, here, there) : [],
    ...(acknowledged ? { acknowledged } : {}),
    ...(order ? { told: order } : {}),
    ...(oldestLock === undefined ? {} : { oldestLock }),
    failures: [
      ...failures,
      ...(here.gone === undefined ? [] : [here.gone]),
      ...(there ? [...here.failures, ...there.failures] : []),
    ],
  };
}
