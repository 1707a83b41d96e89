/** PD and the embedded store inside their pods, as TiDB Operator starts them. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Binaries } from '../harness/stack/builds.ts';
import { PD_GRACE } from '../harness/stack/pd.ts';
import { waitHealthy } from '../harness/stack/processes.ts';
import type { Pod } from './network.ts';
import { PD_ADDRESS, STORAGE } from './objects.ts';

/** Ports that iptables leaves alone, so that a test can look past the mesh. */
export const BACK_DOOR = { pd: 12379, store: 12180 } as const;
export const PD_PORT = 2379;
export const PD_PEER_PORT = 2380;
export const STORE_PORT = 20160;
/** TiKV's port for metrics and its configuration. */
export const STORE_STATUS_PORT = 20180;

const START_TIMEOUT = 60_000;

/** `storage-layer-pd-0.storage-layer-pd-peer.storage.svc`, the name of a pod behind its headless Service. */
export function peerName(pod: Pod, component: 'pd' | 'tikv'): string {
  return `${pod.name}.${STORAGE.cluster}-${component}-peer.${STORAGE.namespace}.svc`;
}

export async function startPd(pod: Pod, binaries: Binaries): Promise<void> {
  const folder = join(pod.run.data, pod.name);
  await mkdir(folder, { recursive: true });
  const name = peerName(pod, 'pd');
  const server = await pod.run.spawn({
    name: pod.name,
    command: binaries.pd,
    args: [
      `--name=${pod.name}`,
      `--data-dir=${join(folder, 'data')}`,
      `--client-urls=http://0.0.0.0:${PD_PORT},http://0.0.0.0:${BACK_DOOR.pd}`,
      `--advertise-client-urls=http://${name}:${PD_PORT}`,
      `--peer-urls=http://0.0.0.0:${PD_PEER_PORT}`,
      `--advertise-peer-urls=http://${name}:${PD_PEER_PORT}`,
      `--initial-cluster=${pod.name}=http://${name}:${PD_PEER_PORT}`,
    ],
    cwd: folder,
    // The etcd inside panics on the patterns of newer routers.
    env: { GODEBUG: 'httpmuxgo121=1' },
    grace: PD_GRACE,
  });
  await waitHealthy(server, 'leader', START_TIMEOUT, async () => {
    const response = await fetch(`http://${pod.ip}:${BACK_DOOR.pd}/pd/api/v1/leader`);
    return response.ok && ((await response.json()) as { name?: string }).name ? true : undefined;
  });
}

/** The store reaches PD as every client does: through its own sidecar and PD's. */
export async function startStore(pod: Pod, pdPod: Pod, binaries: Binaries): Promise<void> {
  const server = await pod.run.spawn({
    name: pod.name,
    command: binaries.store,
    args: [
      `--pd=${PD_ADDRESS}`,
      `--listen=0.0.0.0:${STORE_PORT}`,
      `--advertise=${peerName(pod, 'tikv')}:${STORE_PORT}`,
      `--inspect=0.0.0.0:${BACK_DOOR.store}`,
      `--status=${peerName(pod, 'tikv')}:${STORE_STATUS_PORT}`,
      `--data=${join(pod.run.data, pod.name)}`,
    ],
  });
  await waitHealthy(server, 'registration with PD', START_TIMEOUT, async () => {
    const response = await fetch(`http://${pdPod.ip}:${BACK_DOOR.pd}/pd/api/v1/stores`);
    const { count } = (await response.json()) as { count: number };
    const stats = await fetch(`http://${pod.ip}:${BACK_DOOR.store}/stats`);
    await stats.arrayBuffer();
    return count > 0 && stats.ok ? true : undefined;
  });
}
