/** Clusters for TiDB Operator: one storage layer, and for each tenant a TiDB that uses it. */
import { namespaceOf, serviceAccount, SIDECAR_ANNOTATIONS, type Example } from './example-parts.ts';
import { groupExamples } from './groups.ts';
import type { MeshFile } from './mesh-file.ts';
import type { KubeObject } from './storage.ts';

interface ExampleVersion {
  readonly folder: string;
  readonly tidb: string;
  /** The version of TiDB Operator that it is for. */
  readonly operator: string;
}

const VERSIONS: readonly ExampleVersion[] = [
  { folder: 'v8.5', tidb: 'v8.5.4', operator: 'TiDB Operator 1.6' },
  { folder: 'v5.2.1', tidb: 'v5.2.1', operator: 'TiDB Operator 1.2' },
];

function tidbCluster(namespace: string, name: string, spec: object): KubeObject {
  return { apiVersion: 'pingcap.com/v1alpha1', kind: 'TidbCluster', metadata: { namespace, name }, spec };
}

function common({ tidb }: ExampleVersion, account: string, annotations: object): object {
  return {
    version: tidb,
    timezone: 'UTC',
    configUpdateStrategy: 'RollingUpdate',
    pvReclaimPolicy: 'Retain',
    enableDynamicConfiguration: true,
    serviceAccount: account,
    annotations,
  };
}

/** PD and TiKV, and the one TiDB that collects garbage for all: a system principal, no tenant. */
function storageLayer({ storage }: MeshFile, version: ExampleVersion): KubeObject[] {
  const { namespace, cluster } = storage;
  return [
    namespaceOf(namespace),
    serviceAccount(namespace, cluster),
    tidbCluster(namespace, cluster, {
      ...common(version, cluster, SIDECAR_ANNOTATIONS.storage),
      pd: { baseImage: 'pingcap/pd', replicas: 3, requests: { storage: '10Gi' }, config: {} },
      tikv: { baseImage: 'pingcap/tikv', replicas: 3, requests: { storage: '100Gi' }, config: {} },
      tidb: { baseImage: 'pingcap/tidb', replicas: 1, service: { type: 'ClusterIP' }, config: {} },
    }),
  ];
}

/** A tenant: TiDB only, in its own namespace. The namespace's name is the tenant's. */
function tenantCluster({ storage }: MeshFile, tenant: string, version: ExampleVersion): KubeObject[] {
  const account = `${tenant}-tidb`;
  return [
    namespaceOf(tenant),
    serviceAccount(tenant, account),
    tidbCluster(tenant, tenant, {
      ...common(version, account, SIDECAR_ANNOTATIONS.tenant),
      cluster: { name: storage.cluster, namespace: storage.namespace },
      tidb: {
        baseImage: 'pingcap/tidb',
        replicas: 2,
        labels: { 'tidb-mesh.io/tenant': tenant },
        service: { type: 'ClusterIP' },
        config: {},
      },
    }),
  ];
}

function clusterExamples(mesh: MeshFile): Example[] {
  return VERSIONS.flatMap((version) => {
    const made = `For ${version.operator} and TiDB ${version.tidb}. Edit: replicas, storage, resources.`;
    return [
      {
        path: `${version.folder}/storage-layer.yaml`,
        header: ['The storage layer: PD, TiKV and the one TiDB that collects garbage for all tenants.', made],
        objects: storageLayer(mesh, version),
      },
      ...mesh.pluginConfig.tenants.map(({ name }) => ({
        path: `${version.folder}/${name}.yaml`,
        header: [`Tenant ${name}: TiDB only, on the storage layer. The namespace is the tenant.`, made],
        objects: tenantCluster(mesh, name, version),
      })),
    ];
  });
}

/** The examples for the mesh file's operator. */
export function examplesFor(mesh: MeshFile): Example[] {
  return mesh.operator === 'v2' ? groupExamples(mesh) : clusterExamples(mesh);
}
