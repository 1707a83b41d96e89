/** Adds a tenant to a storage layer: PD splits regions at its boundaries and never merges across, and keeps a resource group for it. */
import { isDeepStrictEqual } from 'node:util';
import { CommandError } from '../errors.ts';
import { mustNotMove } from '../move/record.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { deleteLabelRule, setLabelRule } from '../pd/regions.ts';
import { belongings, isEmpty } from './belongings.ts';
import { waitForBoundaries } from './boundaries.ts';
import {
  conflict,
  numberIn,
  registeredBeside,
  registeredIn,
  ruleId,
  ruleOf,
  type Registered,
} from './registry.ts';
import { makeDefaultGroup } from './request-units.ts';
import { MAX_NUMBER, spaceOf, type Tenant } from './tenant.ts';

const TIMEOUT_MS = 60_000;
/** The search for a number ends after this many numbers whose ranges hold keys of no known tenant. */
const MAX_SKIPPED = 32;

export interface AddOptions {
  /** The keys in its range are this tenant's, so the range need not be empty. */
  readonly withData: boolean;
  /** Only the name is given, and perhaps the number: a tenant that PD knows keeps the range of its rule, whatever that is. */
  readonly isByName?: boolean;
  readonly timeoutMs?: number;
  /** Called with the progress of steps that take seconds. */
  readonly tell: (line: string) => void;
}

export interface Added {
  readonly tenant: Tenant;
  /** False: the tenant existed. */
  readonly isNew: boolean;
  /** Numbers that no tenant has, but whose ranges hold keys. */
  readonly skipped: number[];
}

/** A tenant to add. Without a number it gets the lowest one that is free and empty. */
export type Wanted = Omit<Tenant, 'number'> & { readonly number?: number | undefined };

/**
 * Adds one tenant, or finds that it is there.
 * @throws CommandError
 */
export async function addTenant(pd: Endpoint, wanted: Wanted, options: AddOptions): Promise<Added> {
  const others = await registeredBeside(pd, wanted.name);
  const known = others.find(({ name }) => name === wanted.name);
  await mustNotMove(pd, wanted.name);
  if (known?.number !== undefined && options.isByName && known.number === (wanted.number ?? known.number)) {
    await makeDefaultGroup(pd, known.number, { anew: false });
    await split(pd, known, options);
    return { tenant: { name: known.name, number: known.number }, isNew: false, skipped: [] };
  }
  const { tenant, skipped } =
    wanted.number === undefined && known?.number === undefined
      ? await numbered(pd, wanted, others, options)
      : { tenant: { ...wanted, number: wanted.number ?? known?.number ?? 0 }, skipped: [] };
  const against = conflict(tenant, others);
  if (against !== undefined) throw new CommandError('REFUSED', against.what, against.hint);
  if (!known && !options.withData && tenant.number !== 0) await proveEmpty(pd, tenant, options);
  const rule = ruleOf(tenant);
  await setLabelRule(pd, rule);
  if (!known) {
    // Two operators may have taken one number at the same time. Both see it here, and at least one undoes its part.
    const now = await registeredBeside(pd, tenant.name);
    const late = conflict(tenant, now);
    if (late !== undefined) {
      const own = now.find(({ name }) => name === tenant.name);
      // One who added the same name has written over it, and it counts for them.
      if (isDeepStrictEqual(own, registeredIn(rule))) await deleteLabelRule(pd, ruleId(tenant.name));
      throw new CommandError(
        'REFUSED',
        `another operator added a conflicting tenant: ${late.what}; nothing was changed`,
        'run this again',
      );
    }
  }
  await makeDefaultGroup(pd, tenant.number, { anew: !known });
  const added = registeredIn(rule);
  if (added) await split(pd, added, options);
  return { tenant, isNew: !known, skipped };
}

/** Waits until PD has split at both boundaries. */
async function split(pd: Endpoint, added: Registered, { timeoutMs, tell }: AddOptions): Promise<void> {
  const missing = await waitForBoundaries(pd, [added], timeoutMs ?? TIMEOUT_MS, (count) =>
    tell(`PD is splitting regions at ${count === 1 ? '1 boundary' : `${count} boundaries`} of ${added.name}`),
  );
  if (missing.length > 0)
    throw new CommandError(
      'REFUSED',
      `${added.name} is added, but PD has not yet split region ${missing.map(({ region }) => region).join(' and ')} at its boundary`,
      "check that the region has a leader and that PD's schedulers are not halted, then run this again: it goes on waiting",
    );
}

/** Gives the tenant the lowest number that no tenant has and whose range holds no key. */
async function numbered(
  pd: Endpoint,
  wanted: Wanted,
  others: readonly Registered[],
  options: AddOptions,
): Promise<{ tenant: Tenant; skipped: number[] }> {
  // A tenant that has moved, or moves, has keys with another number than its own.
  const taken = new Set(others.flatMap(({ number, start }) => [number, numberIn(start)]));
  const skipped: number[] = [];
  for (let number = 1; number <= MAX_NUMBER && skipped.length < MAX_SKIPPED; number++) {
    if (taken.has(number)) continue;
    const tenant: Tenant = { ...wanted, number };
    const inTable = !wanted.keyspace && !wanted.prefix;
    if (!inTable || options.withData || (await isEmpty(pd, spaceOf(tenant)))) return { tenant, skipped };
    options.tell(`number ${number} belongs to no tenant, but keys lie in its range: trying the next`);
    skipped.push(number);
  }
  if (skipped.length < MAX_SKIPPED)
    throw new CommandError('REFUSED', `all ${MAX_NUMBER} numbers are taken`, 'remove a tenant first');
  throw new CommandError(
    'REFUSED',
    `the first ${MAX_SKIPPED} numbers that no tenant has are not free: keys lie in their ranges`,
    'give --number, or add the tenants of those keys first: tidb-mesh tenants add --all --config FILE --with-data',
  );
}

async function proveEmpty(pd: Endpoint, tenant: Tenant, { tell }: AddOptions): Promise<void> {
  tell(`asking the stores whether the key range of ${tenant.name} is empty`);
  const there = await belongings(pd, tenant);
  if (there.length === 0) return;
  const counts = there.map(({ count, what }) => `${count} ${what}`).join(', ');
  throw new CommandError(
    'REFUSED',
    `${tenant.name} (number ${tenant.number}) would not begin empty: ${counts}`,
    'add --with-data if they are its own, because it ran before it was added here; if another tenant left them, take another number or name, or destroy them: tidb-mesh tenants empty',
  );
}
