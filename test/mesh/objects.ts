/** Kubernetes objects as TiDB Operator and a kubelet would make them, for there is neither. */
import type { Pod } from './network.ts';

export type KubeObject = Record<string, unknown>;

/** Namespace and name of the TidbCluster that is the storage layer. */
export const STORAGE = { namespace: 'storage', cluster: 'storage-layer' } as const;

/** Where clients are told to find PD. */
export const PD_SERVICE = `${STORAGE.cluster}-pd`;
export const PD_ADDRESS = `${PD_SERVICE}.${STORAGE.namespace}.svc:2379`;

export interface PodInfo {
  pod: Pod;
  namespace: string;
  serviceAccount: string;
  labels: Record<string, string>;
}

export function operatorLabels(cluster: string, component: string): Record<string, string> {
  return {
    'app.kubernetes.io/name': 'tidb-cluster',
    'app.kubernetes.io/managed-by': 'tidb-operator',
    'app.kubernetes.io/instance': cluster,
    'app.kubernetes.io/component': component,
  };
}

/** What Istio's injection adds: peers know by it that the pod takes mTLS. */
export const INJECTED_LABELS = { 'security.istio.io/tlsMode': 'istio' } as const;

export function list(items: KubeObject[]): KubeObject {
  return { apiVersion: 'v1', kind: 'List', items };
}

export function namespaceObject(name: string): KubeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
}

export function serviceAccountObject(namespace: string, name: string): KubeObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace, name } };
}

export function podObject({ pod, namespace, serviceAccount, labels }: PodInfo): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name: pod.name, labels: { ...labels, ...INJECTED_LABELS } },
    spec: {
      serviceAccountName: serviceAccount,
      // As Istio injects it where Kubernetes has native sidecars. By this name its tools know a pod that has one.
      initContainers: [{ name: 'istio-proxy', image: 'none', restartPolicy: 'Always' }],
      containers: [{ name: 'main', image: 'none' }],
    },
  };
}

/** What a kubelet would say of a pod that runs. */
export function podStatus(pod: Pod): KubeObject {
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  return {
    status: {
      phase: 'Running',
      podIP: pod.ip,
      podIPs: [{ ip: pod.ip }],
      startTime: now,
      conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
        type,
        status: 'True',
        lastTransitionTime: now,
      })),
    },
  };
}

export interface ServiceInfo {
  namespace: string;
  name: string;
  selector: Record<string, string>;
  ports: { name: string; port: number }[];
  /** None for a headless one. */
  clusterIp?: string;
  pods: Pod[];
}

/** A Service and its EndpointSlice, which a controller would make. */
export function serviceObjects(info: ServiceInfo): KubeObject[] {
  const { namespace, name } = info;
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace, name, labels: info.selector },
      spec: {
        clusterIP: info.clusterIp ?? 'None',
        selector: info.selector,
        ports: info.ports.map(({ name, port }) => ({ name, port, targetPort: port, protocol: 'TCP' })),
        publishNotReadyAddresses: info.clusterIp === undefined,
      },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { namespace, name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: info.ports.map(({ name, port }) => ({ name, port, protocol: 'TCP' })),
      endpoints: info.pods.map((pod) => ({
        addresses: [pod.ip],
        conditions: { ready: true, serving: true },
        hostname: pod.name,
        targetRef: { kind: 'Pod', namespace, name: pod.name },
      })),
    },
  ];
}

/** All names under which a Service is found from any namespace. */
export function serviceNames(name: string, namespace: string): string[] {
  return [`${name}.${namespace}`, `${name}.${namespace}.svc`, `${name}.${namespace}.svc.cluster.local`];
}
