/**
 * The rules and the dashboard, judged by a real Prometheus that reads real Envoys. Each alert has a cause that the tests make, and is
 * silent without it. How long a cause must last is judged by promtool, which needs no time for it.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import { METRICS } from '../../src-ts/observability/metrics.ts';
import { alerts, RECORDINGS, type Alert } from '../../src-ts/observability/alerts.ts';
import { ROWS } from '../../src-ts/observability/dashboard.ts';
import { usage } from '../../src-ts/cli/commands/usage.ts';
import type { MeteredUsage } from '../../src-ts/tenants/prometheus.ts';
import { ruleGroups } from '../../src-ts/observability/objects.ts';
import { rowKey } from '../harness/support/keys.ts';
import { encode } from '../harness/support/messages.ts';
import { promtool, startPrometheus, type Prometheus, type Series } from '../harness/support/prometheus.ts';
import { prepare } from '../harness/stack/builds.ts';
import { envoyBootstrap } from '../harness/stack/envoy-config.ts';
import { freePorts } from '../harness/stack/ports.ts';
import { silent } from '../harness/stack/progress.ts';
import { standardPluginConfig } from '../harness/stack/stack.ts';
import { FIVE, HOLDING, live, LOUD, REFUSED, WAITING } from './five-tenants.ts';
import { GET, getRequest } from './messages.ts';
import { startMesh, TENANTS, type Mesh } from './mesh.ts';
import { frame } from './upstream.ts';

const MIB = 1024 * 1024;
const PATIENCE = 60_000;
const LIMITS = { heldBytesPerVM: 2 * MIB, heldBytesPerTenant: 2 * MIB, drainTimeoutSeconds: 3600 };
const BATCH = '/tikvpb.Tikv/BatchCommands';

const rules = (of: readonly Alert[]): string =>
  stringify({ groups: ruleGroups(of) }, { lineWidth: 0, aliasDuplicateObjects: false });

const STORAGE = { namespace: 'storage', cluster: 'storage-layer' };
const ALERTS = alerts(STORAGE);

/** Every query, by what asks it. */
const QUERIES: readonly [string, string][] = [
  ...RECORDINGS.map(({ record, expr }): [string, string] => [record, expr]),
  ...ALERTS.map(({ name, expr }): [string, string] => [name, expr]),
  ...ROWS.flatMap(({ panels }) => panels.map(({ title, expr }): [string, string] => [title, expr])),
];

test.each(QUERIES)('%s asks for metrics that the filter keeps', (_, expr) => {
  const known = new Set(METRICS.map(({ name }) => name));
  const asked = [...expr.matchAll(/\btidbmesh_\w+/g)].map(([name]) => name);
  expect(asked.filter((name) => !known.has(name))).toEqual([]);
});

let mesh: Mesh;
let prometheus: Prometheus;

/** A minute apart, as promtool writes series: `axn` is n more times the same, `a+bxn` n more steps. */
interface Cause {
  readonly series: Readonly<Record<string, string>>;
  /** Another cause. */
  readonly other?: Readonly<Record<string, string>>;
  /** The same without the cause. */
  readonly healthy: Readonly<Record<string, string>>;
}

const CONFIG_FAIL = 'envoy_extension_config_discovery_http_filter_tidb_mesh_config_fail{instance="a"}';
const RELOADS = 'envoy_wasm_tidb_mesh_vm_reload{instance="a"}';
const FAILURES = 'envoy_wasm_tidb_mesh_vm_reload_failure{instance="a"}';

/** Envoys in front of PD and TiKV, and another sidecar of the mesh. */
const LIVE = {
  pd: 'envoy_server_live{instance="a",job="storage/tidb-mesh-pd"}',
  tikv: 'envoy_server_live{instance="b",job="storage/tidb-mesh-tikv"}',
  other: 'envoy_server_live{instance="c",job="shop/sidecars"}',
};
const RUNNING = 'kube_pod_status_phase{namespace="storage",pod="storage-layer-pd-0",phase="Running"}';
const RUNNING_ALONE = 'kube_pod_status_phase{namespace="storage",pod="backup-1",phase="Running"}';
const SIDECAR =
  'kube_pod_init_container_info{namespace="storage",pod="storage-layer-pd-0",container="istio-proxy"}';

