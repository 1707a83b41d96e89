/**
 * Routing rules: which tenant is served where, as one document that can be looked at, compared and changed.
 *
 *     {"user_12345": "source_12345", …}    before a switch
 *     {"user_12345": "target", …}          after it
 *
 * A rule says nothing new: it is what the record of the tenant's move says, and changing it asks for a switch as `move switch` does. So
 * only a tenant whose move follows can change sides. The revision is etcd's: what a rule was made from can be read again at it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../errors.ts';
import { CallError, type Endpoint } from '../pd/endpoint.ts';
import { MOST_PUTS } from '../pd/etcd.ts';
import { numberIn, registered, type Registered } from '../tenants/registry.ts';
import { nameError } from '../tenants/tenant.ts';
import { placeText } from './place.ts';
import { movesAt, saveAll, type MoveRecord, type Moves, type State, type Stored } from './record.ts';
import { isAtHome, objection, wished } from './wishes.ts';

const TARGET = 'target';
const SOURCE = 'source';

/** By tenant: what is served it, or is to serve it. */
export type Rules = Readonly<Record<string, string>>;

/** What a file asks for. */
export interface Wanted {
  readonly rules: Rules;
  /** What the rules were made from; undefined when the file does not say it. */
  readonly revision: bigint | undefined;
}

/** Where one tenant is served. */
export interface Route {
  readonly tenant: string;
  /** In words. */
  readonly servedAt: string;
  /** Only of a tenant that is being moved: `source_…` or `target`. Others have one place only. */
  readonly rule?: string;
  readonly otherSide?: string;
  readonly state?: State;
  readonly switches?: number;
}

export interface Routing {
  /** Decimal. */
  readonly revision: string;
  readonly rules: Rules;
  readonly tenants: readonly Route[];
}

/** The rule of a tenant that is served where its move began: `source_12345` of `user-12345`, `source_alpha` of `alpha`. */
export function sourceRule(tenant: string): string {
  return `${SOURCE}_${tenant.replace(/^user-(?=.)/, '')}`;
}

/** True when the tenant is served where it is moved to. Nothing leads back from `committing`. */
function isAway(record: MoveRecord): boolean {
  return isAtHome(record) === (record.state === 'committing');
}

function ruleOf(record: MoveRecord): string {
  return isAway(record) ? TARGET : sourceRule(record.tenant);
}

/** Texts of the sides: where it is served, and the other one. */
function sidesOf(record: MoveRecord): readonly [served: string, other: string] {
  const [from, to] = [placeText(record, record.from), placeText(record, record.to)];
  return record.state === 'committing' ? [to, from] : [from, to];
}

function placeIn({ start, number, keySpace }: Registered): string {
  // As `placeText` has it, which knows one mode only.
  if (keySpace.startsWith('keyspace')) return keySpace.replace(' (txn)', '');
  if (keySpace.startsWith('prefix')) return keySpace;
  return placeText({ number: numberIn(start) ?? number ?? 0 }, {});
}

function routeOf(record: MoveRecord): Route {
  const { tenant, state, switches } = record;
  const [servedAt, otherSide] = sidesOf(record);
  return { tenant, servedAt, rule: ruleOf(record), otherSide, state, switches };
}

/** Where every tenant of the storage layer is served. */
export async function routing(pd: Endpoint): Promise<Routing> {
  const [{ revision, all }, known] = await Promise.all([movesAt(pd), registered(pd)]);
  const moving = all.map(({ record }) => routeOf(record));
  const others = known
    .filter(({ name }) => !moving.some(({ tenant }) => tenant === name))
    .map((one): Route => ({ tenant: one.name, servedAt: placeIn(one) }));
  const tenants = [...moving, ...others].sort((a, b) => (a.tenant < b.tenant ? -1 : 1));
  const rules = Object.fromEntries(moving.map(({ tenant, rule }) => [tenant, rule ?? '']));
  return { revision: String(revision), rules, tenants };
}

/**
 * Reads what `routing get` prints, in either form.
 * @param file names the text in errors
 * @throws CommandError
 */
export function parseRules(text: string, file: string): Wanted {
  const no = (why: string, hint: string): CommandError =>
    new CommandError('INVALID', `${file}: ${why}`, hint);
  const FORM = 'write it as `routing get --json` prints it, or as {"alpha": "target", …}';
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch (error) {
    throw no(`is not JSON: ${(error as Error).message}`, FORM);
  }
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject(read)) throw no('is no JSON object', FORM);
  const whole = isObject(read['rules']) ? read : undefined;
  const { revision } = whole ?? {};
  if (revision !== undefined && !(typeof revision === 'string' && /^\d+$/.test(revision)))
    throw no('"revision" is no text of digits', FORM);
  const rules: Record<string, string> = {};
  for (const [written, rule] of Object.entries(isObject(read['rules']) ? read['rules'] : read)) {
    // No name of a tenant has one.
    const tenant = written.replaceAll('_', '-');
    const wrong = nameError(tenant);
    if (wrong !== undefined) throw no(wrong, 'correct it');
    if (typeof rule !== 'string' || rule === '')
      throw no(`the rule of ${tenant} is no text`, `write "${sourceRule(tenant)}" or "${TARGET}"`);
    if (rules[tenant] !== undefined)
      throw no(`has two rules for ${tenant}`, 'leave one; "_" in a name is read as "-"');
    rules[tenant] = rule;
  }
  return { rules, revision: typeof revision === 'string' ? BigInt(revision) : undefined };
}

