/** The filter's counters. Envoy shows them at /stats/prometheus; labels are added by later parts, bounded. */
import { MetricType } from '../host/abi';
import { defineMetric, record } from '../host/host';
import { vmBudget } from '../memory/held';
import { streamCount } from './stream';

export let streamsTotal: u32 = 0;
export let refusedTotal: u32 = 0;
let heldBytes: u32 = 0;
let memoryBytes: u32 = 0;
let streamsActive: u32 = 0;
let defined = false;

export function defineMetrics(): void {
  if (defined) return;
  defined = true;
  streamsTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_streams_total');
  refusedTotal = defineMetric(MetricType.COUNTER, 'tidbmesh_refused_total');
  heldBytes = defineMetric(MetricType.GAUGE, 'tidbmesh_held_bytes');
  memoryBytes = defineMetric(MetricType.GAUGE, 'tidbmesh_vm_memory_bytes');
  streamsActive = defineMetric(MetricType.GAUGE, 'tidbmesh_streams_active');
}

/** Sets the gauges; called on the tick. With several workers each gauge shows the last one's. */
export function recordGauges(): void {
  record(heldBytes, vmBudget.used);
  record(memoryBytes, (<u64>memory.size()) << 16);
  record(streamsActive, streamCount());
}
