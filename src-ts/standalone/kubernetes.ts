/** Envoy as a Deployment: an example to build on. */
import { posix } from 'node:path';
import type { KubeObject } from '../manifests/storage.ts';
import { addressText } from './address.ts';
import { othersOf, type Certificates, type EnvoyMesh, type Storage } from './mesh.ts';
import { DRAIN_SECONDS } from './systemd.ts';

const IMAGE = 'docker.io/envoyproxy/envoy:distroless-v1.40.0';
/** Of the image. */
const USER = 65_532;
const WORKERS = 2;

/** The name of everything that belongs to a storage. */
const nameOf = ({ name }: Storage): string => `tidb-mesh-${name}`;
const labelsOf = (storage: Storage): Record<string, string> => ({
  'app.kubernetes.io/name': 'tidb-mesh',
  'app.kubernetes.io/instance': nameOf(storage),
});

/** Envoy reads `envoy.yaml` at its start only, so a change starts new pods. It reads `filter.yaml` again, so that one keeps its name. */
export function kustomization({ namespace, certificates }: EnvoyMesh, storage: Storage): object {
  const secrets = 'sds' in certificates ? [] : ['certificate.yaml', 'authority.yaml'];
  return {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    namespace,
    resources: ['kubernetes.yaml'],
    configMapGenerator: [
      { name: `${nameOf(storage)}-envoy`, files: ['envoy.yaml', ...secrets] },
      {
        name: `${nameOf(storage)}-filter`,
        files: ['filter.yaml'],
        options: { disableNameSuffixHash: true },
      },
    ],
  };
}

interface Port {
  readonly name: string;
  readonly port: number;
}

function portsOf({ pd, tikv }: Storage): Port[] {
  return [
    ...pd.map(({ advertise }, i) => ({ name: `pd-${i}`, port: advertise.port })),
    ...tikv.map(({ advertise }, i) => ({ name: `tikv-${i}`, port: advertise.port })),
  ];
}

export function kubernetesObjects(mesh: EnvoyMesh, storage: Storage): KubeObject[] {
  const { namespace } = mesh;
  const name = nameOf(storage);
  const metadata = { namespace, name, labels: labelsOf(storage) };
  const selector = { matchLabels: labelsOf(storage) };
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: deployment(mesh, storage) },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: {
        ...metadata,
        annotations: { 'tidb-mesh.io/advertised': advertisedBy(storage).join(' ') },
      },
      spec: { selector: labelsOf(storage), ports: portsOf(storage) },
    },
    // The addresses of the pods: one that moves a tenant waits for each. Also of those that end, which serve their streams to the end.
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { ...metadata, name: `${name}-pods` },
      spec: {
        clusterIP: 'None',
        publishNotReadyAddresses: true,
        selector: labelsOf(storage),
        ports: portsOf(storage),
      },
    },
    {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata,
      spec: { minAvailable: 1, selector },
    },
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata,
      spec: { podSelector: selector, ...traffic(storage, othersOf(mesh, storage)) },
    },
  ];
}

const advertisedBy = ({ pd, tikv }: Storage): string[] =>
  [...pd, ...tikv].map(({ advertise }) => addressText(advertise));

/** Clients reach the listeners, and Envoy its servers, the PDs of storages to which it hands tenants over, and the names of all these. */
function traffic(storage: Storage, others: readonly Storage[]): object {
  const servers = [
    ...[...storage.pd, ...storage.tikv].map(({ server }) => server.port),
    ...others.flatMap(({ pd }) => pd.map(({ advertise }) => advertise.port)),
  ];
  const tcp = (port: number): object => ({ protocol: 'TCP', port });
  const dns = [{ protocol: 'UDP', port: 53 }, tcp(53)];
  return {
    policyTypes: ['Ingress', 'Egress'],
    ingress: [{ ports: portsOf(storage).map(({ port }) => tcp(port)) }],
    egress: [{ ports: [...[...new Set(servers)].map(tcp), ...dns] }],
  };
}

function deployment(mesh: EnvoyMesh, storage: Storage): object {
  const config = posix.join(mesh.folder, storage.name);
  const secrets = secretVolume(mesh.certificates, storage);
  const [first] = portsOf(storage);
  return {
    replicas: 2,
    selector: { matchLabels: labelsOf(storage) },
    template: {
      metadata: { labels: labelsOf(storage) },
      spec: {
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: DRAIN_SECONDS + 15,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: USER,
          fsGroup: USER,
          seccompProfile: { type: 'RuntimeDefault' },
        },
        topologySpreadConstraints: [
          {
            maxSkew: 1,
            topologyKey: 'kubernetes.io/hostname',
            whenUnsatisfiable: 'ScheduleAnyway',
            labelSelector: { matchLabels: labelsOf(storage) },
          },
        ],
        containers: [
          {
            name: 'envoy',
            image: IMAGE,
            args: [
              ...['--config-path', posix.join(config, 'envoy.yaml')],
              ...['--concurrency', String(WORKERS)],
              ...['--log-level', 'warning', '--component-log-level', 'wasm:info'],
              '--disable-hot-restart',
            ],
            ports: portsOf(storage).map(({ name, port }) => ({ name, containerPort: port })),
            // Envoy opens its listeners when the filter has its configuration. The admin interface is not reachable from outside.
            readinessProbe: { tcpSocket: { port: first?.name } },
            // The Service stops sending new connections meanwhile. Kubernetes 1.30 and newer know it.
            lifecycle: { preStop: { sleep: { seconds: DRAIN_SECONDS } } },
            resources: {
              requests: { cpu: String(WORKERS), memory: '1Gi' },
              limits: { memory: '4Gi' },
            },
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ['ALL'] },
            },
            volumeMounts: [
              { name: 'config', mountPath: config, readOnly: true },
              { name: 'secrets', mountPath: secrets.path, readOnly: true },
            ],
          },
        ],
        volumes: [
          {
            name: 'config',
            projected: {
              sources: ['envoy', 'filter'].map((which) => ({
                configMap: { name: `${nameOf(storage)}-${which}` },
              })),
            },
          },
          { name: 'secrets', ...secrets.volume },
        ],
      },
    },
  };
}

/** A Secret with the names of cert-manager, or the folder of the agent's socket. */
function secretVolume(certificates: Certificates, storage: Storage): { path: string; volume: object } {
  if ('sds' in certificates) {
    const path = posix.dirname(certificates.sds.socket);
    return { path, volume: { hostPath: { path, type: 'Directory' } } };
  }
  const { ca, certificate, key } = certificates;
  const items = Object.entries({ 'ca.crt': ca, 'tls.crt': certificate, 'tls.key': key });
  return {
    path: posix.dirname(certificate),
    volume: {
      secret: {
        secretName: nameOf(storage),
        items: items.map(([name, path]) => ({ key: name, path: posix.basename(path) })),
      },
    },
  };
}