export const ACTIONS = ['switch', 'reverse', 'nothing', 'refused'] as const;
export type Action = (typeof ACTIONS)[number];

/** What is to be done for one tenant. */
export interface Step {
  readonly tenant: string;
  readonly action: Action;
  /** Where it is served, and where it is to be; in words. */
  readonly now: string;
  readonly wanted: string;
  /** Why it is refused, or why there is nothing to do. */
  readonly why?: string;
  /** What to do about a refusal. */
  readonly hint?: string;
}

function stepOf(record: MoveRecord, rule: string): Step {
  const { tenant, wish, state } = record;
  const [now, other] = sidesOf(record);
  const own = sourceRule(tenant);
  const asSource = [own, SOURCE, `${SOURCE}_${tenant}`];
  const isElsewhere = isAway(record) ? asSource.includes(rule) : rule === TARGET;
  const isHere = isAway(record) ? rule === TARGET : asSource.includes(rule);
  const wantsOther = isElsewhere || (!isHere && rule === other);
  const step = { tenant, now, wanted: wantsOther ? other : now };
  if (!wantsOther && !isHere && rule !== now)
    return {
      ...step,
      action: 'refused',
      wanted: rule,
      why: `"${rule}" is no side of its move from ${now} to ${other}`,
      hint: `write "${own}" or "${TARGET}"; to go elsewhere, end this move first: tidb-mesh move complete ${tenant}`,
    };
  // A switch that is to be cancelled is not done.
  const isLeaving = wish === 'switch' || (state === 'switching' && wish === undefined);
  if (wantsOther && isLeaving) return { ...step, action: 'nothing', why: 'it is being switched already' };
  if (!wantsOther && isLeaving)
    return {
      ...step,
      action: 'refused',
      why: `it is just being switched to ${other}`,
      hint: `wait, and look again: tidb-mesh move show ${tenant}`,
    };
  if (!wantsOther) return { ...step, action: 'nothing', why: 'it is served there' };
  const hint = `wait, and look again: tidb-mesh move show ${tenant}`;
  if (state === 'committing') return { ...step, action: 'refused', why: 'it is just being switched', hint };
  if (wish !== undefined) return { ...step, action: 'refused', why: `it is asked to ${wish} already`, hint };
  const action = isAway(record) ? 'reverse' : 'switch';
  const problem = objection(record, action);
  return problem
    ? { ...step, action: 'refused', why: problem.message, hint: problem.hint }
    : { ...step, action };
}

/** A tenant that is not being moved has one place, which only a move changes. */
function stayOf(tenant: string, rule: string, known: Registered | undefined): Step {
  if (!known)
    return {
      tenant,
      action: 'refused',
      now: '-',
      wanted: rule,
      why: `there is no tenant ${tenant}`,
      hint: 'see all: tidb-mesh routing get; a new one: tidb-mesh tenants add',
    };
  const now = placeIn(known);
  if (rule === now) return { tenant, action: 'nothing', now, wanted: now, why: 'it is served there' };
  return {
    tenant,
    action: 'refused',
    now,
    wanted: rule,
    why: `${tenant} is not being moved, and is served at ${now}`,
    hint: `leave it out, or write "${now}"; to move it: tidb-mesh move create ${tenant} --to-number N`,
  };
}

function stepsOf({ all }: Moves, rules: Rules, known: readonly Registered[]): Step[] {
  return Object.entries(rules).map(([tenant, rule]) => {
    const stored = all.find(({ record }) => record.tenant === tenant);
    if (stored) return stepOf(stored.record, rule);
    return stayOf(
      tenant,
      rule,
      known.find(({ name }) => name === tenant),
    );
  });
}

/** What `apply` would do. */
export interface Plan {
  /** The rules' own revision, or that of the moves that were looked at. Decimal. */
  readonly revision: string;
  readonly steps: readonly Step[];
  /** What has changed since the revision of the rules, in words. */
  readonly changed: readonly string[];
}

/** What a rule depends on. Everything else in a record may change meanwhile. */
function changeOf(tenant: string, then: MoveRecord | undefined, now: MoveRecord | undefined): string[] {
  if (!then && !now) return [];
  if (!then) return [`${tenant} was not being moved, and is now`];
  if (!now) return [`the move of ${tenant} has ended`];
  if (then.createdAt !== now.createdAt) return [`${tenant} is in another move, which began later`];
  const served = `${tenant} was served at ${ruleOf(then)}, after ${then.switches} switches`;
  if (then.switches !== now.switches || isAway(then) !== isAway(now))
    return [`${served}; now it is served at ${ruleOf(now)}, after ${now.switches}`];
  if (then.wish !== now.wish)
    return [
      now.wish === undefined
        ? `${tenant} was asked to ${then.wish ?? ''}, and is not any more`
        : `${tenant} was asked to ${now.wish}`,
    ];
  return [];
}

