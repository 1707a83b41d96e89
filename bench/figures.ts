/** Whole servers: how long a TiDB takes to bootstrap direct and through the mesh, and what the filter weighs. */
import { readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { silent } from '../test/harness/stack/progress.ts';
import { startStack } from '../test/harness/stack/stack.ts';
import type { Benchmark, Settings } from './benchmark.ts';
import { median, rowAtMost, rowOf, tableOf, type Row } from './rows.ts';

const TENANTS = [{ name: 'alpha', number: 1 }];
const ROUNDS = 3;
/** The gauge of memory is set once a second. */
const GAUGE_MS = 1500;
const KIBIBYTE = 1024;
/** Issue 7, in KiB. */
const WASM_BUDGET = 200;

interface Bootstrap {
  readonly milliseconds: number;
  /** Bytes of the wasm, and of all VMs' memory after the bootstrap; of a mesh only. */
  readonly wasm?: { readonly path: string; readonly vmMemoryBytes: number };
}

async function bootstrap(mesh: boolean): Promise<Bootstrap> {
  const stack = await startStack({ tenants: TENANTS, mesh, progress: silent });
  try {
    const milliseconds = stack.tidbs.get('alpha')!.startMilliseconds;
    if (!stack.envoy) return { milliseconds };
    await sleep(GAUGE_MS);
    const memory = await stack.envoy.stats(/tidbmesh_vm_memory_bytes$/);
    const vmMemoryBytes = [...memory.values()][0];
    if (vmMemoryBytes === undefined) throw new Error('Envoy does not show tidbmesh_vm_memory_bytes');
    return { milliseconds, wasm: { path: stack.binaries.wasm, vmMemoryBytes } };
  } finally {
    await stack.stop();
  }
}

async function measure(settings: Settings, tell: (detail: string) => void) {
  const rounds = settings.rounds ?? ROUNDS;
  const direct: number[] = [];
  const mesh: number[] = [];
  let wasm!: NonNullable<Bootstrap['wasm']>;
  for (let round = 1; round <= rounds; round++) {
    tell(`bootstraps, round ${round} of ${rounds}`);
    direct.push((await bootstrap(false)).milliseconds);
    const meshed = await bootstrap(true);
    mesh.push(meshed.milliseconds);
    wasm = meshed.wasm!;
  }
  return {
    direct,
    mesh,
    wasmBytes: statSync(wasm.path).size,
    wasmGzipBytes: gzipSync(readFileSync(wasm.path)).length,
    vmMemoryBytes: wasm.vmMemoryBytes,
  };
}

type Figures = Awaited<ReturnType<typeof measure>>;

function rowsOf({ direct, mesh, wasmBytes, wasmGzipBytes, vmMemoryBytes }: Figures): Row[] {
  const figures = {
    'direct, ms': median(direct),
    'through the mesh, ms': median(mesh),
    'bytes of the wasm': wasmBytes,
    'bytes of the wasm, gzipped': wasmGzipBytes,
    "bytes of all VMs' memory": vmMemoryBytes,
  };
  const ratios = direct.map((milliseconds, round) => milliseconds / mesh[round]!);
  return [
    rowOf('bootstrap of a TiDB, time of a direct one over that through the mesh', ratios, figures),
    rowAtMost('wasm, KiB', [wasmBytes / KIBIBYTE], figures, WASM_BUDGET),
  ];
}

function textOf({ direct, mesh, wasmBytes, wasmGzipBytes, vmMemoryBytes }: Figures): string {
  const all = (values: readonly number[]): string =>
    `${median(values).toFixed(0)} ms (${values.map((value) => value.toFixed(0)).join(', ')})`;
  return tableOf(
    ['figure', 'value'],
    [
      ['bootstrap of a TiDB, direct', all(direct)],
      ['bootstrap of a TiDB, through the mesh', all(mesh)],
      ['wasm', `${wasmBytes} bytes, ${wasmGzipBytes} gzipped`],
      ['memory of all VMs after the bootstrap', `${vmMemoryBytes} bytes`],
    ],
  );
}

export const figures: Benchmark = {
  name: 'figures',
  summary: 'real servers: bootstrap of a TiDB direct and through the mesh; sizes of the wasm and its memory',
  async run(settings, tell) {
    const measured = await measure(settings, tell);
    return { rows: rowsOf(measured), details: measured, text: textOf(measured) };
  },
};