/** From the tenth minute on. */
const CAUSES: Readonly<Record<string, Cause>> = {
  TidbMeshFilterNotLoaded: {
    series: {
      [LIVE.pd]: '1x40',
      [LIVE.other]: '1x40',
      'tidbmesh_streams_total{instance="a"}': '5x9 stale _x30',
    },
    healthy: { [LIVE.pd]: '1x40', [LIVE.other]: '1x40', 'tidbmesh_streams_total{instance="a"}': '5x40' },
  },
  TidbMeshSidecarMissing: {
    series: { [RUNNING]: '1x40', [SIDECAR]: '1x9 stale _x30' },
    other: { [RUNNING]: '0x9 1x30', [RUNNING_ALONE]: '1x40' },
    healthy: { [RUNNING]: '1x40', [SIDECAR]: '1x40', [RUNNING_ALONE]: '1x40' },
  },
  TidbMeshNotScraped: {
    series: { [LIVE.pd]: '1x9 stale _x30', [LIVE.tikv]: '1x40' },
    other: { [LIVE.pd]: '1x40', [LIVE.tikv]: '1x9 stale _x30' },
    healthy: { [LIVE.pd]: '1x40', [LIVE.tikv]: '1x40' },
  },
  TidbMeshConfigurationRefused: {
    series: { [CONFIG_FAIL]: '0x9 1x30' },
    healthy: { [CONFIG_FAIL]: '1x40' },
  },
  TidbMeshVmFailed: {
    series: { [RELOADS]: '0x9 1x30', [FAILURES]: '0x40' },
    healthy: { [RELOADS]: '1x40', [FAILURES]: '0x40' },
  },
  TidbMeshRefusals: {
    series: { 'tidbmesh_refused{code="MALFORMED",instance="a"}': '3x9 3+60x30' },
    healthy: { 'tidbmesh_refused{code="MALFORMED",instance="a"}': '3+1x40' },
  },
  TidbMeshTenantAtLimit: {
    series: {
      'tidbmesh_tenant_refused_total{tenant="t",code="TOO_MANY_STREAMS",instance="a"}': '1x9 2+1x30',
    },
    other: {
      'tidbmesh_tenant_delayed_total{tenant="t",limit="bytesPerSecond",instance="a"}': '1x9 2+1x30',
    },
    healthy: {
      'tidbmesh_tenant_delayed_total{tenant="t",limit="requestsPerSecond",instance="a"}': '7x40',
      'tidbmesh_tenant_refused_total{tenant="t",code="TOO_MANY_STREAMS",instance="a"}': '7x40',
      'tidbmesh_tenant_refused_total{tenant="t",code="MALFORMED",instance="a"}': '1+1x40',
    },
  },
  TidbMeshDrainDoesNotEnd: {
    series: { 'tidbmesh_streams_draining{instance="a"}': '0x9 2x30' },
    healthy: { 'tidbmesh_streams_draining{instance="a"}': '0x9 2x2 0x30' },
  },
  TidbMeshHeldBytes: {
    series: { 'tidbmesh_held_bytes{instance="a"}': `0x9 ${250 * MIB}x30` },
    healthy: { 'tidbmesh_held_bytes{instance="a"}': `${100 * MIB}x40` },
  },
  TidbMeshRegionLookupsFail: {
    series: { 'tidbmesh_region_lookups_failed_total{instance="a"}': '0x9 0+2x30' },
    healthy: { 'tidbmesh_region_lookups_failed_total{instance="a"}': '7x40' },
  },
  TidbMeshGcHeldBack: {
    // promtool's clock begins in 1970: a safe point before it stands for one that is long ago.
    series: { 'pd_gc_gc_safepoint{type="gc_safepoint"}': `${-7 * 3600 * 1000 * 2 ** 18}x40` },
    healthy: { 'pd_gc_gc_safepoint{type="gc_safepoint"}': '0x40' },
  },
};

describe('promtool', () => {
  const fires = (name: string, seconds: number, value?: number): object => ({
    expr: `count(ALERTS{alertname="${name}", alertstate="firing"})`,
    eval_time: `${seconds}s`,
    exp_samples: value === undefined ? [] : [{ labels: '{}', value }],
  });

  test('takes the rules', async () => {
    const file = join(mesh.run.data, 'checked.yaml');
    await writeFile(file, rules(ALERTS));
    expect(await promtool('check', 'rules', file)).toMatch(/SUCCESS: \d+ rules found/);
  });

  test('each alert fires when its cause has lasted, not sooner, and not without', async () => {
    expect(Object.keys(CAUSES).sort()).toEqual(ALERTS.map(({ name }) => name).sort());
    const inputs = (series: Cause['series']): object[] =>
      Object.entries(series).map(([name, values]) => ({ series: name, values }));
    const tests = ALERTS.flatMap(({ name, for: lasting }) => {
      const { series, other, healthy } = CAUSES[name]!;
      const quiet = [600, 1140, 1800].map((seconds) => fires(name, seconds));
      const sooner = lasting === '0s' ? [] : [fires(name, name === 'TidbMeshGcHeldBack' ? 540 : 660)];
      const loud = [...sooner, fires(name, 1140, 1)];
      return [
        ...[series, ...(other ? [other] : [])].map((of) => ({
          interval: '1m',
          input_series: inputs(of),
          promql_expr_test: loud,
        })),
        { interval: '1m', input_series: inputs(healthy), promql_expr_test: quiet },
      ];
    });
    const [ruleFile, file] = [join(mesh.run.data, 'judged.yaml'), join(mesh.run.data, 'tests.yaml')];
    await writeFile(ruleFile, rules(ALERTS));
    await writeFile(file, stringify({ rule_files: [ruleFile], evaluation_interval: '1m', tests }));
    expect(await promtool('test', 'rules', file)).toMatch(/SUCCESS/);
  });
});

