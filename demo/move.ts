/** Moves a tenant under load to another key range and back, and says how long its requests were held and what was lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createMove } from '../src-ts/move/create.ts';
import { makeEngine } from '../src-ts/move/engine-of.ts';
import { vmsOf } from '../src-ts/move/mesh.ts';
import { moveOf, type MoveRecord, type Switch } from '../src-ts/move/record.ts';
import { summaryOf } from '../src-ts/move/show.ts';
import { ask, fulfilled } from '../src-ts/move/wishes.ts';
import { work } from '../src-ts/move/worker.ts';
import { Endpoint } from '../src-ts/pd/endpoint.ts';
import { SYSTEM_PRINCIPAL, type PluginConfig, type Stack } from '../test/harness/stack/stack.ts';
import { createBank, judge, runBank, type Ledger } from '../test/move/ledger.ts';

const CLIENTS = 8;
const TO = { keyNumber: 5 };
const BETWEEN_MS = 2000;
const WAIT_MS = 60_000;
const CLOSE_MS = 1000;
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
  const options = { pd: stack.pd.directUrl };
  const pd = new Endpoint(options);
  const certs = await stack.certs.client(SYSTEM_PRINCIPAL);
  const envoys = [stack.pd.meshAddress, stack.store.meshAddress].map(
    (address) => new Endpoint({ pd: `https://${address}`, ...certs }),
  );
  const stop = new AbortController();
  let over = false;
  const port = stack.tidbs.get(NAME)?.mysqlPort ?? 0;
  const { tenants } = config;
  const working = work(
    {
      pd,
      mesh: {
        tell: (_, { place, move }) =>
          stack.configure({
            ...config,
            tenants: tenants.map((one) =>
              one.name === NAME ? { ...one, ...place, ...(move ? { move } : {}) } : one,
            ),
          }),
        hosts: envoys.map(({ url }) => url.host),
        vms: () => vmsOf(envoys),
      },
      id: 'the demo',
      engineOf: (record) => makeEngine(options, record),
      tell,
    },
    stop.signal,
  );
  const wait = (switches: number): Promise<MoveRecord | undefined> =>
    fulfilled(pd, NAME, { switches, timeoutMs: WAIT_MS, tell: (record) => tell(summaryOf(record).state) });
  try {
    tell('opening a bank');
    await createBank(port);
    const bank = runBank(port, { clients: CLIENTS }, () => over);
    const tenant = tenants.find(({ name }) => name === NAME);
    if (!tenant) throw new Error(`there is no tenant ${NAME}`);
    await createMove(pd, { tenant, to: TO, all: tenants });
    for (const [done, verb] of (['switch', 'reverse'] as const).entries()) {
      await sleep(BETWEEN_MS);
      await closeBehind(pd);
      await ask(pd, NAME, verb);
      await wait(done);
    }
    await sleep(BETWEEN_MS);
    over = true;
    const ledger = await bank;
    const { history } = (await moveOf(pd, NAME)).record;
    const wrong = [...ledger.wrong, ...(await judge(port, ledger))];
    return proofOf(ledger, history, wrong);
  } finally {
    over = true;
    stop.abort();
    await working;
    for (const endpoint of [pd, ...envoys]) endpoint.close();
  }
}

/** Waits until the copy is so close behind that a switch is quick, as an operator would by `move show`. */
async function closeBehind(pd: Endpoint): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const { state, progress } = (await moveOf(pd, NAME)).record;
    const { lagMs = Infinity } = (progress ?? {}) as { lagMs?: number };
    if (state === 'following' && lagMs < CLOSE_MS) return;
    if (Date.now() > deadline)
      throw new Error(`the copy is ${lagMs / 1000} s behind: this machine is too busy`);
    await sleep(100);
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
