/** The storage layer's labels and ports, as TiDB Operator makes them. */
import type { PdConfig } from '../config/types.ts';
import type { MeshFile } from './mesh-file.ts';
import { podLabels } from './operator.ts';

export type KubeObject = Record<string, unknown>;
export type Component = 'pd' | 'tikv';

export interface FilteredPort {
  readonly component: Component;
  readonly number: number;
  /** The protocol that Istio is told. PD's port serves HTTP/1.1 and gRPC; declared GRPC, its HTTP API would break. */
  readonly protocol: 'HTTP' | 'GRPC';
}

/** The ports that tenants use. The filter is in front of each. */
export const FILTERED_PORTS: readonly FilteredPort[] = [
  { component: 'pd', number: 2379, protocol: 'HTTP' },
  { component: 'tikv', number: 20160, protocol: 'GRPC' },
];

/** Selects the pods of a component of the storage layer. */
export function labelsOf({ operator, storage }: MeshFile, component: Component): Record<string, string> {
  return podLabels(operator, storage.cluster, component);
}

/** The Service of a storage layer's PD. */
const pdService = ({ namespace, cluster }: MeshFile['storage']): string => `${cluster}-pd.${namespace}.svc`;

/** The cluster by which a sidecar reaches the PD of a storage layer. */
export const pdCluster = (storage: MeshFile['storage'], clusterDomain: string): string =>
  `outbound|2379||${pdService(storage)}.${clusterDomain}`;

/** The filter reaches PD's HTTP API through its pod's own outbound cluster, so with mTLS. */
export function pdOf({ storage, clusterDomain }: MeshFile): PdConfig {
  return { cluster: pdCluster(storage, clusterDomain), authority: `${pdService(storage)}:2379` };
}
