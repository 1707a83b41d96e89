/** Compares the boundaries of tenants with those of regions. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Endpoint } from '../pd/endpoint.ts';
import { regionsIn, type Region } from '../pd/regions.ts';
import type { Registered } from './registry.ts';

const PAUSE_MS = 200;

/** A boundary inside a region. */
export interface MissingBoundary {
  readonly tenant: string;
  readonly which: 'first' | 'last';
  /** The region that spans it. */
  readonly region: number;
}

async function regionOver(pd: Endpoint, boundary: Buffer): Promise<Region | undefined> {
  const [region] = await regionsIn(pd, boundary, Buffer.concat([boundary, Buffer.from([0])]));
  return region && !region.start.equals(boundary) ? region : undefined;
}

/** Finds the boundaries of these tenants at which PD has not split. */
export async function missingBoundaries(
  pd: Endpoint,
  tenants: readonly Pick<Registered, 'name' | 'start' | 'end'>[],
): Promise<MissingBoundary[]> {
  const missing: MissingBoundary[] = [];
  for (const { name, start, end } of tenants)
    for (const [which, boundary] of [
      ['first', start],
      ['last', end],
    ] as const) {
      // The store's own first and last boundary always exist.
      const region = boundary.length === 0 ? undefined : await regionOver(pd, boundary);
      if (region) missing.push({ tenant: name, which, region: region.id });
    }
  return missing;
}

/**
 * Waits until PD has split at all boundaries of these tenants.
 * @param tell is called with the number of missing ones whenever it changes
 * @returns those that are missing at the timeout
 */
export async function waitForBoundaries(
  pd: Endpoint,
  tenants: readonly Pick<Registered, 'name' | 'start' | 'end'>[],
  timeoutMs: number,
  tell: (missing: number) => void = () => undefined,
): Promise<MissingBoundary[]> {
  const deadline = Date.now() + timeoutMs;
  let told = -1;
  for (;;) {
    const missing = await missingBoundaries(pd, tenants);
    if (missing.length === 0 || Date.now() > deadline) return missing;
    if (missing.length !== told) tell(missing.length);
    told = missing.length;
    await sleep(PAUSE_MS);
  }
}
