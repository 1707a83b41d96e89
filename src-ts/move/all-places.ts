/**
 * Compares the places of all tenants of a configuration with what PD knows of them. Whoever brings a configuration to the Envoys brings all
 * of it: a file from before another tenant's move would lead that one back to a range that has been destroyed.
 */
import { CommandError } from '../errors.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { listedTenants } from '../tenants/edit.ts';
import { hasRangeOf, rangeText, registered, type Registered } from '../tenants/registry.ts';
import type { Tenant } from '../tenants/tenant.ts';
import { isBetweenStorages, isSamePlace, placeOf, placeText, type Place } from './place.ts';
import { lastMoves, readableMoves, type LastMove, type MoveRecord } from './record.ts';

/** What PD knows is asked again after that. */
const FRESH_MS = 3000;

/** The PDs of the storage layers of a mesh file. */
export interface Pds {
  readonly home: Endpoint;
  readonly others: ReadonlyMap<string, { readonly pd: Endpoint }>;
}

interface Known {
  readonly rules: readonly Registered[];
  readonly records: readonly MoveRecord[];
  readonly ended: ReadonlyMap<string, LastMove>;
}

type Entry = Tenant & { readonly storage?: string };

/** Where a tenant may be by the record of its move: its configuration changes while a switch is under way. */
function placesIn({ state, from, to, committed }: MoveRecord): Place[] {
  const isMoving = state === 'switching' || state === 'committing';
  const all = [from, ...(isMoving || from.cluster !== undefined ? [to] : [])];
  return [...all, ...(committed ? [committed.served] : [])].filter(({ cluster }) => cluster === undefined);
}

/** Makes what checks a text before it is brought to the Envoys. */
export function placesCheck(
  file: string,
  { home, others }: Pds,
): (text: string, own: string) => Promise<void> {
  const asked = new Map<Endpoint, { readonly at: number; readonly known: Promise<Known | undefined> }>();
  const knownBy = (pd: Endpoint, ageMs: number): Promise<Known | undefined> => {
    const last = asked.get(pd);
    if (last && Date.now() - last.at < ageMs) return last.known;
    const known = ask(pd);
    asked.set(pd, { at: Date.now(), known });
    return known;
  };

  const contradictionIn = async (text: string, own: string, ageMs: number): Promise<string | undefined> => {
    const { whole, plain } = listedTenants(text, file);
    const storages = ((whole as { storages?: { name?: string }[] }).storages ?? []).map(({ name }) => name);
    const unnamed = storages.filter((name) => name !== undefined && !others.has(name));
    /** Of which storage PD is not known, nothing can be said. */
    const pdOf = (storage: string | undefined): Endpoint | undefined => {
      if (storage === undefined) return storages.length < 2 ? home : undefined;
      return others.get(storage)?.pd ?? (unnamed.length === 1 && unnamed[0] === storage ? home : undefined);
    };
    const all = await Promise.all(
      [home, ...[...others.values()].map(({ pd }) => pd)].map((pd) => knownBy(pd, ageMs)),
    );
    const known = all.filter((one) => one !== undefined);
    for (const one of plain) {
      const entry = one as unknown as Entry;
      if (entry.name === own || entry.name === undefined) continue;
      const pd = pdOf(entry.storage);
      const why = contradiction(entry, known, pd && (await knownBy(pd, ageMs)));
      if (why !== undefined) return `${file} has ${entry.name} at ${why}`;
    }
    return undefined;
  };

  return async (text, own) => {
    if ((await contradictionIn(text, own, FRESH_MS)) === undefined) return;
    // Another worker may have gone on.
    const why = await contradictionIn(text, own, 0);
    if (why === undefined) return;
    throw new CommandError(
      'REFUSED',
      `${why}; the file was not brought to the Envoys, which would lead that tenant there`,
      'it may be from before a move: give the newest file, with the places that the worker has written last',
    );
  };
}

/** undefined when the PD does not answer: a storage layer that is down must not hold the tenants of another one. */
async function ask(pd: Endpoint): Promise<Known | undefined> {
  try {
    const [rules, { all }, ended] = await Promise.all([registered(pd), readableMoves(pd), lastMoves(pd)]);
    return { rules, records: all.map(({ record }) => record), ended };
  } catch (error) {
    if (error instanceof CommandError && error.code !== 'REFUSED') return undefined;
    throw error;
  }
}

/** @param own what the PD of its storage knows */
function contradiction(entry: Entry, all: readonly Known[], own: Known | undefined): string | undefined {
  const { name, storage } = entry;
  const place: Place = { ...placeOf({ ...entry }), ...(storage === undefined ? {} : { storage }) };
  const at = placeText(entry, place);
  const records = all.flatMap(({ records: some }) => some.filter(({ tenant }) => tenant === name));
  if (records.length > 0) {
    const isTold = records.some((record) => {
      const told = isBetweenStorages(record) ? place : placeOf({ ...place });
      return placesIn(record).some((one) => isSamePlace(one, told));
    });
    const [record] = records;
    return isTold || !record
      ? undefined
      : `${at}, and the record of its move at ${placeText(entry, record.from)}`;
  }
  const ends = all.flatMap(({ ended }) => ended.get(name) ?? []);
  const last = ends.reduce<LastMove | undefined>((a, b) => (a && a.serial > b.serial ? a : b), undefined);
  if (storage !== undefined && last?.storage !== undefined && last.storage !== storage)
    return `${at}, and its last move has ended in storage ${last.storage}`;
  const rule = own?.rules.find((one) => one.name === name);
  if (!rule || hasRangeOf(rule, entry)) return undefined;
  return `${at}, and PD has it at ${rangeText(rule)}`;
}
