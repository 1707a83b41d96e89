/** The mesh file without Istio (`target: envoy`): storage layers, their listeners and certificates, and who may call. */
import { posix } from 'node:path';
import { parseDocument } from 'yaml';
import { DNS_LABEL, fail, list, mustBeObjects, record, text, valueOf } from '../manifests/mesh-file.ts';
import { NAMED_FIELDS, readNamed } from '../storages/named.ts';
import type { NamedStorage, PlacedConfig } from '../storages/placed.ts';
import { mustBePlaced } from '../storages/unambiguous.ts';
import { readAddress, type Address } from './address.ts';
import { mustBeUnambiguous } from './unambiguous.ts';

/** The `accessLog` that is Envoy's standard output. */
export const STDOUT = 'stdout';

/** The `target` of a mesh file without Istio. */
export const ENVOY = 'envoy';

/** A PD or a TiKV. */
export interface Member {
  /** What clients are told: a listener of Envoy. */
  readonly advertise: Address;
  /** Where the server itself listens. */
  readonly server: Address;
}

export interface Storage extends NamedStorage {
  readonly pd: readonly Member[];
  readonly tikv: readonly Member[];
  /** The port of Envoy's admin interface, on the loopback address. */
  readonly admin: number;
}

export interface CertificateFiles {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** Secrets that an agent such as SPIRE's delivers over a Unix socket. */
export interface SecretService {
  readonly socket: string;
  /** The names of the secrets. */
  readonly certificate: string;
  readonly authority: string;
}

export type Certificates = CertificateFiles | { readonly sds: SecretService };

export interface ProxyLimits {
  /** Connections of clients to one Envoy. */
  readonly connections: number;
  /** Streams that one connection may have open. */
  readonly streamsPerConnection: number;
  /** Envoy's heap without the filter's: beyond it new requests get 503. */
  readonly heapBytes: number;
}

export interface EnvoyMesh {
  readonly target: typeof ENVOY;
  /** Where the rendered files are on Envoy's machine: `<folder>/<storage>/envoy.yaml`. */
  readonly folder: string;
  /** The address that Envoy listens on. */
  readonly listen: string;
  /** `stdout`, or an absolute path. */
  readonly accessLog: string;
  /** The namespace of the Kubernetes example. */
  readonly namespace: string;
  readonly certificates: Certificates;
  readonly limits: ProxyLimits;
  readonly storages: readonly Storage[];
  readonly pluginConfig: PlacedConfig;
}

const FIELDS = [
  'target',
  'folder',
  'listen',
  'accessLog',
  'namespace',
  'certificates',
  'limits',
  'storages',
  'pluginConfig',
];
const PATH = /^\/[^\s*]*[^\s*/]$/;
const LOG = /^(stdout|\/[^\s*]*[^\s*/])$/;
const ANY_TEXT = /^\S+$/;
const DEFAULT_FOLDER = '/etc/tidb-mesh';
/** As cert-manager and Kubernetes name them. */
const DEFAULT_CERTIFICATES = {
  ca: `${DEFAULT_FOLDER}/certs/ca.crt`,
  certificate: `${DEFAULT_FOLDER}/certs/tls.crt`,
  key: `${DEFAULT_FOLDER}/certs/tls.key`,
};
const DEFAULT_ADMIN = 9901;
const GIB = 1024 ** 3;
export const DEFAULT_LIMITS: ProxyLimits = {
  connections: 10_000,
  streamsPerConnection: 10_000,
  heapBytes: 2 * GIB,
};
const PLAINTEXT = ['plaintext', 'tls', 'insecure'];

/** True for a mesh file without Istio. */
export function isEnvoyMesh(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'target' in value && value.target === ENVOY;
}

/** The storages to which this one's Envoys can hand tenants over. They know them all before, since a route needs a start of Envoy. */
export function othersOf({ storages }: EnvoyMesh, { name, principal }: Storage): readonly Storage[] {
  return principal === undefined ? [] : storages.filter((other) => other.name !== name);
}

/** Reads a mesh file without checking what the filter checks. @throws MeshFileError */
export function readEnvoyMesh(source: string): EnvoyMesh {
  const root = record(valueOf(parseDocument(source, { merge: true })), 'mesh file', FIELDS);
  const mesh: EnvoyMesh = {
    target: ENVOY,
    folder: text(root['folder'], 'folder', PATH, 'an absolute path', DEFAULT_FOLDER),
    listen: text(root['listen'], 'listen', ANY_TEXT, 'an address of the machine', '0.0.0.0'),
    accessLog: text(root['accessLog'], 'accessLog', LOG, 'stdout or an absolute path', STDOUT),
    namespace: text(root['namespace'], 'namespace', DNS_LABEL, 'the name of a namespace', 'tidb-mesh'),
    certificates: certificates(root['certificates']),
    limits: limits(root['limits']),
    storages: list(root['storages'], 'storages').map((one, i) => storage(one, `storages[${i}]`)),
    pluginConfig: pluginConfig(root['pluginConfig']),
  };
  mustBeUnambiguous(mesh);
  mustBePlaced(mesh);
  return mesh;
}

function whole(value: unknown, where: string, least: number, most: number, byDefault: number): number {
  if (value === undefined) return byDefault;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
    fail(where, `must be a whole number from ${least} to ${most}`);
  return value;
}

function limits(value: unknown = {}): ProxyLimits {
  const { connections, streamsPerConnection, heapBytes } = record(
    value,
    'limits',
    Object.keys(DEFAULT_LIMITS),
  );
  return {
    connections: whole(connections, 'limits.connections', 1, 1_000_000, DEFAULT_LIMITS.connections),
    streamsPerConnection: whole(
      streamsPerConnection,
      'limits.streamsPerConnection',
      100,
      1_000_000,
      DEFAULT_LIMITS.streamsPerConnection,
    ),
    heapBytes: whole(heapBytes, 'limits.heapBytes', GIB / 16, 1024 * GIB, DEFAULT_LIMITS.heapBytes),
  };
}

function certificates(value: unknown = {}): Certificates {
  noPlaintext(value, 'certificates');
  const given = record(value, 'certificates', ['ca', 'certificate', 'key', 'sds']);
  if (given['sds'] === undefined) {
    const file = (name: keyof CertificateFiles): string =>
      text(given[name], `certificates.${name}`, PATH, 'an absolute path', DEFAULT_CERTIFICATES[name]);
    const files = { ca: file('ca'), certificate: file('certificate'), key: file('key') };
    if (new Set(Object.values(files).map((path) => posix.dirname(path))).size > 1)
      fail('certificates', 'must be in one folder, which Envoy watches');
    return files;
  }
  if (Object.keys(given).length > 1) fail('certificates', 'come from files or from "sds", not from both');
  const sds = record(given['sds'], 'certificates.sds', ['socket', 'certificate', 'authority']);
  const secret = (name: string): string =>
    text(sds[name], `certificates.sds.${name}`, ANY_TEXT, 'the name of a secret');
  return {
    sds: {
      socket: text(sds['socket'], 'certificates.sds.socket', PATH, 'the absolute path of a Unix socket'),
      certificate: secret('certificate'),
      authority: secret('authority'),
    },
  };
}

/** Somebody who asks for plaintext learns why there is none. */
function noPlaintext(value: unknown, where: string): void {
  const asked =
    value === false
      ? where
      : PLAINTEXT.filter((name) => typeof value === 'object' && value !== null && name in value).map(
          (name) => `${where}.${name}`,
        )[0];
  if (asked !== undefined)
    fail(asked, 'there is no plaintext: the certificate alone identifies a caller, so TLS is always on');
}

function storage(value: unknown, where: string): Storage {
  noPlaintext(value, where);
  const given = record(value, where, [...NAMED_FIELDS, 'pd', 'tikv', 'admin']);
  const members = (kind: 'pd' | 'tikv'): Member[] =>
    list(given[kind], `${where}.${kind}`).map((one, i) => member(one, `${where}.${kind}[${i}]`));
  return {
    ...readNamed(given, where),
    pd: members('pd'),
    tikv: members('tikv'),
    admin: whole(given['admin'], `${where}.admin`, 1, 65_535, DEFAULT_ADMIN),
  };
}

function member(value: unknown, where: string): Member {
  noPlaintext(value, where);
  const { advertise, server } = record(value, where, ['advertise', 'server']);
  return {
    advertise: readAddress(advertise, `${where}.advertise`),
    server: readAddress(server, `${where}.server`),
  };
}

function pluginConfig(value: unknown): EnvoyMesh['pluginConfig'] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail('pluginConfig', 'must be an object: who may call, and which tenant they are');
  const config = value as EnvoyMesh['pluginConfig'];
  if ('pd' in config) fail('pluginConfig.pd', 'follows from "storages": leave it out here');
  if (config.rules === undefined)
    fail('pluginConfig.rules', 'is missing: without Istio, no certificate says by itself whose it is');
  if (config.requirePrincipal === false)
    fail('pluginConfig.requirePrincipal', 'must stay true: in front of PD and TiKV nobody is believed');
  mustBeObjects(config.tenants, 'pluginConfig.tenants');
  mustBeObjects(config.rules, 'pluginConfig.rules');
  for (const [i, { principal }] of config.rules.entries())
    if (principal !== undefined && typeof principal !== 'string')
      fail(`pluginConfig.rules[${i}].principal`, 'must be a text');
  return config;
}
