/** Groups for TiDB Operator v2: one storage layer, and for each tenant a TiDBGroup in the same namespace. */
import { namespaceOf, serviceAccount, SIDECAR_ANNOTATIONS, type Example } from './example-parts.ts';
import type { MeshFile } from './mesh-file.ts';
import type { KubeObject } from './storage.ts';

const FOLDER = 'operator-v2';
const TIDB = 'v8.5.4';
const API = 'core.pingcap.com';
const ADMISSION = 'admissionregistration.k8s.io/v1';
/** All kinds whose pods take a service account from an overlay. */
const GROUPS = ['pd', 'tikv', 'tidb', 'tiflash', 'ticdc', 'tiproxy', 'tso', 'scheduling', 'scheduler'];

function of(namespace: string, kind: string, name: string, spec: object): KubeObject {
  return { apiVersion: `${API}/v1alpha1`, kind, metadata: { namespace, name }, spec };
}

interface GroupOptions {
  readonly replicas: number;
  readonly annotations: object;
  readonly labels?: Record<string, string>;
  /** What there is beside version, configuration and account. */
  readonly template?: object;
}

/** A group whose pods run as the service account of its own name. */
function group({ storage }: MeshFile, kind: string, name: string, options: GroupOptions): KubeObject {
  const { replicas, annotations, labels, template } = options;
  return of(storage.namespace, kind, name, {
    cluster: { name: storage.cluster },
    replicas,
    template: {
      metadata: { annotations, ...(labels ? { labels } : {}) },
      spec: {
        version: TIDB,
        ...template,
        overlay: { pod: { spec: { serviceAccountName: name } } },
      },
    },
  });
}

const dataOn = (storage: string): object => ({
  volumes: [{ name: 'data', mounts: [{ type: 'data' }], storage }],
});

/** PD and TiKV, and the one TiDB that collects garbage for all. All bear the cluster's name: PD's Service follows from it. */
function storageLayer(mesh: MeshFile): KubeObject[] {
  const { namespace, cluster } = mesh.storage;
  const annotations = SIDECAR_ANNOTATIONS.storage;
  return [
    namespaceOf(namespace),
    serviceAccount(namespace, cluster),
    of(namespace, 'Cluster', cluster, {}),
    group(mesh, 'PDGroup', cluster, { replicas: 3, annotations, template: dataOn('10Gi') }),
    group(mesh, 'TiKVGroup', cluster, { replicas: 3, annotations, template: dataOn('100Gi') }),
    group(mesh, 'TiDBGroup', cluster, { replicas: 1, annotations }),
  ];
}

/** A tenant: its account and a TiDBGroup, both of its name. */
function tenantGroup(mesh: MeshFile, tenant: string): KubeObject[] {
  return [
    serviceAccount(mesh.storage.namespace, tenant),
    group(mesh, 'TiDBGroup', tenant, {
      replicas: 2,
      annotations: SIDECAR_ANNOTATIONS.tenant,
      labels: { 'tidb-mesh.io/tenant': tenant },
    }),
  ];
}

/** Refuses a group that would run as another's account. Whoever may change one group then cannot become another tenant by it. */
function ownAccountsOnly({ storage }: MeshFile): KubeObject[] {
  const name = `tidb-mesh-accounts-${storage.namespace}`;
  const account = 'object.spec.template.spec.?overlay.?pod.?spec.?serviceAccountName.orValue("")';
  return [
    {
      apiVersion: ADMISSION,
      kind: 'ValidatingAdmissionPolicy',
      metadata: { name },
      spec: {
        failurePolicy: 'Fail',
        matchConstraints: {
          resourceRules: [
            {
              apiGroups: [API],
              apiVersions: ['*'],
              operations: ['CREATE', 'UPDATE'],
              resources: GROUPS.map((kind) => `${kind}groups`),
            },
          ],
        },
        validations: [
          {
            expression: `${account} == object.metadata.name`,
            message: 'template.spec.overlay.pod.spec.serviceAccountName must be the name of the group',
          },
        ],
      },
    },
    {
      apiVersion: ADMISSION,
      kind: 'ValidatingAdmissionPolicyBinding',
      metadata: { name },
      spec: {
        policyName: name,
        validationActions: ['Deny'],
        matchResources: {
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': storage.namespace } },
        },
      },
    },
  ];
}

export function groupExamples(mesh: MeshFile): Example[] {
  const made = `For TiDB Operator 2.0 and TiDB ${TIDB}. Edit: replicas, storage, resources.`;
  return [
    {
      path: `${FOLDER}/accounts.yaml`,
      header: [
        'Every group runs as the service account of its own name, which is the tenant. Apply it first.',
        'It needs Kubernetes 1.30. Do not edit it.',
      ],
      objects: ownAccountsOnly(mesh),
    },
    {
      path: `${FOLDER}/storage-layer.yaml`,
      header: ['The storage layer: PD, TiKV and the one TiDB that collects garbage for all tenants.', made],
      objects: storageLayer(mesh),
    },
    ...mesh.pluginConfig.tenants.map(({ name }) => ({
      path: `${FOLDER}/${name}.yaml`,
      header: [`Tenant ${name}: TiDB only, on the storage layer. The service account is the tenant.`, made],
      objects: tenantGroup(mesh, name),
    })),
  ];
}
