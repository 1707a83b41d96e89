/** What is wrong with a storage layer that tenants share, and what to do about it. */
import { safePoints, stores, version } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { millisOf } from '../pd/timestamp.ts';
import { missingBoundaries } from './boundaries.ts';
import { FIRST_ROUND_MS, firstRound, type FirstRound } from './first-round.ts';
import { ageText, holders, type Holder } from './holders.ts';
import { conflict, meet, registered, reserved, type Registered } from './registry.ts';
import { allRequestUnits, defaultGroupOf, requestUnitsText, type RequestUnits } from './request-units.ts';
import { statusOf } from './mesh-status.ts';
import { unheardServers } from './servers.ts';
import type { Tenant } from './tenant.ts';
import { isSamePlace, placeOf, placeText } from '../move/place.ts';
import { moves, type MoveRecord } from '../move/record.ts';

export type Level = 'ok' | 'warning' | 'wrong';

/** In the order in which they are shown. */
export const GROUPS = ['storage layer', 'filters', 'tenants', 'pluginConfig', 'garbage collection'] as const;
export type Group = (typeof GROUPS)[number];

/** What can be found. docs/doctor.md has a section for each code. */
export const CODES = {
  STORES: 'storage layer',
  STORE_VERSIONS: 'storage layer',
  STORE_NOT_UP: 'storage layer',
  FILTERS: 'filters',
  FILTER_MISSING: 'filters',
  FILTER_NOT_ASKED: 'filters',
  TENANTS: 'tenants',
  NO_TENANTS: 'tenants',
  BEING_MOVED: 'tenants',
  BOUNDARY_MISSING: 'tenants',
  NUMBER_TWICE: 'tenants',
  KEYS_OVERLAP: 'tenants',
  CONFIG: 'pluginConfig',
  CONFIG_DIFFERS: 'pluginConfig',
  CONFIG_UNKNOWN_TENANT: 'pluginConfig',
  CONFIG_LACKS_TENANT: 'pluginConfig',
  DEFAULT_GROUP_MISSING: 'pluginConfig',
  LIMIT_NOT_IN_USE: 'pluginConfig',
  GC_HOLDER: 'garbage collection',
  GC_HOLDER_WITHOUT_LEASE: 'garbage collection',
  GC_SAFE_POINT: 'garbage collection',
  GC_FIRST_ROUND: 'garbage collection',
  GC_NO_COLLECTOR: 'garbage collection',
} as const satisfies Record<string, Group>;
export type Code = keyof typeof CODES;

export interface Finding {
  readonly level: Level;
  readonly code: Code;
  readonly group: Group;
  readonly what: string;
  /** What to do; '' where nothing has to be done. */
  readonly remedy: string;
  /** The section that explains it. */
  readonly link: string;
}

export interface DoctorOptions {
  /** How far back garbage collection may be held, seconds. */
  readonly maxAgeSeconds: number;
  /** The tenants of the pluginConfig, where it is known. */
  readonly configured?: readonly Tenant[];
  /** Where filters are to answer; none: they are not asked. */
  readonly envoys?: readonly Endpoint[];
}

const finding = (level: Level, code: Code, what: string, remedy: string): Finding => ({
  level,
  code,
  group: CODES[code],
  what,
  remedy,
  link: `docs/doctor.md#${code.toLowerCase()}`,
});
const ok = (code: Code, what: string): Finding => finding('ok', code, what, '');
const warning = (code: Code, what: string, remedy: string): Finding => finding('warning', code, what, remedy);
const wrong = (code: Code, what: string, remedy: string): Finding => finding('wrong', code, what, remedy);

/** Everything that was looked at, in the order of the looking. */
export async function examine(pd: Endpoint, options: DoctorOptions): Promise<Finding[]> {
  const [tenants, targets, moving] = await Promise.all([registered(pd), reserved(pd), movesOf(pd)]);
  return [
    ...(await versions(pd)),
    ...(await filters(pd, options.envoys ?? [])),
    ...(await boundaries(pd, tenants, targets)),
    ...moving.map(beingMoved),
    ...overlaps([...tenants, ...targets]),
    ...(options.configured ? configuration(tenants, options.configured, moving) : []),
    ...(options.configured ? limits(options.configured, await allRequestUnits(pd)) : []),
    ...(await garbageCollection(pd, options.maxAgeSeconds)),
  ];
}

