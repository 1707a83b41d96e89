/** Reads the tenants of a pluginConfig. */
import { readTenant, type Tenant } from './tenant.ts';

/**
 * The tenants in the JSON text of a pluginConfig.
 * @throws Error that names the place and the reason
 */
export function tenantsIn(text: string): Tenant[] {
  const { tenants } = (JSON.parse(text) ?? {}) as { tenants?: unknown };
  if (!Array.isArray(tenants)) throw new Error('holds no "tenants"');
  const read = tenants.map((value, i) => readTenant(value, `tenants[${i}]`));
  for (const [i, { name, number }] of read.entries()) {
    const twin = read.findIndex((other) => other.name === name || other.number === number);
    if (twin !== i) throw new Error(`tenants[${i}] has the name or the number of tenants[${twin}]`);
  }
  return read;
}
