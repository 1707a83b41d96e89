/** Moves a tenant under load to another key range and back, and says how long its requests were held and what was lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createMove } from '../src-ts/move/create.ts';
import { moveOf, type Switch } from '../src-ts/move/record.ts';
import type { PluginConfig, Stack } from '../test/harness/stack/stack.ts';
import { createBank, judge, runBank, type Ledger } from '../test/move/ledger.ts';
import { startMover } from './mover.ts';

const CLIENTS = 8;
const TO = { keyNumber: 5 };
const BETWEEN_MS = 2000;
const NAME = 'alpha';

export interface MoveProof {
  readonly holds: boolean;
  readonly switches: readonly Switch[];
  readonly committed: number;
  readonly longestMs: number;
  /** Errors of the clients, by kind. */
  readonly errors: Readonly<Record<string, number>>;
  /** What was lost, or is there though it was refused. */
  readonly wrong: readonly string[];
}

/** @param config what the stack's filter runs under */
export async function proveMove(
  stack: Stack,
  config: PluginConfig,
  tell: (line: string) => void,
): Promise<MoveProof> {
  let over = false;
  const port = stack.tidbs.get(NAME)?.mysqlPort ?? 0;
  const { tenants } = config;
  const mover = await startMover(stack, config, tell);
  try {
    tell(`opening a bank; ${CLIENTS} clients transfer money from now on`);
    await createBank(port);
    const bank = runBank(port, { clients: CLIENTS }, () => over);
    const tenant = tenants.find(({ name }) => name === NAME);
    if (!tenant) throw new Error(`there is no tenant ${NAME}`);
    await createMove(mover.pd, { tenant, to: TO, all: tenants });
    for (const verb of ['switch', 'reverse'] as const) {
      await sleep(BETWEEN_MS);
      await mover.closeBehind(NAME);
      tell(`tidb-mesh move ${verb} ${NAME}`);
      await mover.switch(NAME, verb);
    }
    await sleep(BETWEEN_MS);
    over = true;
    const ledger = await bank;
    const { history } = (await moveOf(mover.pd, NAME)).record;
    const wrong = [...ledger.wrong, ...(await judge(port, ledger))];
    return proofOf(ledger, history, wrong);
  } finally {
    over = true;
    await mover.stop();
  }
}

function proofOf(
  { told, errors, longestMs }: Ledger,
  switches: readonly Switch[],
  wrong: string[],
): MoveProof {
  return {
    holds: wrong.length === 0,
    switches,
    committed: told.reduce((sum, { committed }) => sum + committed.length, 0),
    longestMs,
    errors: Object.fromEntries(errors),
    wrong,
  };
}
