/** Adds a tenant to a storage layer: its borders become borders of regions and stay so. */
import type { Endpoint } from '../pd/endpoint.ts';
import { deleteLabelRule, setLabelRule } from '../pd/regions.ts';
import { belongings, isEmpty } from './belongings.ts';
import { waitForBorders } from './borders.ts';
import { Refusal } from './refusal.ts';
import { conflict, registered, registeredIn, ruleId, ruleOf, type Registered } from './registry.ts';
import { MAX_NUMBER, spaceOf, type Tenant } from './tenant.ts';

const TIMEOUT_MS = 60_000;
/** Numbers whose range holds keys of nobody known, before the search is given up. */
const MAX_SKIPPED = 32;

export interface AddOptions {
  /** The keys in its range are this tenant's: it is not asked to be empty. */
  readonly withData: boolean;
  readonly timeoutMs?: number;
  /** Hears what takes seconds. */
  readonly tell: (line: string) => void;
}

export interface Added {
  readonly tenant: Tenant;
  /** False: it was there already. */
  readonly isNew: boolean;
  /** Numbers that were free by name but had keys in their range. */
  readonly skipped: number[];
}

/** A tenant without a number gets the lowest one that is free and empty. */
export type Wanted = Omit<Tenant, 'number'> & { readonly number?: number | undefined };

/**
 * Adds one tenant, or finds that it is there.
 * @throws Refusal, CallError
 */
export async function addTenant(pd: Endpoint, wanted: Wanted, options: AddOptions): Promise<Added> {
  const others = await registered(pd);
  const known = others.find(({ name }) => name === wanted.name);
  const { tenant, skipped } =
    wanted.number === undefined && known?.number === undefined
      ? await numbered(pd, wanted, others, options)
      : { tenant: { ...wanted, number: wanted.number ?? known?.number ?? 0 }, skipped: [] };
  const against = conflict(tenant, others);
  if (against !== undefined) throw new Refusal(against);
  if (!known && !options.withData && tenant.number !== 0) await proveEmpty(pd, tenant, options);
  const rule = ruleOf(tenant);
  await setLabelRule(pd, rule);
  if (!known) {
    // Two operators may have taken the same number at the same time: both see it here, and at least one gives way.
    const late = conflict(tenant, await registered(pd));
    if (late !== undefined) {
      await deleteLabelRule(pd, ruleId(tenant.name));
      throw new Refusal(`somebody else was quicker: ${late}; nothing was changed, run this again`);
    }
  }
  const borders = registeredIn(rule);
  const missing = await waitForBorders(
    pd,
    borders ? [borders] : [],
    options.timeoutMs ?? TIMEOUT_MS,
    (count) =>
      options.tell(
        `PD is splitting regions at ${count === 1 ? '1 border' : `${count} borders`} of ${tenant.name}`,
      ),
  );
  if (missing.length > 0)
    throw new Refusal(
      `${tenant.name} is added, but PD has not split region ${missing.map(({ region }) => region).join(' and ')} at its ` +
        "border yet; see that its leader is up and that PD's schedulers are not halted, then run this again: it goes on waiting",
    );
  return { tenant, isNew: !known, skipped };
}

/** The same tenant with the lowest number that nobody has and in whose range no key lies. */
async function numbered(
  pd: Endpoint,
  wanted: Wanted,
  others: readonly Registered[],
  options: AddOptions,
): Promise<{ tenant: Tenant; skipped: number[] }> {
  const taken = new Set(others.map(({ number }) => number));
  const skipped: number[] = [];
  for (let number = 1; number <= MAX_NUMBER && skipped.length < MAX_SKIPPED; number++) {
    if (taken.has(number)) continue;
    const tenant: Tenant = { ...wanted, number };
    const inTable = !wanted.keyspace && !wanted.prefix;
    if (!inTable || options.withData || (await isEmpty(pd, spaceOf(tenant)))) return { tenant, skipped };
    options.tell(`number ${number} is nobody's, but keys lie in its range: trying the next`);
    skipped.push(number);
  }
  throw new Refusal(
    skipped.length < MAX_SKIPPED
      ? `all ${MAX_NUMBER} numbers are taken`
      : `the first ${MAX_SKIPPED} numbers that are nobody's have keys in their ranges; give --number, or add those tenants first (tenants add --config FILE --all --with-data)`,
  );
}

async function proveEmpty(pd: Endpoint, tenant: Tenant, { tell }: AddOptions): Promise<void> {
  tell(`asking the stores whether the key space of ${tenant.name} is empty`);
  const there = await belongings(pd, tenant);
  if (there.length === 0) return;
  const counts = there.map(({ count, what }) => `${count} ${what}`).join(', ');
  throw new Refusal(
    `${tenant.name} (number ${tenant.number}) would not begin empty: ${counts}. If they are this tenant's own, as when it ran before it was ` +
      'added here, say --with-data; if they are left of another one, take another number or name, or clear them with `tidb-mesh tenants empty`',
  );
}
