/** Imports a stock cluster that works into the mesh, and takes it back, and says how long it was down and what was lost. */
import { createImport } from '../src-ts/move/import.ts';
import { Endpoint } from '../src-ts/pd/endpoint.ts';
import { addTenant } from '../src-ts/tenants/add.ts';
import type { PluginConfig, Stack } from '../test/harness/stack/stack.ts';
import type { Tidb } from '../test/harness/stack/tidb.ts';
import { createBank, judge, runBank, type Ledger } from '../test/move/ledger.ts';
import { startMover } from './mover.ts';

const CLUSTER = 'shop';
const LOAD = { clients: 4, pauseMs: 5 };
const WORK_MS = 2000;
const ADD_MS = 60_000;

/** The tenant that the cluster becomes. */
export const IMPORTED = { name: 'alpha', number: 1 } as const;

/** One way, there or back. */
export interface Crossing {
  readonly to: string;
  /** From the stop of the old TiDB to the first answer of the new one, ms; and the switch alone. */
  readonly downMs: number;
  readonly switchMs: number;
  /** Of the clients before it. */
  readonly committed: number;
}

export interface ImportProof {
  readonly holds: boolean;
  readonly crossings: readonly Crossing[];
  /** What was lost, or is there though it was refused. */
  readonly wrong: readonly string[];
}

/** The configuration before the import: nothing of the tenant passes. */
export function beforeImport(config: PluginConfig): unknown {
  return {
    ...config,
    tenants: config.tenants.map((one) => (one.name === IMPORTED.name ? { ...one, state: 'suspended' } : one)),
  };
}

/**
 * @param mesh its filter runs under `beforeImport(config)`
 * @param shop a stack without a mesh
 */
export async function proveImport(
  mesh: Stack,
  shop: Stack,
  config: PluginConfig,
  tell: (line: string) => void,
): Promise<ImportProof> {
  const outside = { pd: shop.pd.directUrl };
  const mover = await startMover(mesh, config, tell, new Map([[CLUSTER, outside]]));
  const pd = new Endpoint(outside);
  const { name } = IMPORTED;
  const ledgers: Ledger[] = [];
  const wrong: string[] = [];
  const crossings: Crossing[] = [];

  /** Lets clients work for a while. */
  const use = async ({ mysqlPort }: Tidb): Promise<void> => {
    const end = Date.now() + WORK_MS;
    const firstEntry = ledgers.length * 1_000_000;
    const ledger = await runBank(mysqlPort, { ...LOAD, firstEntry }, () => Date.now() > end);
    wrong.push(...ledger.wrong);
    ledgers.push(ledger);
  };
  const cross = async (
    from: Tidb,
    verb: 'switch' | 'reverse',
    to: string,
    start: () => Promise<Tidb>,
  ): Promise<Tidb> => {
    await mover.closeBehind(name);
    tell(`stopping the TiDB that serves ${name}, then: tidb-mesh move ${verb} ${name}`);
    const began = Date.now();
    await from.stop();
    const stopped = Date.now();
    await mover.switch(name, verb);
    const switchMs = Date.now() - stopped;
    tell(`starting a TiDB ${verb === 'switch' ? 'of the tenant, in the mesh' : 'at the cluster'}`);
    const tidb = await start();
    const committed = ledgers.at(-1)?.told.reduce((sum, one) => sum + one.committed.length, 0) ?? 0;
    crossings.push({ to, downMs: Date.now() - began, switchMs, committed });
    for (const ledger of ledgers) wrong.push(...(await judge(tidb.mysqlPort, ledger)));
    return tidb;
  };

  try {
    for (const tenant of config.tenants)
      await addTenant(mover.pd, tenant, { withData: false, timeoutMs: ADD_MS, tell });
    tell(`starting the TiDB of the cluster ${CLUSTER}, and opening a bank in it`);
    const old = await shop.startTidb({ direct: true, name: 'tidb-shop' });
    await createBank(old.mysqlPort);
    const using = use(old);
    tell(`${LOAD.clients} clients transfer money meanwhile; importing ${CLUSTER} as ${name}`);
    await createImport(mover.pd, {
      tenant: { ...IMPORTED, state: 'suspended' },
      cluster: CLUSTER,
      outside: pd,
    });
    await using;
    const inMesh = await cross(old, 'switch', 'into the mesh', () => mesh.startTidb({ tenant: name }));
    await use(inMesh);
    await cross(inMesh, 'reverse', 'back', () => shop.startTidb({ direct: true, name: 'tidb-shop-again' }));
    return { holds: wrong.length === 0, crossings, wrong };
  } finally {
    await mover.stop();
    pd.close();
  }
}