async function versions(pd: Endpoint): Promise<Finding[]> {
  const all = (await stores(pd)).filter(({ state }) => state !== 'Tombstone');
  const kinds = [...new Set(all.map((store) => store.version))];
  const facts = `PD ${await version(pd)}; ${all.length} ${all.length === 1 ? 'store' : 'stores'}, ${kinds.join(', ') || 'of no version'}`;
  const findings =
    kinds.length > 1
      ? [
          wrong(
            'STORE_VERSIONS',
            facts,
            'the stores have different versions: finish the upgrade before tenants are added or moved',
          ),
        ]
      : [ok('STORES', facts)];
  for (const store of all)
    if (store.state !== 'Up')
      findings.push(
        wrong(
          'STORE_NOT_UP',
          `store ${store.id} (${store.address}) is ${store.state}`,
          'bring it up, or take it out of PD',
        ),
      );
  return findings;
}

/** A server without a filter is open to everybody who reaches it. */
async function filters(pd: Endpoint, envoys: readonly Endpoint[]): Promise<Finding[]> {
  if (envoys.length === 0) return [];
  const [unheard, answers] = await Promise.all([
    unheardServers(
      pd,
      envoys.map(({ url }) => url.host),
    ),
    Promise.allSettled(envoys.map((envoy) => statusOf(envoy))),
  ]);
  const findings = answers.flatMap((answer): Finding[] => {
    if (answer.status === 'fulfilled') return [];
    const { message } = answer.reason as Error;
    return [
      wrong(
        'FILTER_MISSING',
        message,
        'see that its pod has a sidecar and that the manifests are applied: without a filter, all who reach it reach the keys of all tenants',
      ),
    ];
  });
  if (findings.length === 0) findings.push(ok('FILTERS', `a filter answers at ${envoys.length} addresses`));
  for (const server of unheard)
    findings.push(
      warning(
        'FILTER_NOT_ASKED',
        `no filter was asked at ${server}`,
        'give every store and member of PD as --envoy, by the address that it advertises',
      ),
    );
  return findings;
}

async function movesOf(pd: Endpoint): Promise<MoveRecord[]> {
  return (await moves(pd)).map(({ record }) => record);
}

/** Where the rules and the pluginConfig say that the tenant is differs meanwhile, and both are right. */
function beingMoved(record: MoveRecord): Finding {
  const { tenant, state, from, to, problem } = record;
  const what = `${tenant} is being moved from ${placeText(record, from)} to ${placeText(record, to)}: ${state}`;
  if (problem === undefined) return ok('BEING_MOVED', what);
  return warning('BEING_MOVED', `${what}; ${problem}`, `look at it: tidb-mesh move show ${tenant}`);
}

/** True if the pluginConfig has the tenant at one of the two places of its move. */
function isAtAPlaceOf({ number, from, to }: MoveRecord, tenant: Tenant): boolean {
  const at = placeOf({ ...tenant });
  return number === tenant.number && !tenant.prefix && [from, to].some((place) => isSamePlace(place, at));
}

async function boundaries(
  pd: Endpoint,
  tenants: readonly Registered[],
  targets: readonly Registered[],
): Promise<Finding[]> {
  if (tenants.length === 0)
    return [
      wrong('NO_TENANTS', 'PD knows no tenants', 'add them: tidb-mesh tenants add --all --config FILE'),
    ];
  const places = targets.map((target) => ({ ...target, name: `the place that ${target.name} is moved to` }));
  const all = [...tenants, ...places];
  const missing = await missingBoundaries(pd, all);
  if (missing.length === 0)
    return [
      ok(
        'TENANTS',
        `${tenants.length} ${tenants.length === 1 ? 'tenant' : 'tenants'}, regions are split at all boundaries`,
      ),
    ];
  return missing.map(({ tenant, which, region }) => {
    const neighbours = all
      .filter((other) => other.name !== tenant)
      .filter((other) => {
        const mine = all.find(({ name }) => name === tenant);
        return mine && (which === 'first' ? other.end.equals(mine.start) : other.start.equals(mine.end));
      })
      .map(({ name }) => name);
    const whose = [tenant, ...neighbours].join(' and ');
    return wrong(
      'BOUNDARY_MISSING',
      `region ${region} spans the ${which} boundary of ${tenant}: it holds keys of ${neighbours.length > 0 ? whose : `${tenant} and of others`}`,
      `wait for PD to split it; if it stays: see that region ${region} has a leader and that PD's schedulers are not halted. Until then requests that act on a whole region are turned away`,
    );
  });
}

