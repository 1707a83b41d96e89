/**
 * A TiDB mesh as a user has it, on one machine: a Kubernetes API, Istio, a storage layer and tenants' TiDBs, each in a
 * pod with a sidecar. What is not real: nodes, controllers and the operator, whose objects objects.ts makes, and Istio's
 * own build of Envoy, in whose place plain Envoy runs.
 */
import { join } from 'node:path';
import type { PluginConfig } from '../../src-ts/config/types.ts';
import {
  NEWEST_ISTIO,
  prepare,
  prepareControlPlane,
  type Binaries,
  type ControlPlaneBinaries,
  type IstioVersion,
} from '../harness/stack/builds.ts';
import { setBoundaries } from '../harness/stack/boundaries.ts';
import { storeInspector, type StoreInspector } from '../harness/stack/inspect.ts';
import { startRun, type Run } from '../harness/stack/processes.ts';
import { silent, type Progress } from '../harness/stack/progress.ts';
import { startTidb, type Tidb } from '../harness/stack/tidb.ts';
import { startControlPlane, TRUST_DOMAIN, type ControlPlane } from './control-plane.ts';
import { manifestsIn, type Manifests, type Overlay } from './manifests.ts';
import { startNetwork, type Network, type Pod } from './network.ts';
import {
  list,
  namespaceObject,
  operatorLabels,
  PD_ADDRESS,
  PD_SERVICE,
  podObject,
  podStatus,
  serviceAccountObject,
  serviceNames,
  serviceObjects,
  STORAGE,
  type KubeObject,
  type PodInfo,
  type ServiceInfo,
} from './objects.ts';
import { withoutIstioFilters } from './plain-envoy.ts';
import { startSidecar, type Sidecar } from './sidecar.ts';
import { BACK_DOOR, peerName, startPd, startStore } from './storage.ts';

export interface Tenant {
  name: string;
  number: number;
}

export interface MeshOptions {
  /** The newest one that is tested by default. */
  istio?: IstioVersion;
  tenants?: Tenant[];
  /** How the filter is installed; in front of the storage layer by default. */
  overlay?: Overlay;
  progress?: Progress;
  logFolder?: string;
  /** Envoy's log level in PD's and the store's sidecar. */
  envoyLog?: string;
}

/** A pod with its sidecar. */
export interface Member {
  pod: Pod;
  sidecar: Sidecar;
}

export interface Mesh {
  readonly run: Run;
  readonly network: Network;
  readonly controlPlane: ControlPlane;
  readonly binaries: Binaries & { controlPlane: ControlPlaneBinaries };
  readonly tenants: Tenant[];
  readonly pd: Member & { directUrl: string };
  readonly store: Member & { inspect: StoreInspector };
  readonly manifests: Manifests;
  /** Gives the filter this configuration, as a user does: renders the manifests anew and applies them. */
  configure(config: PluginConfig): Promise<void>;
  /** Applies objects as `kubectl apply` does. Throws with what it says. */
  apply(...objects: KubeObject[]): Promise<void>;
  /** A service account, in a namespace that is made for it where there is none. */
  addAccount(namespace: string, name: string): Promise<void>;
  /** A new pod with a sidecar. */
  startPod(info: Omit<PodInfo, 'pod'> & { name: string }): Promise<Member>;
  /** A TiDB with its sidecar in the tenant's namespace, where there is none yet. */
  startTidb(tenant: string): Promise<Member & { tidb: Tidb }>;
  /** The storage layer's own TiDB, with a service account of its own; the standard rules make it a system principal. */
  startSystemTidb(): Promise<Member & { tidb: Tidb }>;
  stop(): Promise<void>;
}

export const DEFAULT_TENANTS: Tenant[] = [
  { name: 'alpha', number: 1 },
  { name: 'beta', number: 2 },
];
const TIDB_PORTS = { mysql: 4000, status: 10080 };

/** Account of the storage layer's own TiDB. */
export const SYSTEM_ACCOUNT = 'system-tidb';

/** The filter's configuration for these tenants, by the caller's namespace. */
export function pluginConfigFor(tenants: Tenant[]): PluginConfig {
  return {
    tenants,
    rules: [
      { principal: `spiffe://${TRUST_DOMAIN}/ns/${STORAGE.namespace}/sa/*`, system: true },
      { principal: `spiffe://${TRUST_DOMAIN}/ns/{tenant}/sa/*` },
    ],
  };
}

/** Builds what is needed and starts all but the tenants' TiDBs; the filter is in place. */
export async function startMesh(options: MeshOptions = {}): Promise<Mesh> {
  const progress = options.progress ?? silent;
  const controlPlane = await prepareControlPlane(progress, options.istio ?? NEWEST_ISTIO);
  const binaries = { ...(await prepare(progress)), controlPlane };
  const run = await startRun(options.logFolder);
  try {
    return await startAll(run, binaries, options, progress);
  } catch (error) {
    await run.end();
    throw error;
  }
}

