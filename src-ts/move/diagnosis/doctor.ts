/** Asks about each half-way move what `diagnosis.ts` judges: both sides, the filters, and the configuration. */
import { CommandError } from '../../errors.ts';
import { stores } from '../../pd/cluster.ts';
import { Endpoint, type EndpointOptions } from '../../pd/endpoint.ts';
import { clusterId } from '../../pd/timestamp.ts';
import { isEmpty } from '../../tenants/belongings.ts';
import { hasRangeOf, registered } from '../../tenants/registry.ts';
import { spaceOf } from '../../tenants/tenant.ts';
import { workedOn } from '../claims.ts';
import { clusterNamed, type Clusters } from '../clusters.ts';
import { tidbsOf } from '../engine/engine-of.ts';
import { clocksApart, skewText } from '../other-pd.ts';
import type { Place } from '../place.ts';
import { findMove, moves, type MoveRecord } from '../record.ts';
import {
  diagnose,
  isBehind,
  otherOf,
  recordElsewhere,
  recordGone,
  withoutRecord,
  type Away,
  type Commands,
  type Diagnosis,
  type Facts,
  type Other,
  type Told,
} from './diagnosis.ts';
import { lookAt } from './look.ts';

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
      one.storage === undefined ? withoutRecord(one) : withoutRecordAt(pd, one, options),
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

/** Of a tenant in a file with several storage layers, whose record the PD that was asked does not have. */
async function withoutRecordAt(
  pd: Endpoint,
  one: Told,
  { clusters, others }: DoctorOptions,
): Promise<Diagnosis> {
  const { tenant, storage, handedOverBy, storages, keys } = one;
  const silent = new Map<string, string>();
  const asked = async <T>(name: string, ask: (its: Endpoint) => Promise<T>): Promise<T | undefined> => {
    // A file does not say which one's PD is `pd`: the one that is in no other file.
    const its = others?.has(name) ? new Endpoint(clusterNamed(clusters, name, 'storage')) : pd;
    try {
      return await ask(its);
    } catch (error) {
      silent.set(name, messageOf(error));
      return undefined;
    } finally {
      if (its !== pd) its.close();
    }
  };
  for (const name of others?.keys() ?? [])
    if (await asked(name, (its) => findMove(its, tenant))) return recordElsewhere(one, { holder: name });
  if (silent.size > 0) return recordElsewhere(one, { silent });
  const left = storages?.filter((name) => !others?.has(name));
  if (storage === undefined || keys === undefined || left === undefined || left.length > 1)
    return recordElsewhere(one, {});
  const has = (name: string): Promise<boolean | undefined> =>
    asked(
      name,
      async (its) =>
        (await registered(its)).some((known) => known.name === tenant && hasRangeOf(known, keys)) &&
        !(await isEmpty(its, spaceOf(keys))),
    );
  const served = await has(storage);
  const before = handedOverBy === undefined ? false : await has(handedOverBy);
  if (served === undefined || before === undefined) return recordElsewhere(one, { silent });
  return recordGone(one, { served, handedOverBy: before });
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

/** Which PD a side had when the move began: the id of its cluster, if that is known. */
function idWas({ from, to, pdIds }: MoveRecord, { name }: Other, side: 'home' | 'other'): string | undefined {
  const isOther = (place: Place): boolean => (place.storage ?? place.cluster) === name;
  return pdIds?.[side] ?? [from, to].find((place) => isOther(place) === (side === 'other'))?.clusterId?.own;
}

function isAnother({ clusterId: is }: Found, was: string | undefined): boolean {
  return is !== undefined && was !== undefined && is !== was;
}

/** What is wrong between the PDs of both sides, in words. */
function contradictions(record: MoveRecord, other: Other, here: Found, there: Found): string[] {
  const { home } = record;
  const otherName = `${other.kind} ${other.name}`;
  const homeName = home === undefined ? 'the mesh' : `storage ${home}`;
  if (here.clusterId !== undefined && here.clusterId === there.clusterId)
    return [`${otherName} and ${homeName} have the same PD: give the right --pd, and the right file`];
  const skew = skewText(there.aheadMs ?? 0, `the PD of ${homeName}`, `the PD of ${otherName}`);
  const another = (name: string, found: Found, was: string | undefined): string[] =>
    isAnother(found, was)
      ? [
          `the PD of ${name} has cluster id ${found.clusterId ?? ''}, and the record of the move ${was ?? ''}: it is another PD, or has lost its data`,
        ]
      : [];
  return [
    ...another(homeName, here, idWas(record, other, 'home')),
    ...another(otherName, there, idWas(record, other, 'other')),
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
  // One PD for both is a slip of whoever asks.
  const isLost =
    there && other && there.clusterId !== here.clusterId && isAnother(there, idWas(record, other, 'other'));
  const away: Away | undefined = there &&
    other && {
      name: other.name,
      tidbs: isLost ? [] : there.tidbs,
      ...(there.gone === undefined ? {} : { gone: there.gone }),
      ...(isLost ? { isAnother: true } : {}),
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
