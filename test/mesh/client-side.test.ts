import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { join } from 'node:path';
import type { Tidb } from '../harness/stack/tidb.ts';
import { startMesh, type Member, type Mesh } from './mesh.ts';
import { operatorLabels } from './objects.ts';
import { getHttp1 } from './probe.ts';
import { fillTable, tableTags } from './rows.ts';
import { PD_PORT } from './storage.ts';
import { expectNoFindings, expectValid, meshSuite } from './suite.ts';

meshSuite("the filter in the sidecars of the tenants' TiDBs", () => {
  let mesh: Mesh;
  const tidbs = new Map<string, Member & { tidb: Tidb }>();

  beforeAll(async () => {
    mesh = await startMesh({ overlay: 'clientside' });
    await Promise.all(mesh.tenants.map(async ({ name }) => tidbs.set(name, await mesh.startTidb(name))));
  });
  afterAll(async () => {
    await mesh?.stop();
  });

  test('each runs its own SQL in its own part of the store, and no key goes out as it is', async () => {
    const filled = await Promise.all(
      mesh.tenants.map((tenant) => fillTable(mesh, tidbs.get(tenant.name)!.tidb, tenant)),
    );
    const [alpha, beta] = filled;
    expect(alpha!.tableId).toBe(beta!.tableId);
    expect(filled).toMatchObject([
      { rows: [{ v: 'alpha' }, { v: 'alpha-2' }], stored: 6 },
      { rows: [{ v: 'beta' }, { v: 'beta-2' }], stored: 6 },
    ]);
    expect(await tableTags(mesh)).toEqual(['748001', '748002']);
  });

  test("the filter is in the tenants' sidecars only, and refused what TiDB goes on without", () => {
    for (const { sidecar } of tidbs.values()) {
      const total = (name: string): number =>
        [...sidecar.stats(new RegExp(`tidbmesh_${name}_total`)).values()].reduce((a, b) => a + b, 0);
      expect(total('streams')).toBeGreaterThan(0);
      const refused = sidecar
        .accessLog()
        .filter(({ details }) => String(details).includes('tidb_mesh_refused'))
        .map(({ path }) => String(path))
        .filter((path) => !path.endsWith('ForcePartitionRange'));
      expect(refused).toEqual([]);
    }
    for (const { sidecar } of [mesh.pd, mesh.store]) expect(sidecar.stats(/tidbmesh/).size).toBe(0);
  });

  test('it protects nobody: another workload reaches PD, as the manifests say', async () => {
    await mesh.addAccount('mallory', 'tidb');
    const mallory = await mesh.startPod({
      name: 'mallory-0',
      namespace: 'mallory',
      serviceAccount: 'tidb',
      labels: operatorLabels('mallory', 'tidb'),
    });
    const answer = await getHttp1(
      { host: mesh.pd.pod.ip, port: PD_PORT, certs: mallory.sidecar.certs },
      '/pd/api/v1/operators',
    );
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
  });

  test("Istio's own tools find nothing wrong with it", async () => {
    await expectValid(mesh.controlPlane, join(mesh.manifests.folder('clientside'), 'filter.yaml'));
    for (const { name } of mesh.tenants) await expectNoFindings(mesh.controlPlane, name);
  });
});
