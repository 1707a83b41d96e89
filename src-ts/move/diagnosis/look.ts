/** What `move show` asks the storage layer and the filters, beside the record. Each question has its own answer, also when one fails. */
import { CommandError } from '../../errors.ts';
import type { Endpoint, EndpointOptions } from '../../pd/endpoint.ts';
import type { Clusters } from '../clusters.ts';
import { sidesOf } from '../engine/engine-of.ts';
import { oldestLock } from '../engine/locks.ts';
import type { Side } from '../engine/storage.ts';
import { tableNames } from '../engine/table-names.ts';
import { acknowledged, type Acknowledged, type Missing } from '../filters/acknowledged.ts';
import { missingText } from '../filters/envoys.ts';
import { vmsOf, type Vm } from '../filters/mesh.ts';
import type { MoveRecord } from '../record.ts';

/** A key space of many regions has a lock to find in each: what is not found by then is not waited for. */
const LOOK_MS = 10_000;

/** The transaction that has been open for longest where the tenant is served. */
export interface Oldest {
  /** Decimal. */
  readonly startTs: string;
  readonly ageMs: number;
  readonly tableId: string | undefined;
  /** `database.table` */
  readonly table: string | undefined;
  readonly isPessimistic: boolean;
}

export interface Look {
  /** null: there is no lock. */
  readonly oldestLock?: Oldest | null;
  /** Names of the tables that an alarm is about, by their ids. */
  readonly tables?: Readonly<Record<string, string>>;
  readonly acknowledged?: Acknowledged;
  /** What could not be asked, and why. */
  readonly failures: readonly string[];
}

/** Tries until the time is over. */
async function within<T>(what: string, failures: string[], ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    const why = error instanceof CommandError ? error.message : 'not answered in time';
    failures.push(`${what}: ${why}`);
    return undefined;
  }
}

async function lockAt(source: Side, signal: AbortSignal): Promise<Oldest | null> {
  // One question to PD instead of one for each region.
  await source.storage.regions(source.space, source.space);
  const found = await oldestLock(source, { signal });
  if (!found) return null;
  const { startTs, ageMs, isPessimistic } = found;
  const tableId = found.tableId === undefined ? undefined : String(found.tableId);
  const table = tableId === undefined ? undefined : await nameOf(source, tableId, signal);
  return { startTs: String(startTs), ageMs, tableId, table, isPessimistic };
}

/** A name is a comfort: without it, the id must do. */
async function nameOf(source: Side, id: string, signal: AbortSignal): Promise<string | undefined> {
  const ts = await source.storage.timestamp();
  return (await tableNames(source, [id], ts, signal).catch(() => undefined))?.get(id);
}

export interface LookOptions {
  /** How PD and the stores of the mesh are reached, and clusters outside of it. */
  readonly endpoint: EndpointOptions;
  readonly clusters: Clusters;
  /** Where the filters are asked; none: they are not. */
  readonly envoys: readonly Endpoint[];
  /** False asks no store. */
  readonly locks: boolean;
  readonly timeoutMs?: number;
}

export async function lookAt(record: MoveRecord, options: LookOptions): Promise<Look> {
  const { envoys, locks } = options;
  const failures: string[] = [];
  const [stored = {}, told] = await Promise.all([
    locks ? within('the stores', failures, () => storedOf(record, options, failures)) : undefined,
    envoys.length === 0 ? undefined : acknowledgedBy(record, envoys),
  ]);
  return { ...stored, ...(told ? { acknowledged: told } : {}), failures };
}

async function storedOf(
  record: MoveRecord,
  { endpoint, clusters, timeoutMs = LOOK_MS }: LookOptions,
  failures: string[],
): Promise<Omit<Look, 'failures'>> {
  const { source, close } = sidesOf(endpoint, clusters, record);
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const ids = [...new Set((record.alarm?.commits ?? []).flatMap(({ tableId }) => tableId ?? []))];
    const [lock, tables] = await Promise.all([
      within('the oldest lock', failures, () => lockAt(source, signal)),
      within('names of tables', failures, async () =>
        ids.length === 0 ? undefined : tableNames(source, ids, await source.storage.timestamp(), signal),
      ),
    ]);
    return {
      ...(lock === undefined ? {} : { oldestLock: lock }),
      ...(tables ? { tables: Object.fromEntries(tables) } : {}),
    };
  } finally {
    close();
  }
}

/** Each Envoy is asked by itself: one that does not answer is one that is missing. */
async function acknowledgedBy(record: MoveRecord, envoys: readonly Endpoint[]): Promise<Acknowledged> {
  const vms: Vm[] = [];
  const silent: Missing[] = [];
  await Promise.all(
    envoys.map(async (envoy) => {
      try {
        vms.push(...(await vmsOf([envoy])));
      } catch (error) {
        silent.push({ vm: envoy.url.host, why: error instanceof Error ? error.message : String(error) });
      }
    }),
  );
  const known = acknowledged(record, vms);
  const gone = (record.envoys ?? [])
    .filter(({ missingSince }) => missingSince !== undefined)
    .map((envoy): Missing => ({ vm: `${envoy.host} (${envoy.at.join(', ')})`, why: missingText(envoy) }));
  return { ...known, missing: [...known.missing, ...silent, ...gone] };
}
