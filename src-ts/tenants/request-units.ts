/**
 * The limits of tenants: PD keeps the resource group `default` of tenant 7 as `7:default`. With `ownDefaultGroup` in the pluginConfig, the
 * filter gives it to the tenant as its `default`, which the tenant cannot change.
 */
import {
  changeResourceGroup,
  deleteResourceGroup,
  putResourceGroup,
  resourceGroups,
  type ResourceGroup,
} from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';

/** GroupMode.RUMode */
const RU_MODE = 1;
/** What PD and TiDB take for no limit. */
const UNLIMITED = 2 ** 31 - 1;
const NO_BURST_LIMIT = -1;

/** The most request units a second that can be a limit. */
export const MAX_RU = UNLIMITED - 1;

/** TiDB's words for PD's numbers (pkg/parser/model: low, medium and high priority). */
export const PRIORITIES = { low: 1, medium: 8, high: 16 } as const;
export type Priority = keyof typeof PRIORITIES;

export interface RequestUnits {
  /** Request units a second; undefined without a limit. */
  readonly ru: number | undefined;
  /** It may take more than that while nothing else needs it. */
  readonly burst: boolean;
  readonly priority: Priority | number;
}

/** What to change. What is left out stays; a new rate ends bursts that are not asked for anew. */
export interface RequestUnitsChange {
  readonly ru?: number | 'unlimited' | undefined;
  readonly burst?: boolean | undefined;
  readonly priority?: Priority | undefined;
}

/** The name of a tenant's `default` in PD. */
export function defaultGroupOf(number: number): string {
  return `${number}:default`;
}

function groupOf(number: number, rate: number, burst: number, priority: number): ResourceGroup {
  return {
    name: defaultGroupOf(number),
    mode: RU_MODE,
    r_u_settings: { r_u: { settings: { fill_rate: rate, burst_limit: burst } } },
    priority,
  };
}

function settingsOf(group: ResourceGroup): { rate: number; burst: number; priority: number } {
  const { fill_rate: rate, burst_limit: burst } = group.r_u_settings?.r_u?.settings ?? {};
  return { rate: Number(rate ?? 0), burst: Number(burst ?? 0), priority: group.priority ?? 0 };
}

/** Says what a group limits. */
export function requestUnitsOf(group: ResourceGroup): RequestUnits {
  const { rate, burst, priority } = settingsOf(group);
  const [word] = Object.entries(PRIORITIES).find(([, value]) => value === priority) ?? [];
  return {
    ru: rate >= UNLIMITED ? undefined : rate,
    burst: burst < 0,
    priority: (word as Priority | undefined) ?? priority,
  };
}

/** Limits in a few words: `2000 RU/s, priority low`; `-` where nothing is limited. */
export function requestUnitsText({ ru, burst, priority }: RequestUnits): string {
  const rate = ru === undefined ? [] : [`${ru} RU/s${burst ? ' and more' : ''}`];
  const rank = priority === 'medium' ? [] : [`priority ${priority}`];
  return [...rate, ...rank].join(', ') || '-';
}

/** The limits of all tenants that have a `default` of their own, by number. */
export async function allRequestUnits(pd: Endpoint): Promise<Map<number, RequestUnits>> {
  const found = new Map<number, RequestUnits>();
  for (const group of await resourceGroups(pd)) {
    const [, number] = /^([1-9]\d*):default$/.exec(group.name) ?? [];
    if (number !== undefined) found.set(Number(number), requestUnitsOf(group));
  }
  return found;
}

/**
 * Makes a tenant's `default`, without a limit. One that is there stays, unless it is made anew.
 * Tenant 0 has PD's own.
 */
export async function makeDefaultGroup(
  pd: Endpoint,
  number: number,
  { anew }: { anew: boolean },
): Promise<void> {
  if (number === 0) return;
  const name = defaultGroupOf(number);
  if (!anew && (await resourceGroups(pd)).some((group) => group.name === name)) return;
  await putResourceGroup(pd, groupOf(number, UNLIMITED, NO_BURST_LIMIT, PRIORITIES.medium));
}

export async function removeDefaultGroup(pd: Endpoint, number: number): Promise<void> {
  const name = defaultGroupOf(number);
  if ((await resourceGroups(pd)).some((group) => group.name === name)) await deleteResourceGroup(pd, name);
}

/**
 * Changes a tenant's limits, and makes its `default` where it is missing.
 * @returns the limits that hold from now on
 */
export async function setRequestUnits(
  pd: Endpoint,
  number: number,
  change: RequestUnitsChange,
): Promise<RequestUnits> {
  await makeDefaultGroup(pd, number, { anew: false });
  const name = defaultGroupOf(number);
  const group =
    (await resourceGroups(pd)).find((candidate) => candidate.name === name) ??
    groupOf(number, UNLIMITED, NO_BURST_LIMIT, PRIORITIES.medium);
  const now = settingsOf(group);
  const rate = change.ru === undefined ? now.rate : change.ru === 'unlimited' ? UNLIMITED : change.ru;
  const keepsBurst = change.ru === undefined && change.burst === undefined;
  const bursts = rate >= UNLIMITED || (keepsBurst ? now.burst < 0 : change.burst === true);
  const priority = change.priority === undefined ? now.priority : PRIORITIES[change.priority];
  const changed = {
    ...groupOf(number, rate, bursts ? NO_BURST_LIMIT : rate, priority),
    // PD replaces these as well.
    ...(group.runaway_settings === undefined ? {} : { runaway_settings: group.runaway_settings }),
    ...(group.background_settings === undefined ? {} : { background_settings: group.background_settings }),
  };
  await changeResourceGroup(pd, changed);
  return requestUnitsOf(changed);
}
