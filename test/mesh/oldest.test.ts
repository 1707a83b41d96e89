/** The oldest Istio that is supported, in short: it takes the manifests for it, pushes them, and the filter decides who gets in. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { OLDEST_ISTIO } from '../harness/stack/builds.ts';
import { startMesh, type Member, type Mesh } from './mesh.ts';
import { STORAGE } from './objects.ts';
import { callUnary } from './probe.ts';
import { PD_PORT } from './storage.ts';
import { eventually, expectNoFindings, expectValid, meshSuite } from './suite.ts';

const GET_MEMBERS = '/pdpb.PD/GetMembers';
const OK = 0;
const PERMISSION_DENIED = 7;

meshSuite(`the oldest Istio that is supported, ${OLDEST_ISTIO}`, () => {
  let mesh: Mesh;
  let alpha: Member;
  let mallory: Member;

  beforeAll(async () => {
    mesh = await startMesh({ istio: OLDEST_ISTIO });
    await mesh.addAccount('mallory', 'tidb');
    const client = (namespace: string): Promise<Member> =>
      mesh.startPod({ name: `${namespace}-0`, namespace, serviceAccount: 'tidb', labels: {} });
    [alpha, mallory] = await Promise.all([client('alpha'), client('mallory')]);
  });
  afterAll(async () => {
    await mesh?.stop();
  });

  const statusFor = async ({ sidecar }: Member): Promise<number> => {
    const { certs } = sidecar;
    return (await callUnary({ host: mesh.pd.pod.ip, port: PD_PORT, certs }, GET_MEMBERS)).status;
  };

  test('the filter lets a tenant in, and nobody else', async () => {
    await eventually(
      () => statusFor(alpha),
      (status) => status === OK,
    );
    expect(await statusFor(mallory)).toBe(PERMISSION_DENIED);
  });

  test('its own tools find nothing wrong with the manifests, and it takes the WasmPlugins', async () => {
    const files = ['base/access', 'base/ports', 'envoyfilter/filter', 'wasmplugin/filter'];
    const folder = join(mesh.manifests.folder('base'), '..');
    const taken = ['apply', '--server-side', '--force-conflicts', '--dry-run=server', '-k'];
    const [applied] = await Promise.all([
      mesh.controlPlane.tryKubectl([...taken, mesh.manifests.folder('wasmplugin')]),
      expectNoFindings(mesh.controlPlane, STORAGE.namespace),
      ...files.map((file) => expectValid(mesh.controlPlane, join(folder, `${file}.yaml`))),
    ]);
    expect([applied.status, applied.stderr]).toEqual([0, '']);
  });
});