beforeAll(async () => {
  mesh = await startMesh({ limits: LIMITS, pd: { cluster: 'nowhere' } }, true);
  const { heldBytesPerVM } = LIMITS;
  const shortened = alerts({ ...STORAGE, heldBytesPerVM }).map((alert) => ({ ...alert, for: '0s' }));
  prometheus = await startPrometheus(
    mesh.run,
    { 'storage/tidb-mesh-pd': mesh.admin, 'storage/tidb-mesh-tikv': await startBare(mesh) },
    rules(shortened),
  );
}, PATIENCE);
afterAll(() => mesh?.stop());

/** An Envoy that lacks the filter. Gives its admin listener. */
async function startBare({ run, certs, upstream }: Mesh): Promise<string> {
  const { envoy } = await prepare(silent);
  const [pd = 0, store = 0, admin = 0] = await freePorts(3);
  const config = join(run.data, 'bare.json');
  const bootstrap = envoyBootstrap({
    ports: { pd, store, admin },
    upstream: { pd: upstream.httpPort, store: upstream.grpcPort },
    certs: certs.server,
    accessLog: join(run.logs, 'bare-access.log'),
  });
  await writeFile(config, JSON.stringify(bootstrap));
  const args = ['--config-path', config, '--concurrency', '1', '--disable-hot-restart'];
  await run.spawn({ name: 'bare', command: envoy, args });
  return `127.0.0.1:${admin}`;
}

async function until<T>(what: () => Promise<T | undefined>): Promise<T> {
  const start = Date.now();
  for (;;) {
    const found = await what();
    if (found !== undefined) return found;
    if (Date.now() - start > PATIENCE) throw new Error(`not within ${PATIENCE} ms: ${what.toString()}`);
    await sleep(200);
  }
}

/** Names of the alerts that fire for the Envoy with the filter, or for no Envoy by itself. */
async function fired(): Promise<string[]> {
  const found = await prometheus.firing();
  return found
    .filter(({ labels }) => labels['instance'] === undefined || labels['instance'] === mesh.admin)
    .map(({ name }) => name);
}

const fires = (name: string) => async (): Promise<true | undefined> =>
  (await fired()).includes(name) ? true : undefined;

const get = (id: bigint): Buffer =>
  frame(
    encode('tikvpb.BatchCommandsRequest', {
      requests: [{ cmd: { case: 'Get', value: { key: rowKey(100, 1) } } }],
      requestIds: [id],
    }),
  );

