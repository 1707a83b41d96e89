/** `npm run picture`: five tenants before a real Envoy and a real Prometheus, drawn as the dashboard shows them: docs/pictures/dashboard.svg. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { init, type EChartsOption } from 'echarts';
import { stringify } from 'yaml';
import { alerts } from '../../src-ts/observability/alerts.ts';
import { ROWS, type Panel } from '../../src-ts/observability/dashboard.ts';
import { ruleGroups } from '../../src-ts/observability/objects.ts';
import { FIVE, live } from '../../test/envoy/five-tenants.ts';
import { startMesh } from '../../test/envoy/mesh.ts';
import { startPrometheus, type Prometheus } from '../../test/harness/support/prometheus.ts';

const PICTURE = join(fileURLToPath(new URL('../../docs/pictures/', import.meta.url)), 'dashboard.svg');
const SECONDS = 45;
/** Without the start. */
const SHOWN = SECONDS - 8;
const WIDTH = 1100;
const COLUMNS = 3;
/** Of one panel, in pixels, with its title. */
const [PANEL_WIDTH, PANEL_HEIGHT] = [WIDTH / COLUMNS, 260];
const INK = '#333';
const UNITS: Readonly<Record<Panel['unit'], string>> = {
  reqps: 'per second',
  binBps: 'bytes per second',
  bytes: 'bytes',
  short: '',
  s: 'seconds',
  ms: 'milliseconds',
};

type Chart = Awaited<ReturnType<Prometheus['range']>>;

/** Grafana's legend: labels in `{{ }}`. */
function legendOf(legend: string, metric: Chart[number]['metric']): string {
  return legend.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? '');
}

function draw(charts: readonly [Panel, Chart][]): string {
  const place = (i: number): { left: number; top: number } => ({
    left: (i % COLUMNS) * PANEL_WIDTH,
    top: Math.floor(i / COLUMNS) * PANEL_HEIGHT,
  });
  const option: EChartsOption = {
    animation: false,
    backgroundColor: '#fff',
    textStyle: { fontFamily: 'sans-serif', fontSize: 11, color: INK },
    title: charts.map(([{ title, answers, unit }], i) => ({
      text: title,
      subtext: UNITS[unit] === '' ? answers : `${answers} (${UNITS[unit]})`,
      left: place(i).left + 12,
      top: place(i).top + 6,
      textStyle: { fontSize: 13, color: INK },
      subtextStyle: { fontSize: 10 },
      itemGap: 3,
    })),
    grid: charts.map((_, i) => ({
      left: place(i).left + 48,
      top: place(i).top + 52,
      width: PANEL_WIDTH - 72,
      height: PANEL_HEIGHT - 84,
    })),
    xAxis: charts.map((_, i) => ({
      gridIndex: i,
      type: 'value',
      min: -SHOWN,
      max: 0,
      axisLabel: { formatter: '{value} s', fontSize: 9 },
      splitLine: { show: false },
    })),
    yAxis: charts.map((_, i) => ({ gridIndex: i, type: 'value', min: 0, axisLabel: { fontSize: 9 } })),
    series: charts.flatMap(([{ legend }, chart], i) => {
      const end = Math.max(...chart.flatMap(({ points }) => points.map(([at]) => at)));
      return chart.map(({ metric, points }) => ({
        type: 'line' as const,
        xAxisIndex: i,
        yAxisIndex: i,
        showSymbol: false,
        name: legendOf(legend, metric),
        endLabel: {
          show: points.at(-1)![1] > 0,
          formatter: '{a}',
          fontSize: 9,
          align: 'right',
          distance: 0,
          offset: [0, -8],
        },
        data: points.map(([at, value]): [number, number] => [at - end, value]),
      }));
    }),
  };
  const height = Math.ceil(charts.length / COLUMNS) * PANEL_HEIGHT;
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  chart.setOption(option);
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}

console.log(`five tenants call for ${SECONDS} s`);
const mesh = await startMesh({ tenants: FIVE, observability: { latency: true } });
try {
  const prometheus = await startPrometheus(
    mesh.run,
    { filter: mesh.admin },
    stringify({ groups: ruleGroups(alerts({ namespace: 'storage', cluster: 'storage-layer' })) }),
  );
  await live(mesh, SECONDS);
  const charts: [Panel, Chart][] = [];
  for (const panel of ROWS[0]!.panels)
    charts.push([panel, await prometheus.range(panel.expr.replaceAll('$__rate_interval', '5s'), SHOWN)]);
  writeFileSync(PICTURE, draw(charts));
  console.log(`${PICTURE} is drawn`);
} finally {
  await mesh.stop();
}
