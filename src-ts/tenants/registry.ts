/**
 * The tenants of a storage layer. PD keeps one region label rule for each, with the tenant's name. By it, PD splits at the tenant's
 * boundaries. Nothing else is stored anywhere.
 */
import { nearest } from '../config/suggest.ts';
import { CommandError } from '../errors.ts';
import { tenantAt } from '../move/place.ts';
import { moves } from '../move/record.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { labelRules, type LabelRule } from '../pd/regions.ts';
import { fromMemcomparable, MAX_NUMBER, pdKey, spaceOf, type Tenant } from './tenant.ts';

const PREFIX = 'tidb-mesh/';
/** Ends the id of the rule for the place that a tenant is being moved to. No tenant has a name with a dot. */
const TARGET = '.move';
const NAME_LABEL = 'tidb-mesh-tenant';
const NUMBER_LABEL = 'tidb-mesh-number';
const SPACE_LABEL = 'tidb-mesh-key-space';

/** A tenant that PD knows. */
export interface Registered {
  readonly name: string;
  /** Undefined if the rule does not contain it. */
  readonly number: number | undefined;
  /** In words. */
  readonly keySpace: string;
  /** Boundaries in PD's form. An empty start is the store's. */
  readonly start: Buffer;
  readonly end: Buffer;
}

/** The rule that makes PD split at this tenant's boundaries. */
export function ruleOf(tenant: Tenant): LabelRule {
  const space = spaceOf(tenant);
  return {
    id: PREFIX + tenant.name,
    labels: [
      { key: NAME_LABEL, value: tenant.name },
      { key: NUMBER_LABEL, value: String(tenant.number) },
      { key: SPACE_LABEL, value: space.text },
    ],
    rule_type: 'key-range',
    data: [
      {
        start_key: pdKey(space, space.start).toString('hex'),
        end_key: pdKey(space, space.end).toString('hex'),
      },
    ],
  };
}

/** The number in the boundaries of a tenant with the table codec. */
export function numberIn(start: Buffer): number | undefined {
  const key = fromMemcomparable(start);
  if (key?.length !== 9 || key[0] !== 0x74 || key.readUIntBE(3, 6) !== 0) return undefined;
  const number = key.readUInt16BE(1) - 0x8000;
  return number > 0 && number <= MAX_NUMBER ? number : undefined;
}

/** The tenant of a rule; undefined for a rule that is not ours. */
export function registeredIn(rule: LabelRule): Registered | undefined {
  const range = rule.data?.[0];
  if (!rule.id.startsWith(PREFIX) || !range) return undefined;
  const label = (key: string): string | undefined =>
    rule.labels.find((candidate) => candidate.key === key)?.value;
  const start = Buffer.from(range.start_key, 'hex');
  const written = label(NUMBER_LABEL);
  return {
    name: rule.id.slice(PREFIX.length),
    number: written === undefined ? numberIn(start) : Number(written),
    keySpace: label(SPACE_LABEL) ?? 'table keys',
    start,
    end: Buffer.from(range.end_key, 'hex'),
  };
}

async function all(pd: Pick<Endpoint, 'http'>): Promise<Registered[]> {
  return (await labelRules(pd)).map(registeredIn).filter((tenant) => tenant !== undefined);
}

const isTarget = ({ name }: Registered): boolean => name.endsWith(TARGET);

/** The tenants that PD has rules for, by number. While one is being moved, its rule names the place where it was before. */
export async function registered(pd: Pick<Endpoint, 'http'>): Promise<Registered[]> {
  const found = (await all(pd)).filter((tenant) => !isTarget(tenant));
  return found.sort((a, b) => (a.number ?? MAX_NUMBER) - (b.number ?? MAX_NUMBER));
}

/** The places that tenants are being moved to, with the names of these tenants. Nobody else may have keys there. */
export async function reserved(pd: Endpoint): Promise<Registered[]> {
  const found = (await all(pd)).filter(isTarget);
  return found.map((one) => ({ ...one, name: one.name.slice(0, -TARGET.length) }));
}

