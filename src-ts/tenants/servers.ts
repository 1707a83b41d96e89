/** The servers of a storage layer in front of which a filter must run. */
import { keyStores, members } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';

/**
 * Stores and members of PD of which none of these addresses is an advertised one; their filters are not asked. TiFlash serves no tenants.
 * @param hosts `host:port` of the Envoys that are
 */
export async function unheardServers(pd: Endpoint, hosts: readonly string[]): Promise<string[]> {
  const heard = new Set(hosts);
  const [all, pds] = await Promise.all([keyStores(pd), members(pd)]);
  const servers = [...all.map(({ address }) => [address]), ...pds.map(({ addresses }) => addresses)];
  return servers
    .filter((addresses) => !addresses.some((address) => heard.has(address)))
    .map((addresses) => addresses.join(' or '));
}
