import { Command } from 'commander';
import colors from 'picocolors';
import { cacheRoot } from '../test/harness/stack/cache.ts';
import { expectInterrupt } from '../test/harness/stack/processes.ts';
import { progressFor } from '../test/harness/stack/progress.ts';
import {
  standardPluginConfig,
  startStack,
  type Stack,
  type StackOptions,
} from '../test/harness/stack/stack.ts';
import { beforeImport, IMPORTED, proveImport } from './import.ts';
import { proveMove } from './move.ts';
import { prove } from './proof.ts';
import { showAccess, showImport, showMove, showProof } from './show.ts';

interface Options {
  once?: true;
  move?: true;
  import?: true;
  json?: true;
  logs?: string;
  wasm?: string;
}

const command = new Command('npm run demo --')
  .description(
    'Runs two stock TiDB servers as two tenants of one PD and one store, through Envoy with the filter. ' +
      "A third TiDB, the storage layer's own, collects garbage for all. " +
      'Installs and builds what it needs, and starts the servers on free ports of 127.0.0.1. ' +
      'Runs the same SQL in both tenants, shows the keys of the rows in the store, and stays up until Ctrl-C.',
  )
  .option('--once', 'end after the proof; exit code 0 if every check holds, 1 otherwise')
  .option('--move', 'instead: move a tenant under load to another key range and back, and end')
  .option('--import', 'instead: import a cluster that knows no mesh, take it back, and end')
  .option('--json', 'print the proof as JSON on standard output (progress goes to standard error)')
  .option('--logs <folder>', "write the servers' logs there (default: a folder of this run below the cache)")
  .option('--wasm <file>', 'use this build of the filter instead of build/release.wasm')
  .addHelpText(
    'after',
    `
Environment:
  TIDB_MESH_CACHE         keeps what is installed and built (now ${cacheRoot()})
  TIDB_MESH_ENVOY, TIDB_MESH_PD_SERVER, TIDB_MESH_TIDB_SERVER, TIDB_MESH_STORE, TIDB_MESH_WASM
                          use these files; install and build none of them

The first run builds PD and TiDB from source: about 10 minutes on 2 cores. Later ones start in seconds.`,
  );

function commonOptions({ logs, wasm }: Options): StackOptions {
  return {
    progress: progressFor(),
    ...(logs === undefined ? {} : { logFolder: logs }),
    ...(wasm === undefined ? {} : { wasmPath: wasm }),
  };
}

async function demo(options: Options): Promise<boolean> {
  if (options.import) return demoImport(options);
  const started = Date.now();
  const stack = await startStack({
    ...commonOptions(options),
    systemTidb: true,
    watched: options.move === true,
  });
  try {
    if (options.move) return await demoMove(stack, options);
    const proof = await prove(stack);
    const holds = proof.checks.every((check) => check.holds);
    if (options.json) {
      const mysql = Object.fromEntries([...stack.tidbs].map(([name, tidb]) => [name, tidb.mysqlPort]));
      print(toJson({ holds, mysql, logs: stack.run.logs, ...proof }));
    } else {
      print(showProof(proof));
      if (!options.once) print(showAccess(stack));
    }
    say(colors.dim(`up and proven after ${Math.round((Date.now() - started) / 1000)} s`));
    if (options.once) return holds;
    say('Press Ctrl-C to stop everything.');
    expectInterrupt();
    // The signal's handler stops the stack and ends this process. A timer keeps the process alive until then.
    await new Promise(() => setInterval(() => {}, 1 << 30));
    return holds;
  } finally {
    await stack.stop();
  }
}

async function demoMove(stack: Stack, { json }: Options): Promise<boolean> {
  const proof = await proveMove(stack, standardPluginConfig(stack.tenants), sayOnce());
  print(json ? toJson(proof) : showMove(proof));
  return proof.holds;
}

async function demoImport(options: Options): Promise<boolean> {
  const tenants = [IMPORTED, { name: 'beta', number: 2 }];
  const config = standardPluginConfig(tenants);
  say(`the mesh, with a tenant ${IMPORTED.name} that is suspended and has no keys:`);
  const mesh = await startStack({
    ...commonOptions(options),
    tenants,
    startTidbs: false,
    boundaries: false,
    watched: true,
    pluginConfig: beforeImport(config),
  });
  try {
    say('a cluster that knows no mesh:');
    const shop = await startStack({ ...commonOptions(options), mesh: false, startTidbs: false });
    try {
      const proof = await proveImport(mesh, shop, config, sayOnce());
      print(options.json ? toJson(proof) : showImport(proof));
      return proof.holds;
    } finally {
      await shop.stop();
    }
  } finally {
    await mesh.stop();
  }
}

/** Says each line once, however often it is told. */
function sayOnce(): (line: string) => void {
  let last = '';
  return (line) => {
    if (line !== last) say(colors.dim(`  ${line}`));
    last = line;
  };
}

/** Writes to standard error, like the progress. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function toJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_name, item: unknown) => (typeof item === 'bigint' ? item.toString() : item),
    2,
  );
}

command.parse();
try {
  process.exitCode = (await demo(command.opts<Options>())) ? 0 : 1;
} catch (error) {
  say(colors.red(error instanceof Error ? error.message : String(error)));
  process.exitCode = 1;
}
