/** Reads what every storage layer of a mesh file has. */
import { DNS_LABEL, fail, text } from '../manifests/mesh-file.ts';
import type { NamedStorage } from './placed.ts';

export const NAMED_FIELDS = ['name', 'principal', 'clusterId'];

const CLUSTER_ID = /^[1-9][0-9]{0,18}$/;
const PRINCIPAL = /^[a-z][a-z0-9+.-]*:\/\/[^\s{}]+$/;

/** @throws MeshFileError */
export function readNamed(given: Record<string, unknown>, where: string): NamedStorage {
  const { name, principal, clusterId } = given;
  return {
    name: text(name, `${where}.name`, DNS_LABEL, 'a name of a-z, 0-9 and -'),
    ...(principal === undefined ? {} : { principal: readPrincipal(principal, `${where}.principal`) }),
    ...(clusterId === undefined
      ? {}
      : {
          clusterId: text(clusterId, `${where}.clusterId`, CLUSTER_ID, "the id of PD's cluster, in quotes"),
        }),
  };
}

function readPrincipal(value: unknown, where: string): string {
  const principal = text(
    value,
    where,
    PRINCIPAL,
    'a principal like spiffe://example.com/ns/proxies/sa/first',
  );
  // All the tenants that move there trust whom it matches. The last part names the account.
  const [, , host = '', ...parts] = principal.split('/');
  if ([host, ...parts.slice(0, -1)].some((part) => part.includes('*')))
    fail(where, 'has * before its last part: name the Envoys, for they may act for tenants');
  return principal;
}
