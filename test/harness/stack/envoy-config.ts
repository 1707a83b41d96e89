import { rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { discoveredFilter, wasmFilter } from '../../../src-ts/manifests/filters.ts';
import type { Address } from '../../../src-ts/standalone/address.ts';
import {
  API,
  bootstrap,
  type Cluster,
  type FilterChain,
  type HttpFilter,
  type Listener,
} from '../../../src-ts/standalone/bootstrap.ts';
import { discoveryFile } from '../../../src-ts/standalone/filter.ts';
import { DEFAULT_LIMITS, type Member } from '../../../src-ts/standalone/mesh.ts';
import { fileSource, tlsOf } from '../../../src-ts/standalone/tls.ts';
import type { CertFiles } from './certs.ts';

/** The filter as it stands in the listeners. */
export interface FilterOptions {
  /** The wasm module's file. */
  wasmPath: string;
  /** The filter's own configuration, see docs. */
  pluginConfig: unknown;
  /**
   * A file that the filter's configuration is taken from and watched in (ECDS), see `watchedFilter`; it changes under open streams, as
   * a WasmPlugin of Istio does. Envoy then needs a node's name.
   */
  discovery?: string;
  /** HTTP filters that stand before it. */
  before?: readonly HttpFilter[];
  /** Whether Envoy starts a module again that has trapped. Default true. */
  isReloaded?: boolean;
}

export interface EnvoyOptions {
  /** Where Envoy listens. Default 127.0.0.1. */
  listen?: string;
  /** One listener for each member of PD. */
  ports: { pd: number | readonly number[]; store: number; admin: number };
  /** Where the servers behind Envoy listen, on 127.0.0.1. */
  upstream: { pd: number | readonly number[]; store: number };
  certs: CertFiles;
  accessLog: string;
  /** Absent: Envoy passes everything on untouched. */
  filter?: FilterOptions;
  /** Storage layers that serve tenants of this one by now. */
  others?: readonly OtherStorage[];
  /** Envoy's node, as an injector of sidecars would fill it in. */
  node?: object;
}

/** The listeners of another stack's PDs, and the certificate that this one's Envoy shows there. */
export interface OtherStorage {
  readonly name: string;
  readonly pd: number | readonly number[];
  readonly certs: CertFiles;
  /** The folder of the certificate's `secretFiles`. */
  readonly folder: string;
}

const HOST = '127.0.0.1';

/**
 * Envoy's configuration as `tidb-mesh render` makes it, and what is for tests only: PD and the store have no TLS of their own, so Envoy
 * calls them in plaintext; and PD, which dials its own advertised address, gets a plaintext chain without the filter.
 */
export function envoyBootstrap(options: EnvoyOptions): object {
  const { ports, upstream, certs, filter } = options;
  const servers = [upstream.pd].flat();
  const made = bootstrap({
    pd: [ports.pd].flat().map((port, i) => member(port, servers[i] ?? 0)),
    tikv: [member(ports.store, upstream.store)],
    listen: options.listen ?? HOST,
    admin: ports.admin,
    accessLog: options.accessLog,
    limits: DEFAULT_LIMITS,
    tls: tlsOf({ ca: certs.ca, certificate: certs.cert, key: certs.key }, dirname(certs.ca)),
    others: (options.others ?? []).map(({ name, pd, certs: { ca, cert, key }, folder }) => ({
      name,
      pd: [pd].flat().map(address),
      tls: tlsOf({ ca, certificate: cert, key }, folder),
    })),
    filters: filter ? [...(filter.before ?? []), filterOf(filter)] : [],
  });
  const { listeners, clusters } = made.static_resources;
  return {
    ...made,
    ...(options.node ? { node: options.node } : {}),
    static_resources: {
      listeners: listeners.map(withPlaintext),
      clusters: clusters.map((one) => (one.name.startsWith('storage_') ? one : withoutTls(one))),
    },
  };
}

function member(listener: number, server: number): Member {
  return { advertise: address(listener), server: address(server) };
}

function address(port: number): Address {
  return { host: HOST, port, isIp: true };
}

/** A second chain on the same port, without TLS and without the filter. */
function withPlaintext(listener: Listener): object {
  const inspector = `${API}.filters.listener.tls_inspector.v3.TlsInspector`;
  return {
    ...listener,
    listener_filters: [
      { name: 'envoy.filters.listener.tls_inspector', typed_config: { '@type': inspector } },
    ],
    filter_chains: listener.filter_chains.flatMap((chain) => [
      { ...chain, filter_chain_match: { transport_protocol: 'tls' } },
      plaintext(chain),
    ]),
  };
}

function plaintext({ name, filters }: FilterChain): object {
  return {
    name: `${name}_plaintext`,
    filter_chain_match: { transport_protocol: 'raw_buffer' },
    filters: filters.map((filter) => ({
      ...filter,
      typed_config: {
        ...filter.typed_config,
        stat_prefix: `${name}_plaintext`,
        http_filters: filter.typed_config.http_filters.slice(-1),
      },
    })),
  };
}

function withoutTls(cluster: Cluster): object {
  const plain: Record<string, unknown> = { ...cluster };
  delete plain['transport_socket'];
  delete plain['transport_socket_matches'];
  return plain;
}

/** What the file of `discovery` must hold. */
function inFile(filter: FilterOptions): object {
  return discoveryFile(inline(filter));
}

/** The filter with its configuration in a file, and what replaces that configuration. Envoy watches for a file being moved into place. */
export function watchedFilter(
  plain: FilterOptions,
  discovery: string,
): { filter: FilterOptions; configure: (pluginConfig: unknown) => Promise<void> } {
  const filter = { ...plain, discovery };
  return {
    filter,
    async configure(pluginConfig) {
      await writeFile(`${discovery}.new`, JSON.stringify(inFile({ ...filter, pluginConfig })));
      await rename(`${discovery}.new`, discovery);
    },
  };
}

function filterOf(filter: FilterOptions): HttpFilter {
  const { discovery } = filter;
  return discovery === undefined ? inline(filter) : discoveredFilter(fileSource(discovery));
}

function inline({ pluginConfig, wasmPath, isReloaded = true }: FilterOptions): {
  name: string;
  typed_config: object;
} {
  return wasmFilter(JSON.stringify(pluginConfig), { filename: wasmPath }, isReloaded);
}