function overlaps(tenants: readonly Registered[]): Finding[] {
  const findings: Finding[] = [];
  for (const [i, a] of tenants.entries())
    for (const b of tenants.slice(i + 1)) {
      // A tenant and the place that it is moved to.
      if (a.name === b.name) continue;
      if (a.number !== undefined && a.number === b.number)
        findings.push(
          wrong(
            'NUMBER_TWICE',
            `${a.name} and ${b.name} both have number ${a.number}`,
            "remove the one that is not in the pluginConfig: tidb-mesh tenants remove NAME, which leaves the other's keys",
          ),
        );
      else if (meet(a, b))
        findings.push(
          wrong(
            'KEYS_OVERLAP',
            `the key ranges of ${a.name} and ${b.name} overlap`,
            "remove the one that is not in the pluginConfig: tidb-mesh tenants remove NAME, which leaves the other's keys",
          ),
        );
    }
  return findings;
}

function configuration(
  tenants: readonly Registered[],
  configured: readonly Tenant[],
  moving: readonly MoveRecord[],
): Finding[] {
  const findings: Finding[] = [];
  for (const tenant of configured) {
    const move = moving.find((record) => record.tenant === tenant.name);
    if (move && isAtAPlaceOf(move, tenant)) continue;
    const rule = tenants.find(({ name }) => name === tenant.name);
    const against = conflict(tenant, tenants);
    if (against !== undefined)
      findings.push(
        wrong(
          'CONFIG_DIFFERS',
          `the pluginConfig and PD differ: ${against.what}`,
          move
            ? `see where it is, and correct the pluginConfig: tidb-mesh move show ${tenant.name}`
            : 'correct the pluginConfig',
        ),
      );
    else if (!rule)
      findings.push(
        wrong(
          'CONFIG_UNKNOWN_TENANT',
          `${tenant.name} is in the pluginConfig, but PD does not know it: regions are not split at its boundaries`,
          `tidb-mesh tenants add ${tenant.name} --config FILE; with --with-data if it has run already`,
        ),
      );
  }
  for (const { name } of tenants)
    if (!configured.some((tenant) => tenant.name === name))
      findings.push(
        wrong(
          'CONFIG_LACKS_TENANT',
          `PD knows ${name}, which the pluginConfig does not list`,
          `list it, or: tidb-mesh tenants remove ${name}`,
        ),
      );
  return findings.length > 0 ? findings : [ok('CONFIG', 'the pluginConfig lists the tenants that PD knows')];
}

/** Compares the tenants whose `default` is their own with the resource groups that PD has. */
export function limits(configured: readonly Tenant[], groups: ReadonlyMap<number, RequestUnits>): Finding[] {
  const findings: Finding[] = [];
  for (const { name, number, ownDefaultGroup = false } of configured) {
    const units = groups.get(number);
    if (ownDefaultGroup && units === undefined)
      findings.push(
        wrong(
          'DEFAULT_GROUP_MISSING',
          `${name} has ownDefaultGroup, but PD has no resource group ${defaultGroupOf(number)}: none of its TiDBs starts`,
          `make the group: tidb-mesh tenants add ${name}`,
        ),
      );
    const text = units && requestUnitsText(units);
    if (!ownDefaultGroup && text !== undefined && text !== '-')
      findings.push(
        warning(
          'LIMIT_NOT_IN_USE',
          `${name} has a limit (${text}), but no ownDefaultGroup in the pluginConfig: nothing enforces it`,
          `add "ownDefaultGroup": true to ${name} in the pluginConfig, apply it, and then: tidb-mesh tenants set ${name}`,
        ),
      );
  }
  return findings;
}