async function startAll(
  run: Run,
  binaries: Mesh['binaries'],
  options: MeshOptions,
  progress: Progress,
): Promise<Mesh> {
  const tenants = options.tenants ?? DEFAULT_TENANTS;
  const network = await startNetwork(run);
  const controlPlane = await startControlPlane(run, binaries.controlPlane, network, progress);
  const apply = async (...objects: KubeObject[]): Promise<void> => {
    // On the server's side: an inlined wasm is too long for the annotation that the client's side leaves.
    await controlPlane.kubectl(
      ['apply', '--server-side', '--force-conflicts', '-f', '-'],
      JSON.stringify(list(objects)),
    );
  };

  const manifests = manifestsIn(join(run.data, 'manifests'), controlPlane, binaries.controlPlane.istio);
  const configure = async (config: PluginConfig): Promise<void> => {
    await manifests.render(config);
    await manifests.apply(options.overlay);
  };

  const makePod = async (info: Omit<PodInfo, 'pod'> & { name: string }): Promise<PodInfo> => {
    const pod = await network.pod(info.name);
    const whole = { ...info, pod };
    await apply(podObject(whole));
    await controlPlane.kubectl([
      ...['patch', 'pod', info.name, '-n', info.namespace, '--subresource=status', '--type=merge'],
      ...['-p', JSON.stringify(podStatus(pod))],
    ]);
    return whole;
  };
  const addSidecar = async (info: PodInfo, excludeInboundPorts: number[], log?: string): Promise<Sidecar> =>
    startSidecar(controlPlane, info.pod, {
      namespace: info.namespace,
      serviceAccount: info.serviceAccount,
      labels: info.labels,
      excludeInboundPorts,
      envoy: binaries.envoy,
      binaries: binaries.controlPlane,
      ...(log === undefined ? {} : { log }),
    });

  const startTidbPod = async (
    of: Omit<PodInfo, 'pod'> & { name: string },
  ): Promise<Member & { tidb: Tidb }> => {
    const info = await makePod(of);
    const sidecar = await addSidecar(info, Object.values(TIDB_PORTS));
    const tidb = await startTidb(info.pod.run, {
      name: info.pod.name,
      binary: binaries.tidb,
      ports: TIDB_PORTS,
      host: info.pod.ip,
      pdAddress: PD_ADDRESS,
    });
    return { pod: info.pod, sidecar, tidb };
  };

  let pd!: PodInfo;
  let store!: PodInfo;
  let pdSidecar!: Sidecar;
  let storeSidecar!: Sidecar;
  await progress.run([
    {
      title: 'Apply namespaces, Services and the filter',
      async run() {
        await apply(
          ...[STORAGE.namespace, ...tenants.map(({ name }) => name)].map(namespaceObject),
          withoutIstioFilters(),
        );
        await apply(
          ...['storage', SYSTEM_ACCOUNT].map((name) => serviceAccountObject(STORAGE.namespace, name)),
          ...tenants.map(({ name }) => serviceAccountObject(name, 'tidb')),
        );
        await configure(pluginConfigFor(tenants));
        const member = (component: string): Omit<PodInfo, 'pod'> & { name: string } => ({
          name: `${STORAGE.cluster}-${component}-0`,
          namespace: STORAGE.namespace,
          serviceAccount: 'storage',
          labels: operatorLabels(STORAGE.cluster, component),
        });
        pd = await makePod(member('pd'));
        store = await makePod(member('tikv'));
        await apply(...storageServices(network, pd.pod, store.pod).flatMap(serviceObjects));
        network.addHosts([
          { ip: network.serviceIp(10), names: serviceNames(PD_SERVICE, STORAGE.namespace) },
          { ip: pd.pod.ip, names: [peerName(pd.pod, 'pd')] },
          { ip: store.pod.ip, names: [peerName(store.pod, 'tikv')] },
        ]);
      },
    },
    {
      title: 'Start the storage layer',
      async run() {
        pdSidecar = await addSidecar(pd, [BACK_DOOR.pd], options.envoyLog);
        storeSidecar = await addSidecar(store, [BACK_DOOR.store], options.envoyLog);
        await startPd(pd.pod, binaries);
        await startStore(store.pod, pd.pod, binaries);
        await setBoundaries(`http://${pd.pod.ip}:${BACK_DOOR.pd}`, tenants);
      },
    },
  ]);

  return {
    run,
    network,
    controlPlane,
    binaries,
    tenants,
    pd: { pod: pd.pod, sidecar: pdSidecar, directUrl: `http://${pd.pod.ip}:${BACK_DOOR.pd}` },
    store: {
      pod: store.pod,
      sidecar: storeSidecar,
      inspect: storeInspector(`http://${store.pod.ip}:${BACK_DOOR.store}`),
    },
    manifests,
    configure,
    apply,
    addAccount: (namespace, name) => apply(namespaceObject(namespace), serviceAccountObject(namespace, name)),
    async startPod(info) {
      const made = await makePod(info);
      return { pod: made.pod, sidecar: await addSidecar(made, []) };
    },
    startTidb: (tenant) =>
      startTidbPod({
        name: `${tenant}-tidb-0`,
        namespace: tenant,
        serviceAccount: 'tidb',
        labels: operatorLabels(tenant, 'tidb'),
      }),
    startSystemTidb: () =>
      startTidbPod({
        name: `${STORAGE.cluster}-tidb-0`,
        namespace: STORAGE.namespace,
        serviceAccount: SYSTEM_ACCOUNT,
        labels: operatorLabels(STORAGE.cluster, 'tidb'),
      }),
    stop: () => run.end(),
  };
}

/** The Services that TiDB Operator makes for the storage layer, their ports named as it names them. */
function storageServices(network: Network, pd: Pod, store: Pod): ServiceInfo[] {
  const { namespace, cluster } = STORAGE;
  const selector = (component: string): Record<string, string> => operatorLabels(cluster, component);
  return [
    {
      namespace,
      name: PD_SERVICE,
      selector: selector('pd'),
      ports: [{ name: 'client', port: 2379 }],
      clusterIp: network.serviceIp(10),
      pods: [pd],
    },
    {
      namespace,
      name: `${cluster}-pd-peer`,
      selector: selector('pd'),
      ports: [
        { name: 'tcp-peer-2380', port: 2380 },
        { name: 'tcp-peer-2379', port: 2379 },
      ],
      pods: [pd],
    },
    {
      namespace,
      name: `${cluster}-tikv-peer`,
      selector: selector('tikv'),
      ports: [{ name: 'peer', port: 20160 }],
      pods: [store],
    },
  ];
}
