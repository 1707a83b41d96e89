/** Refuses a mesh file without Istio that says two things about one address or server. */
import { fail } from '../manifests/mesh-file.ts';
import { addressText } from './address.ts';
import type { EnvoyMesh, Member, Storage } from './mesh.ts';

const ALL_ADDRESSES: readonly string[] = ['0.0.0.0', '::'];
const LOOPBACK = /^(127\.|localhost$|::1$)/;

/** @throws MeshFileError */
export function mustBeUnambiguous(mesh: EnvoyMesh): void {
  for (const [i, one] of mesh.storages.entries()) listenersFit(one, `storages[${i}]`, mesh.listen);
  sharedByNone(mesh.storages);
}

interface Placed {
  readonly member: Member;
  readonly where: string;
}

/** All PDs and TiKVs of a storage, each with its place in the file. */
function membersOf(one: Storage, where: string): Placed[] {
  const placed = (kind: 'pd' | 'tikv'): Placed[] =>
    one[kind].map((member, i) => ({ member, where: `${where}.${kind}[${i}]` }));
  return [...placed('pd'), ...placed('tikv')];
}

/** Every advertised address must be a listener of this storage's Envoy, and lead to another address. */
function listenersFit(one: Storage, where: string, listen: string): void {
  const owners = new Map([[one.admin, `${where}.admin`]]);
  const isEverywhere = ALL_ADDRESSES.includes(listen);
  const placed = membersOf(one, where);
  for (const { member, where: place } of placed) {
    const { advertise } = member;
    const here = `${place}.advertise`;
    const owner = owners.get(advertise.port);
    if (owner !== undefined) fail(here, `port ${advertise.port} is taken by ${owner}: give each its own`);
    owners.set(advertise.port, here);
    if (ALL_ADDRESSES.includes(advertise.host))
      fail(here, `"${advertise.host}" is no address that a client can call`);
    if (advertise.isIp && !isEverywhere && advertise.host !== listen)
      fail(here, `${addressText(advertise)} is no listener: Envoy listens on ${listen} only`);
  }
  for (const { member, where: place } of placed) {
    const { server, advertise } = member;
    const here = `${place}.server`;
    if (addressText(server) === addressText(advertise))
      fail(here, `is the advertised address itself: Envoy would call itself`);
    const owner = owners.get(server.port);
    const isOnThisMachine = LOOPBACK.test(server.host) && (isEverywhere || LOOPBACK.test(listen));
    if (owner !== undefined && (server.host === listen || isOnThisMachine))
      fail(here, `${addressText(server)} is taken by ${owner}: give the server another port`);
  }
}

/** A server belongs to one storage, and once. */
function sharedByNone(storages: readonly Storage[]): void {
  const owners = new Map<string, string>();
  for (const [i, one] of storages.entries())
    for (const { member, where } of membersOf(one, `storages[${i}]`))
      for (const field of ['advertise', 'server'] as const) {
        const address = addressText(member[field]);
        const key = `${field} ${address}`;
        const owner = owners.get(key);
        if (owner !== undefined) fail(`${where}.${field}`, `${address} belongs to ${owner}`);
        owners.set(key, where);
      }
}