function changesOf(then: Moves, now: Moves, rules: Rules): string[] {
  const find = ({ all }: Moves, tenant: string): MoveRecord | undefined =>
    all.find(({ record }) => record.tenant === tenant)?.record;
  return Object.keys(rules).flatMap((tenant) => changeOf(tenant, find(then, tenant), find(now, tenant)));
}

/** The moves that rules were made from. @throws CommandError when etcd does not know that revision */
async function movesThen(pd: Endpoint, revision: bigint): Promise<Moves> {
  try {
    return await movesAt(pd, revision);
  } catch (error) {
    const isKnown = error instanceof CallError && /compacted|future revision/.test(error.message);
    if (!isKnown) throw error;
    const why = error.message.includes('compacted') ? 'etcd has compacted it' : 'it has not been yet';
    throw new CommandError(
      'REFUSED',
      `revision ${revision} cannot be compared with: ${why}`,
      'look again, and make the rules from that: tidb-mesh routing get',
      { cause: error },
    );
  }
}

interface Looked extends Plan {
  readonly now: Moves;
}

async function look(
  pd: Endpoint,
  { rules, revision }: Wanted,
  then: Moves | undefined,
  known: readonly Registered[],
): Promise<Looked> {
  const now = await movesAt(pd);
  return {
    revision: String(revision ?? now.revision),
    steps: stepsOf(now, rules, known),
    changed: then ? changesOf(then, now, rules) : [],
    now,
  };
}

/** Says what `apply` would do, and changes nothing. */
export async function planRouting(pd: Endpoint, wanted: Wanted): Promise<Plan> {
  const then = wanted.revision === undefined ? undefined : await movesThen(pd, wanted.revision);
  const { revision, steps, changed } = await look(pd, wanted, then, await registered(pd));
  return { revision, steps, changed };
}

export function isChange({ action }: Step): boolean {
  return action === 'switch' || action === 'reverse';
}

const TRIES = 50;
const PAUSE_MS = 20;

/**
 * Asks for all switches of the rules at once: all of them, or none.
 * @returns what was asked for
 * @throws CommandError when something has changed since the rules' revision, or when one of the steps is refused
 */
export async function applyRouting(pd: Endpoint, wanted: Wanted): Promise<Plan> {
  if (wanted.revision === undefined)
    throw new CommandError(
      'USAGE',
      'the rules do not say from which revision they were made',
      'give --revision N, or a file with "revision", as `tidb-mesh routing get --json` prints it',
    );
  const then = await movesThen(pd, wanted.revision);
  const known = await registered(pd);
  for (let attempt = 1; ; attempt++) {
    const { now, ...plan } = await look(pd, wanted, then, known);
    refuse(plan);
    const changes = plan.steps.filter(isChange);
    if (changes.length === 0) return { ...plan, revision: String(now.revision) };
    const asked = changes.map((step) => askedOf(now, step));
    const revision = await saveAll(pd, asked);
    if (revision !== undefined) return { ...plan, revision: String(revision) };
    // A worker writes into its record each second. Whatever else has changed shows at the next look.
    if (attempt === TRIES)
      throw new CommandError('REFUSED', 'the moves change all the time', 'try again, or with fewer tenants');
    await sleep(Math.random() * PAUSE_MS);
  }
}

function askedOf({ all }: Moves, { tenant, action }: Step): Stored {
  const stored = all.find(({ record }) => record.tenant === tenant);
  if (!stored || (action !== 'switch' && action !== 'reverse'))
    throw new Error(`no change is planned for ${tenant}`);
  return { record: wished(stored.record, action), revision: stored.revision };
}

/** @throws CommandError unless the whole plan can be done */
function refuse({ steps, changed, revision }: Plan): void {
  if (changed.length > 0)
    throw new CommandError(
      'REFUSED',
      `changed since revision ${revision}: ${changed.join('; ')}`,
      'nothing was asked for; look again, and make the rules from that: tidb-mesh routing get',
    );
  const refused = steps.filter(({ action }) => action === 'refused');
  if (refused.length > 0)
    throw new CommandError(
      'REFUSED',
      refused.map(({ tenant, why }) => `${tenant}: ${why ?? ''}`).join('\n'),
      ['nothing was asked for', ...refused.map(({ tenant, hint }) => `${tenant}: ${hint ?? ''}`)].join('\n'),
    );
  const count = steps.filter(isChange).length;
  if (count > MOST_PUTS)
    throw new CommandError(
      'REFUSED',
      `${count} tenants would be switched at once, and etcd changes ${MOST_PUTS} at most`,
      'apply the rules of fewer tenants at a time',
    );
}