/** Both places of each move. At its beginning and end, no rule of PD has one of them. */
async function placesOfMoves(pd: Endpoint): Promise<Registered[]> {
  const places = (await moves(pd)).flatMap(({ record: { tenant: name, number, from, to } }) =>
    [from, to].filter(({ cluster }) => cluster === undefined).map((at) => tenantAt({ name, number }, at)),
  );
  return places.map((tenant) => registeredIn(ruleOf(tenant))).filter((place) => place !== undefined);
}

/** What a tenant of this name must not meet: all other tenants, and the places of their moves; and its own rule. */
export async function registeredBeside(pd: Endpoint, name: string): Promise<Registered[]> {
  const [tenants, targets, places] = await Promise.all([registered(pd), reserved(pd), placesOfMoves(pd)]);
  const ruled = [...tenants, ...targets.filter((target) => target.name !== name)];
  const isRuled = (place: Registered): boolean =>
    ruled.some(
      (one) => one.name === place.name && one.start.equals(place.start) && one.end.equals(place.end),
    );
  return [...ruled, ...places.filter((place) => place.name !== name && !isRuled(place))];
}

/** True if PD has the tenant's keys where it says itself. */
export function hasRangeOf({ start, end }: Registered, tenant: Tenant): boolean {
  const space = spaceOf(tenant);
  return start.equals(pdKey(space, space.start)) && end.equals(pdKey(space, space.end));
}

/** Where PD has a tenant's keys, in words. */
export function rangeText({ start, keySpace }: Registered): string {
  const number = numberIn(start);
  return number === undefined ? keySpace : `number ${number}`;
}

/** True if two tenants have keys in common. */
export function meet(a: Registered, b: Registered): boolean {
  return Buffer.compare(a.start, b.end) < 0 && Buffer.compare(b.start, a.end) < 0;
}

/**
 * The tenant with this name.
 * @throws CommandError with the name that was probably meant
 */
export async function registeredAs(pd: Endpoint, name: string): Promise<Registered> {
  const all = await registered(pd);
  const found = all.find((tenant) => tenant.name === name);
  if (found) return found;
  const known = all.map((tenant) => tenant.name);
  throw unknownTenant(name, known, 'PD');
}

/** @param where whoever lists the tenants that are known */
export function unknownTenant(name: string, known: readonly string[], where: string): CommandError {
  const meant = nearest(name, known);
  const hint =
    meant === undefined
      ? `${where} knows: ${known.join(', ') || 'none'}; a new one: tidb-mesh tenants add ${name}`
      : `did you mean ${meant}?`;
  return new CommandError('REFUSED', `there is no tenant ${name}`, hint);
}

export function ruleId(name: string): string {
  return PREFIX + name;
}

/** The id of the rule for the place that a tenant is being moved to. */
export function targetRuleId(name: string): string {
  return PREFIX + name + TARGET;
}

/** A tenant cannot be added as it is. */
export interface Conflict {
  readonly what: string;
  /** What to do. */
  readonly hint: string;
}

/** The rule in PD that conflicts with the tenant, by name or range; undefined if there is none. */
export function conflict(tenant: Tenant, others: readonly Registered[]): Conflict | undefined {
  const space = spaceOf(tenant);
  const start = pdKey(space, space.start);
  const end = pdKey(space, space.end);
  for (const other of others) {
    const numbered = other.number === tenant.number || other.number === undefined;
    if (other.name === tenant.name) {
      if (hasRangeOf(other, tenant) && numbered) continue;
      return {
        what: `tenant ${tenant.name} has number ${other.number ?? '?'} (${other.keySpace}) already`,
        hint: 'add it with that number and key range, which a tenant keeps, or take another name',
      };
    }
    if (other.number === tenant.number)
      return {
        what: `number ${tenant.number} is tenant ${other.name}'s`,
        hint: 'take another number; without --number it gets a free one',
      };
    if (Buffer.compare(start, other.end) < 0 && Buffer.compare(other.start, end) < 0)
      return {
        what: `the key range of ${tenant.name} (${space.text}) would lie among the keys of tenant ${other.name} (${other.keySpace})`,
        hint: 'take another number, keyspace or prefix',
      };
  }
  return undefined;
}