function describe({ kind, tenant, id, since }: Holder): string {
  if (kind === 'move') return `the move or import of tenant ${String(tenant)}, ${ageText(since)} back`;
  if (kind === 'diff') return `a comparison of the move of tenant ${String(tenant)}, ${ageText(since)} back`;
  const whose = tenant === undefined ? "of the storage layer's own" : `of tenant ${tenant}`;
  return kind === 'service'
    ? `service ${id} ${whose}, ${ageText(since)} back`
    : `the oldest transaction of TiDB ${id} ${whose}, ${ageText(since)} old`;
}

function remedyFor({ kind, tenant, id }: Holder): string {
  // Whoever deletes the safe point of a move loses its way back, or its copy.
  if (kind === 'move')
    return `see what it waits for: tidb-mesh move doctor ${String(tenant)}; it ends by: tidb-mesh move complete ${String(tenant)}, or: tidb-mesh move cancel ${String(tenant)}`;
  if (kind === 'diff')
    return 'end that `tidb-mesh move diff`, or the command with --verify; without it, this ends by itself after five minutes';
  if (kind === 'transaction')
    return `end that transaction in its TiDB${tenant === undefined ? '' : ` (tenant ${tenant})`}: SHOW PROCESSLIST, then KILL`;
  const full = tenant === undefined ? id : `tidb-mesh:${tenant}:${id}`;
  return `end that backup or changefeed${tenant === undefined ? '' : ` (tenant ${tenant})`}; if it is gone already: curl -X DELETE <PD>/pd/api/v1/gc/safepoint/${encodeURIComponent(full)}`;
}

async function garbageCollection(pd: Endpoint, maxAgeSeconds: number): Promise<Finding[]> {
  const now = Date.now();
  const [{ safePoint }, holding] = await Promise.all([safePoints(pd), holders(pd, now)]);
  const findings: Finding[] = [];
  const tooOld = (since: number): boolean => now - since > maxAgeSeconds * 1000;
  for (const holder of holding) {
    const what = `holds garbage collection back: ${describe(holder)}`;
    if (tooOld(holder.since)) findings.push(wrong('GC_HOLDER', what, remedyFor(holder)));
    else if (holder.kind === 'transaction' && !holder.expires)
      findings.push(
        wrong(
          'GC_HOLDER_WITHOUT_LEASE',
          `${what}; its entry has no lease`,
          "it stays when its TiDB is gone: delete the key from PD's etcd",
        ),
      );
    else findings.push(ok('GC_HOLDER', what));
  }
  if (safePoint === 0n) findings.push(beforeFirstRound(await firstRound(pd), now));
  else {
    const since = millisOf(safePoint);
    const what = `PD's safe point is ${ageText(since, now)} old`;
    const blamed = holding.some((holder) => tooOld(holder.since));
    findings.push(
      tooOld(since)
        ? wrong(
            'GC_SAFE_POINT',
            what,
            blamed
              ? 'see who holds it back, above'
              : "nobody holds it back: see that the storage layer's own TiDB runs, and its log for gc_worker",
          )
        : ok('GC_SAFE_POINT', what),
    );
  }
  return findings;
}

const RUN_ONE = "run one TiDB of the storage layer's own, which collects garbage for all";

/** Judges a safe point that has never moved: it does not before the first round. `now` is in ms. */
export function beforeFirstRound({ bootstrapped, collecting }: FirstRound, now: number): Finding {
  if (collecting === undefined) {
    const what = "no TiDB of the storage layer's own runs: nobody collects garbage";
    const judge = now < bootstrapped + FIRST_ROUND_MS ? warning : wrong;
    return judge('GC_NO_COLLECTOR', what, RUN_ONE);
  }
  const due = collecting + FIRST_ROUND_MS;
  if (now < due)
    return ok(
      'GC_FIRST_ROUND',
      `no garbage collection has run yet; the first round is due within ${ageText(now, due)}`,
    );
  return wrong(
    'GC_FIRST_ROUND',
    `PD's safe point has never moved, and the first round was due ${ageText(due, now)} ago`,
    "see the log of the storage layer's own TiDB for gc_worker, and its tidb_gc_enable and tidb_gc_run_interval",
  );
}