describe('with a real Envoy', () => {
  test('nothing fires for a healthy filter', async () => {
    expect(await mesh.alpha.call(GET, [frame(getRequest(rowKey(70, 1)))])).toMatchObject({ status: 0 });
    await until(async () => {
      const [series] = await prometheus.query('tidbmesh_streams_total > 0');
      return series;
    });
    // It fires until the first scrape.
    await until(async () => ((await fired()).includes('TidbMeshNotScraped') ? undefined : true));
    expect(await fired()).toEqual([]);
  });

  test('an Envoy without the filter is found', async () => {
    await until(async () =>
      (await prometheus.firing()).find(({ name }) => name === 'TidbMeshFilterNotLoaded'),
    );
    expect(await fired()).not.toContain('TidbMeshFilterNotLoaded');
  });

  test('refusals', async () => {
    const bad = (): Promise<unknown> => mesh.alpha.call(GET, [frame(Buffer.from([0x0a]))]);
    await bad();
    await until(async () => (await prometheus.query('tidbmesh_refused{code="MALFORMED"}'))[0]);
    // More than one in ten seconds, over five minutes.
    for (let i = 0; i < 60; i++) await bad();
    await until(fires('TidbMeshRefusals'));
  });

  test('held bytes', async () => {
    const stream = mesh.beta.open(BATCH);
    stream.write(frame(Buffer.alloc(1.8 * MIB), 0, 1.9 * MIB));
    await until(fires('TidbMeshHeldBytes'));
    stream.reset();
  });

  test('a tenant at its limit', async () => {
    const half = frame(Buffer.alloc(1.5 * MIB), 0, 1.9 * MIB);
    await until(async () => {
      const streams = [mesh.beta.open(BATCH), mesh.beta.open(BATCH)];
      for (const stream of streams) stream.write(half);
      await sleep(500);
      for (const stream of streams) stream.reset();
      return fires('TidbMeshTenantAtLimit')();
    });
  });

  test('a drain that does not end', async () => {
    const stream = mesh.alpha.open(BATCH);
    stream.write(get(1n));
    // The request must be on its way under the old configuration.
    const sent = (): boolean =>
      mesh.upstream.calls.some(({ path, messages }) => path === BATCH && messages.length > 0);
    await until(async () => (sent() ? true : undefined));
    const moved = [{ name: 'alpha', number: 9 }, TENANTS[1]!];
    await mesh.configure({ ...standardPluginConfig(moved), limits: LIMITS, pd: { cluster: 'nowhere' } });
    await until(fires('TidbMeshDrainDoesNotEnd'));
    stream.reset();
  });

  test('region lookups that fail', async () => {
    let region = 7n;
    await until(async () => {
      const message = frame(encode('pdpb.ScatterRegionRequest', { regionId: region++ }));
      await mesh.beta.call('/pdpb.PD/ScatterRegion', [message]);
      return fires('TidbMeshRegionLookupsFail')();
    });
  });

  test('a configuration that is refused', async () => {
    await mesh.configure({ tenants: 5 });
    await until(fires('TidbMeshConfigurationRefused'));
  });
});

describe('five tenants: who floods, who is refused, who waits for locks, who holds garbage collection back?', () => {
  let five: Mesh;
  let watched: Prometheus;
  beforeAll(async () => {
    five = await startMesh({ tenants: FIVE, observability: { latency: true } });
    watched = await startPrometheus(five.run, { filter: five.admin }, rules(ALERTS));
    await live(five, 10);
  }, PATIENCE);
  afterAll(() => five?.stop());

  const ask = (expr: string): Promise<Series[]> =>
    watched.query(expr.replaceAll('$__rate_interval', '30s').replaceAll('$tenant', LOUD));
  /** The label of the largest series that this panel shows. */
  async function leader(title: string, label = 'tenant'): Promise<string | undefined> {
    const panel = ROWS[0]!.panels.find((each) => each.title === title)!;
    const series = [...(await ask(panel.expr))].sort((a, b) => b.value - a.value);
    return series[0]?.metric[label];
  }

  test('the dashboard says it', async () => {
    expect(await leader('Requests')).toBe(LOUD);
    expect(await leader('Refusals')).toBe(REFUSED);
    expect(await leader('Errors of the store')).toBe(WAITING);
    expect(await leader('Errors of the store', 'class')).toBe('lock');
    expect(await leader('Garbage collection held back')).toBe(HOLDING);
  });

  test('`tidb-mesh usage` says what each has used over a time', async () => {
    const options = { prometheus: watched.url, since: '5m', csv: true } as const;
    const { value, text } = await usage.run({ options, args: [], tell: () => undefined });
    const { tenants } = value as MeteredUsage;
    expect(tenants.map(({ name }) => name)).toEqual(FIVE.map(({ name }) => name).sort());
    const most = (by: keyof MeteredUsage['tenants'][number]['mesh']): string =>
      [...tenants].sort((a, b) => b.mesh[by] - a.mesh[by])[0]!.name;
    expect([most('requests'), most('responseBytes'), most('refused')]).toEqual([LOUD, LOUD, REFUSED]);
    expect(tenants.filter(({ mesh }) => mesh.refused > 0).map(({ name }) => name)).toEqual([REFUSED]);
    expect(text).toMatch(/^gamma,,2.*Z,2.*Z,,,,\d+,\d+,\d+,0$/m);
  });

  const panels = ROWS.flatMap((row) =>
    row.panels.map((panel): [string, string, string] => [row.title, panel.title, panel.expr]),
  );
  test.each(panels)('%s: %s has series', async (_row, _title, expr) => {
    // Nobody is refused what the loud one asks for: only who is refused has a series.
    const found = await ask(expr.replaceAll('$tenant', expr.includes('refused') ? REFUSED : LOUD));
    expect(found.length).toBeGreaterThan(0);
  });
});
