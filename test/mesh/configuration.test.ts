import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Tidb } from '../harness/stack/tidb.ts';
import { startLoad } from './load.ts';
import { DEFAULT_TENANTS, pluginConfigFor, startMesh, type Member, type Mesh, type Tenant } from './mesh.ts';
import { STORAGE } from './objects.ts';
import { callUnary, getHttp1, type GrpcOutcome } from './probe.ts';
import type { AccessLogEntry } from './sidecar.ts';
import { PD_PORT, STORE_PORT, STORE_STATUS_PORT } from './storage.ts';
import { eventually, meshSuite } from './suite.ts';

const OK = 0;
const GET_MEMBERS = '/pdpb.PD/GetMembers';
const STORE_SAFE_TS = '/tikvpb.Tikv/GetStoreSafeTS';
const GAMMA: Tenant = { name: 'gamma', number: 3 };
/** Envoy closes the connections of a listener that has changed this long after the change. */
const LISTENER_DRAIN = 45_000;
const AFTER_LISTENER_DRAIN = LISTENER_DRAIN + 5_000;

meshSuite('a configuration that changes', () => {
  let mesh: Mesh;
  const tidbs = new Map<string, Member & { tidb: Tidb }>();
  /** A workload in the namespace of a tenant that is not in the configuration at first. */
  let gamma: Member;

  beforeAll(async () => {
    mesh = await startMesh();
    await mesh.addAccount(GAMMA.name, 'tidb');
    const started = mesh.tenants.map(async ({ name }) => tidbs.set(name, await mesh.startTidb(name)));
    gamma = await mesh.startPod({
      name: 'gamma-0',
      namespace: GAMMA.name,
      serviceAccount: 'tidb',
      labels: {},
    });
    await Promise.all(started);
  });
  afterEach(async () => {
    await mesh.configure(pluginConfigFor(DEFAULT_TENANTS));
    await eventually(
      async () => [await ask(tidbs.get('alpha')!), await ask(tidbs.get('beta')!), await ask(gamma)],
      ([alpha, beta, other]) => alpha!.status === OK && beta!.status === OK && other!.status !== OK,
    );
  });
  afterAll(async () => {
    await mesh?.stop();
  });

  /** One new stream to PD and one to the store with the workload's certificate: the first that is refused, else PD's answer. */
  const ask = async (as: Member): Promise<GrpcOutcome> => {
    const { certs } = as.sidecar;
    const pd = await callUnary({ host: mesh.pd.pod.ip, port: PD_PORT, certs }, GET_MEMBERS);
    const store = await callUnary({ host: mesh.store.pod.ip, port: STORE_PORT, certs }, STORE_SAFE_TS);
    return store.status === OK ? pd : store;
  };

  /** Long-lived streams of that workload that came to an end since `start`, however. */
  const endedStreams = (of: Member, start: number): AccessLogEntry[] =>
    [mesh.pd, mesh.store]
      .flatMap((member) => member.sidecar.accessLog())
      .filter(
        (entry) =>
          /\/(BatchCommands|Tso|Watch|LeaseKeepAlive)$/.test(entry.path ?? '') &&
          entry.from.startsWith(`${of.pod.ip}:`) &&
          Date.parse(entry.start) < start &&
          Date.parse(entry.start) + entry.milliseconds > start,
      );

  test('new streams follow a new tenant, and no stream of the others ends', async () => {
    expect((await ask(gamma)).message).toMatch(/^tidb-mesh\[[A-Z_]+\]: /);
    const loads = await Promise.all([...tidbs.values()].map(({ tidb }) => startLoad(tidb)));
    const drained = drainedStreams();
    const start = Date.now();
    await mesh.configure(pluginConfigFor([...DEFAULT_TENANTS, GAMMA]));
    await eventually(
      () => ask(gamma),
      ({ status }) => status === OK,
    );
    // Nothing of it ends later either, as it would if the listener itself had changed.
    const before = loads.map((load) => load.done());
    await new Promise((resolve) => setTimeout(resolve, AFTER_LISTENER_DRAIN));
    loads.forEach((load, index) => expect(load.done()).toBeGreaterThan(before[index]!));
    for (const load of loads) expect(await load.stop()).toEqual([]);
    for (const tenant of tidbs.values()) expect(endedStreams(tenant, start)).toEqual([]);
    expect(drainedStreams()).toBe(drained);
    // A change of the schema needs watches in etcd.
    for (const { tidb } of tidbs.values()) {
      const session = await tidb.connect('load_test');
      await session.query('CREATE TABLE after_the_change (id INT PRIMARY KEY)');
      await session.query('DROP TABLE after_the_change');
      await session.close();
    }
  });

  test('a tenant that is taken out loses its open streams; the other notices nothing', async () => {
    const alpha = tidbs.get('alpha')!;
    const beta = tidbs.get('beta')!;
    const load = await startLoad(alpha.tidb);
    const drained = drainedStreams();
    const start = Date.now();
    await mesh.configure(pluginConfigFor(DEFAULT_TENANTS.filter(({ name }) => name !== 'beta')));
    await eventually(
      () => ask(beta),
      ({ status }) => status !== OK,
    );
    // A batch ends when all in it is answered, a watch when nothing has moved on it.
    await eventually(
      () => endedStreams(beta, start).map(({ path }) => path!.replace(/.*\//, '')),
      (ended) => ended.includes('Watch') && ended.includes('BatchCommands'),
      60_000,
    );
    await eventually(drainedStreams, (count) => count >= drained + 2);
    expect(await load.stop()).toEqual([]);
    expect(endedStreams(alpha, start)).toEqual([]);
  });

  test.each([
    ['no tenants', JSON.stringify({ tenants: [], rules: [] }), 'tenants'],
    [
      'a number twice',
      JSON.stringify(pluginConfigFor([DEFAULT_TENANTS[0]!, { name: 'beta', number: 1 }])),
      'number',
    ],
    ['no JSON', '{ "tenants": [', ''],
  ])('a configuration with %s is rejected, and the old one goes on', async (_title, broken, word) => {
    const load = await startLoad(tidbs.get('alpha')!.tidb);
    const start = Date.now();
    const seen = rejections();
    await mesh.apply(...mesh.manifests.withConfiguration(broken));
    // istiod is told, and the reason stands in the sidecar's log.
    await eventually(rejections, (count) => count >= seen + 2);
    for (const member of [mesh.pd, mesh.store]) {
      const refusal = lastLine(member, 'the pluginConfig is refused');
      expect(refusal).toContain(word);
    }
    for (let round = 0; round < 5; round++) {
      expect((await ask(tidbs.get('alpha')!)).status).toBe(OK);
      expect((await ask(tidbs.get('beta')!)).status).toBe(OK);
      expect((await ask(gamma)).message).toMatch(/^tidb-mesh\[[A-Z_]+\]: /);
    }
    const fresh = await tidbs.get('beta')!.tidb.connect();
    expect(await fresh.query('SELECT COUNT(*) AS n FROM mysql.user')).toHaveLength(1);
    await fresh.close();
    expect(await load.stop()).toEqual([]);
    expect(endedStreams(tidbs.get('alpha')!, start)).toEqual([]);
  });

  test.each([
    ['its schema', { applyTo: 'HTTP_FILTERS', patch: { operation: 'ADD', value: {} } }, 'HTTP_FILTERS'],
    ['its validation', { applyTo: 'HTTP_FILTER', patch: { operation: 'ADD' } }, 'missing patch value'],
  ])('what Istio refuses by %s is refused at once', async (_title, patch, word) => {
    const { status, stderr } = await mesh.controlPlane.tryKubectl(
      ['apply', '--server-side', '--force-conflicts', '-f', '-'],
      JSON.stringify({
        apiVersion: 'networking.istio.io/v1alpha3',
        kind: 'EnvoyFilter',
        metadata: { namespace: STORAGE.namespace, name: 'broken' },
        spec: { configPatches: [patch] },
      }),
    );
    expect(status).not.toBe(0);
    expect(stderr).toContain(word);
  });

  // What an operator has to know: without the EnvoyFilters every workload of the mesh speaks to PD and TiKV directly.
  test('without the EnvoyFilters the ports are as Istio makes them; a broken first configuration closes them', async () => {
    await mesh.controlPlane.kubectl([
      ...['delete', 'envoyfilter', '-n', STORAGE.namespace],
      ...['tidb-mesh-pd', 'tidb-mesh-tikv'],
    ]);
    await eventually(unfiltered, (open) => open.every(Boolean));

    // Until the listener with the filter has gone, the configuration that it held is still there and would be taken.
    await new Promise((resolve) => setTimeout(resolve, AFTER_LISTENER_DRAIN));
    await mesh.apply(...mesh.manifests.withConfiguration('{"tenants":[],"rules":[]}'));
    await eventually(unfiltered, (open) => !open.includes(true));
    for (const member of [gamma, tidbs.get('alpha')!, mesh.store]) {
      const { certs } = member.sidecar;
      const answer = await getHttp1({ host: mesh.pd.pod.ip, port: PD_PORT, certs }, '/pd/api/v1/version');
      expect(answer).toMatch(/^HTTP\/1.1 5\d\d /);
      expect((await ask(member)).status).not.toBe(OK);
    }

    await mesh.configure(pluginConfigFor(DEFAULT_TENANTS));
    await eventually(
      () => ask(tidbs.get('alpha')!),
      ({ status }) => status === OK,
    );
    await eventually(unfiltered, (open) => !open.includes(true));
  });

  test('what is removed leaves nothing behind; applied again, all is closed again', async () => {
    const storage = [mesh.pd, mesh.store];
    for (const member of storage) expect(dynamicConfiguration(member)).toContain('"tidb-mesh"');
    expect(await answersPlaintext()).toEqual([false, false]);

    await mesh.manifests.remove();
    const left = await mesh.controlPlane.kubectl([
      ...['get', '-n', STORAGE.namespace, '-o', 'name'],
      'envoyfilters,wasmplugins,sidecars,peerauthentications,authorizationpolicies',
    ]);
    expect(left).toBe('');
    // Without PeerAuthentication a sidecar takes TLS for its own only with Istio's ALPN: the clients here have none, so they ask in plaintext.
    await eventually(answersPlaintext, (open) => open.every(Boolean), 60_000);
    // The old listeners go when their connections have had their time.
    await eventually(
      () => storage.map((member) => dynamicConfiguration(member).includes('"tidb-mesh"')),
      (found) => !found.includes(true),
      LISTENER_DRAIN + 30_000,
    );

    await mesh.configure(pluginConfigFor(DEFAULT_TENANTS));
    await eventually(answersPlaintext, (open) => !open.some(Boolean), 60_000);
    await eventually(
      () => ask(tidbs.get('alpha')!),
      ({ status }) => status === OK,
    );
    await eventually(unfiltered, (open) => !open.includes(true));
  });

  /** Whether PD's port and the store's status port answer to one without a certificate. */
  async function answersPlaintext(): Promise<boolean[]> {
    const pd = await getHttp1({ host: mesh.pd.pod.ip, port: PD_PORT }, '/pd/api/v1/version');
    const status = await getHttp1({ host: mesh.store.pod.ip, port: STORE_STATUS_PORT }, '/config');
    return [pd.includes('"version"'), status.includes('coprocessor')];
  }

  /** All that the control plane has given the sidecar, as JSON. */
  function dynamicConfiguration(member: Member): string {
    const { configs } = JSON.parse(member.sidecar.admin('config_dump')) as { configs: { '@type': string }[] };
    return JSON.stringify(configs.filter((part) => !part['@type'].endsWith('.BootstrapConfigDump')));
  }

  /** How many streams the filter has ended since their callers became others, on PD's and the store's side. */
  function drainedStreams(): number {
    return [mesh.pd, mesh.store]
      .flatMap((member) => [...member.sidecar.stats(/tidbmesh_streams_drained_total$/).values()])
      .reduce((sum, count) => sum + count, 0);
  }

  /** Whether PD and the store themselves answer a workload that is no tenant. Their sidecars change at different times. */
  async function unfiltered(): Promise<[pd: boolean, store: boolean]> {
    const { certs } = gamma.sidecar;
    const pd = await getHttp1({ host: mesh.pd.pod.ip, port: PD_PORT, certs }, '/pd/api/v1/version');
    const store = await callUnary({ host: mesh.store.pod.ip, port: STORE_PORT, certs }, STORE_SAFE_TS);
    return [/^HTTP\/1.1 200 .*"version"/s.test(pd), store.status === OK];
  }

  function rejections(): number {
    const lines = mesh.controlPlane.istiodLog().split('\n');
    return lines.filter((line) => /ADS:(ECDS|LDS): ACK ERROR storage-layer-/.test(line)).length;
  }

  function lastLine(member: Member, text: string): string {
    return (
      member.sidecar
        .log()
        .split('\n')
        .filter((line) => line.includes(text))
        .at(-1) ?? ''
    );
  }
});
