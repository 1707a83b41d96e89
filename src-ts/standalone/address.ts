/** Addresses of servers and listeners. */
import { isIP } from 'node:net';
import { fail } from '../manifests/mesh-file.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
  /** False for a name. */
  readonly isIp: boolean;
}

const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)):(\d{1,5})$/;

/** Reads `host:port`. @throws MeshFileError */
export function readAddress(value: unknown, where: string): Address {
  const [, ip6, name, , digits] = ADDRESS.exec(typeof value === 'string' ? value : '') ?? [];
  const host = ip6 ?? name;
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65_535 || (ip6 !== undefined && isIP(ip6) !== 6))
    fail(where, 'must be an address like pd-0.example.com:2379, without a scheme');
  return { host: host.toLowerCase(), port, isIp: isIP(host) !== 0 };
}

export function addressText({ host, port }: Address): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}
