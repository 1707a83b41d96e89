/**
 * Keeps the filter's counters and gauges. Envoy shows them at /stats/prometheus. tenant-metrics.ts keeps those of single tenants: the
 * statistics of the storage layer's Envoys are the operators'.
 */
import { MetricType } from '../host/abi';
import { add, defineMetric, defineMetricAt, increment, record } from '../host/host';
import { VERSION } from '../host/version';
import { vmBudget } from '../memory/stream-buffer';
import { takeRefusals } from '../rewrite/refusal-counts';
import { codeOf } from '../schema/statuses';
import { STATUS_COUNT } from '../schema/table';
import { Text } from '../texts/table';
import * as writer from '../texts/writer';
import { Status } from '../wire/status';
import { streamCount } from './stream';

let streamsTotal: u32 = 0;
/** Number of new streams since the last tick. */
let newStreams: i64 = 0;
export let refusedTotal: u32 = 0;
export let refusedLateTotal: u32 = 0;
let conflictsTotal: u32 = 0;
export let dryRunTotal: u32 = 0;
let lookupsTotal: u32 = 0;
let lookupsFailedTotal: u32 = 0;
let holdingsLookupsTotal: u32 = 0;
let holdingsLookupsFailedTotal: u32 = 0;
let timeLookupsFailedTotal: u32 = 0;
let turnedAwayTotal: u32 = 0;
let drainedTotal: u32 = 0;
let streamsDraining: u32 = 0;
let heldBytes: u32 = 0;
let memoryBytes: u32 = 0;
let streamsActive: u32 = 0;
let buildInfo: u32 = 0;
let defined = false;

/** What this VM has added to each gauge. Every worker has a VM, and a gauge is the sum over all VMs. */
let heldShare: i64 = 0;
let memoryShare: i64 = 0;
let activeShare: i64 = 0;
let drainingShare: i64 = 0;

export function defineMetrics(): void {
  if (defined) return;
  defined = true;
  streamsTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_streams_total');
  refusedTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_refused_total');
  refusedLateTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_refused_late_total');
  conflictsTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_identity_conflicts_total');
  dryRunTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_would_be_refused_total');
  lookupsTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_region_lookups_total');
  lookupsFailedTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_region_lookups_failed_total');
  holdingsLookupsTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_holdings_lookups_total');
  holdingsLookupsFailedTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_holdings_lookups_failed_total');
  timeLookupsFailedTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_time_lookups_failed_total');
  turnedAwayTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_region_acts_turned_away_total');
  drainedTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_streams_drained_total');
  streamsDraining = defineMetric(MetricType.GAUGE, 'tidbmesh_streams_draining');
  heldBytes = defineMetric(MetricType.GAUGE, 'tidbmesh_held_bytes');
  memoryBytes = defineMetric(MetricType.GAUGE, 'tidbmesh_vm_memory_bytes');
  streamsActive = defineMetric(MetricType.GAUGE, 'tidbmesh_streams_active');
  buildInfo = defineMetric(MetricType.GAUGE, 'version=.=' + VERSION + ';.;tidbmesh_build_info');
}

/**
 * Says that this version runs, or that it ends in this VM. All VMs set one gauge to the same value. So one that ends clears it, and each
 * one that goes on sets it again on its tick.
 */
export function recordBuild(runs: bool): void {
  if (defined) record(buildInfo, runs ? 1 : 0);
}

/** Counts a new stream. Envoy is told on the tick, because a call for each would cost more than the rest of counting. */
export function countStream(): void {
  newStreams++;
}

/** Counts a question to PD, or one that Envoy could not send. */
export function countLookup(sent: bool): void {
  increment(sent ? lookupsTotal : lookupsFailedTotal);
}

/** Counts a question to PD about what it keeps of a tenant, or one without a good answer. */
export function countHoldingsLookup(isGood: bool): void {
  increment(isGood ? holdingsLookupsTotal : holdingsLookupsFailedTotal);
}

/** Counts a question to PD about its time that got no good answer. */
export function countFailedTimeLookup(): void {
  increment(timeLookupsFailedTotal);
}

/** Counts acts on regions that went on in a form that the store or PD turns away. */
export function countTurnedAway(acts: u32): void {
  if (acts != 0) add(turnedAwayTotal, acts);
}

/** Counts a caller refused because its principal and its metadata disagree, or two sources of its metadata. */
export function countConflict(): void {
  increment(conflictsTotal);
}

/** Updates this VM's share of a gauge. Returns the new share. */
function share(gauge: u32, old: i64, value: i64): i64 {
  if (value != old) add(gauge, value - old);
  return value;
}

/** Counts a stream that was ended because its caller's identity changed. */
export function countDrained(): void {
  increment(drainedTotal);
}

/** Metrics of refusals by status, plus one. Each is made at its first refusal. */
const refusedBy: usize = memory.data(512, 4);

function recordRefusals(): void {
  for (let status: u32 = Status.MALFORMED; status < STATUS_COUNT; status++) {
    const count = takeRefusals(status);
    if (count == 0) continue;
    const at = refusedBy + ((<usize>status) << 2);
    if (load<u32>(at) == 0) {
      writer.fillText(0, codeOf(status));
      writer.writeTemplate(Text.METRIC);
      store<u32>(at, defineMetricAt(MetricType.COUNTER, writer.textAt, writer.textLength) + 1);
    }
    add(load<u32>(at) - 1, count);
  }
}

/** Tells Envoy the values since the last tick. Called on the tick. */
export function recordMetrics(draining: u32): void {
  if (newStreams != 0) add(streamsTotal, newStreams);
  newStreams = 0;
  recordRefusals();
  drainingShare = share(streamsDraining, drainingShare, draining);
  heldShare = share(heldBytes, heldShare, vmBudget.used);
  memoryShare = share(memoryBytes, memoryShare, (<i64>memory.size()) << 16);
  activeShare = share(streamsActive, activeShare, streamCount());
  recordBuild(true);
}
