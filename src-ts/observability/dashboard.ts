/** The Grafana dashboard: all tenants, one tenant, the mesh itself. */
import {
  DashboardBuilder,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  type Dashboard,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

/** A panel of one chart. */
export interface Panel {
  readonly title: string;
  /** A question that the panel answers at a glance. */
  readonly answers: string;
  /** What its words mean. */
  readonly explains?: string;
  /** Grafana's name of the unit. */
  readonly unit: 'reqps' | 'binBps' | 'bytes' | 'short' | 's' | 'ms';
  readonly expr: string;
  /** What names a series: its labels in `{{ }}`. */
  readonly legend: string;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const BYTES = ['request', 'response']
  .map((way) => `rate(tidbmesh_tenant_${way}_bytes_total[$__rate_interval])`)
  .join(' + ');

export const ROWS: readonly Row[] = [
  {
    title: 'All tenants',
    panels: [
      {
        title: 'Requests',
        answers: 'Which tenant is loud?',
        unit: 'reqps',
        expr: 'sum by (tenant) (rate(tidbmesh_tenant_requests_total[$__rate_interval]))',
        legend: '{{tenant}}',
      },
      {
        title: 'Bytes',
        answers: 'Which tenant moves much data?',
        unit: 'binBps',
        expr: `sum by (tenant) (${BYTES})`,
        legend: '{{tenant}}',
      },
      {
        title: 'Refusals',
        answers: 'Which tenant is refused, and why?',
        unit: 'reqps',
        expr: 'sum by (tenant, code) (rate(tidbmesh_tenant_refused_total[$__rate_interval])) > 0',
        legend: '{{tenant}}: {{code}}',
      },
      {
        title: 'Errors of the store',
        answers: 'What goes wrong for whom at the store?',
        explains:
          '`lock` and `conflict`: transactions of one tenant want the same rows. `busy`: the store is overloaded, or its disk is full. `region`: a region moved, split, or cannot answer yet. `other`: mostly rows that are there already.',
        unit: 'reqps',
        expr: 'sum by (tenant, class) (rate(tidbmesh_tenant_errors_total[$__rate_interval])) > 0',
        legend: '{{tenant}}: {{class}}',
      },
      {
        title: 'Latency',
        answers: 'Which tenant waits for the store?',
        explains:
          'The time that 99 of 100 requests keep. `observability.latency` in the pluginConfig must be true.',
        unit: 'ms',
        expr: 'histogram_quantile(0.99, sum by (tenant, le) (rate(tidbmesh_tenant_request_milliseconds_bucket[$__rate_interval])))',
        legend: '{{tenant}}',
      },
      {
        title: 'Garbage collection held back',
        answers: 'Which tenant needs the oldest versions?',
        unit: 's',
        expr: 'max by (tenant) (max_over_time(tidbmesh_tenant_oldest_transaction_seconds[3m]))',
        legend: '{{tenant}}',
      },
      {
        title: 'Open streams',
        answers: 'Which tenant has many connections?',
        unit: 'short',
        expr: 'sum by (tenant) (tidbmesh_tenant_streams_active)',
        legend: '{{tenant}}',
      },
      {
        title: 'New streams',
        answers: 'Which tenant connects again and again?',
        unit: 'reqps',
        expr: 'sum by (tenant) (rate(tidbmesh_tenant_streams_total[$__rate_interval]))',
        legend: '{{tenant}}',
      },
    ],
  },
  {
    title: 'Tenant $tenant',
    panels: [
      {
        title: 'Requests by kind',
        answers: 'What does the tenant do?',
        unit: 'reqps',
        expr: 'sum by (kind) (rate(tidbmesh_tenant_requests_total{tenant="$tenant"}[$__rate_interval]))',
        legend: '{{kind}}',
      },
      {
        title: 'Bytes of requests',
        answers: 'Does it write much?',
        unit: 'binBps',
        expr: 'sum(rate(tidbmesh_tenant_request_bytes_total{tenant="$tenant"}[$__rate_interval]))',
        legend: 'requests',
      },
      {
        title: 'Bytes of answers',
        answers: 'Does it read much?',
        unit: 'binBps',
        expr: 'sum(rate(tidbmesh_tenant_response_bytes_total{tenant="$tenant"}[$__rate_interval]))',
        legend: 'answers',
      },
      {
        title: 'Refusals by code',
        answers: 'What is it refused?',
        unit: 'reqps',
        expr: 'sum by (code) (rate(tidbmesh_tenant_refused_total{tenant="$tenant"}[$__rate_interval]))',
        legend: '{{code}}',
      },
      {
        title: 'Open streams',
        answers: 'How many connections work for it?',
        unit: 'short',
        expr: 'sum(tidbmesh_tenant_streams_active{tenant="$tenant"})',
        legend: 'streams',
      },
      {
        title: 'Held bytes',
        answers: 'Does it send slowly, or very large messages?',
        unit: 'bytes',
        expr: 'sum(tidbmesh_tenant_held_bytes{tenant="$tenant"})',
        legend: 'held',
      },
    ],
  },
  {
    title: 'The mesh itself',
    panels: [
      {
        title: 'Open streams by Envoy',
        answers: 'Does every Envoy serve?',
        unit: 'short',
        expr: 'sum by (instance) (tidbmesh_streams_active)',
        legend: '{{instance}}',
      },
      {
        title: 'Refusals, of all callers',
        answers: 'What is refused, to callers without a tenant as well?',
        unit: 'reqps',
        expr: 'sum by (code) (rate(tidbmesh_refused[$__rate_interval])) > 0',
        legend: '{{code}}',
      },
      {
        title: 'Memory of the VMs',
        answers: 'Does a VM grow without end?',
        unit: 'bytes',
        expr: 'sum by (instance) (tidbmesh_vm_memory_bytes)',
        legend: '{{instance}}',
      },
      {
        title: 'Held bytes by Envoy',
        answers: 'How near are the limits of held bytes?',
        unit: 'bytes',
        expr: 'sum by (instance) (tidbmesh_held_bytes)',
        legend: '{{instance}}',
      },
      {
        title: 'Region lookups',
        answers: 'Does PD answer the filter?',
        unit: 'reqps',
        expr: 'sum by (instance) (rate(tidbmesh_region_lookups_total[$__rate_interval]))',
        legend: '{{instance}}',
      },
      {
        title: 'Configurations',
        answers: 'Do all VMs run the same configuration?',
        explains: 'One line means that they do.',
        unit: 'short',
        expr: 'count_values("hash", tidbmesh_config_hash)',
        legend: '{{hash}}',
      },
      {
        title: 'Streams that drain',
        answers: 'Is a change of tenants still under way?',
        unit: 'short',
        expr: 'sum by (instance) (tidbmesh_streams_draining)',
        legend: '{{instance}}',
      },
    ],
  },
];

/** Name of the variable that holds the Prometheus which is asked. */
const SOURCE = { type: 'prometheus', uid: '${source}' };

function panelOf({ title, answers, explains, unit, expr, legend }: Panel): PanelBuilder {
  const query = new DataqueryBuilder().expr(expr).legendFormat(legend).refId('A');
  // Three panels in a row of Grafana's 24 columns.
  return new PanelBuilder()
    .title(title)
    .description(explains === undefined ? answers : `${answers} ${explains}`)
    .datasource(SOURCE)
    .unit(unit)
    .min(0)
    .height(8)
    .span(8)
    .withTarget(query);
}

export function dashboard(): Dashboard {
  const builder = new DashboardBuilder('TiDB Mesh')
    .uid('tidb-mesh')
    .tags(['tidb', 'tidb-mesh'])
    .refresh('30s')
    .time({ from: 'now-1h', to: 'now' })
    .withVariable(new DatasourceVariableBuilder('source').label('Prometheus').type('prometheus'))
    .withVariable(
      new QueryVariableBuilder('tenant')
        .label('Tenant')
        .datasource(SOURCE)
        .query('label_values(tidbmesh_tenant_requests_total, tenant)')
        .refresh(VariableRefresh.OnTimeRangeChanged),
    );
  for (const { title, panels } of ROWS) {
    builder.withRow(new RowBuilder(title));
    for (const panel of panels) builder.withPanel(panelOf(panel));
  }
  return builder.build();
}
