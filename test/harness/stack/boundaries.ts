/** Makes PD split regions at the boundaries of the tenants, as `tidb-mesh tenants add` does, past the filter. */
import { Endpoint } from '../../../src-ts/pd/endpoint.ts';
import { addTenant } from '../../../src-ts/tenants/add.ts';
import type { Tenant } from '../../../src-ts/tenants/tenant.ts';

/**
 * Adds each tenant that is not there yet and waits until PD shows its boundaries.
 * @throws Refusal when PD has not split within a minute
 */
export async function setBoundaries(pdUrl: string, tenants: readonly Tenant[]): Promise<void> {
  const pd = new Endpoint({ pd: pdUrl });
  try {
    for (const tenant of tenants) await addTenant(pd, tenant, { withData: true, tell: () => undefined });
  } finally {
    pd.close();
  }
}
