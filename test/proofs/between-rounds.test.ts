/**
 * A tenant under load goes from one storage layer to another one and back, ten times, or as often as `--rounds` says, while its TiDB runs
 * on. `npm run test:proofs -- between-rounds --rounds 10`.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Tidb } from '../harness/stack/tidb.ts';
import { createBank, judge, runBank, type Ledger } from '../move/ledger.ts';
import { Layers, spread, WAIT_MS } from './layers.ts';

const ALPHA = { name: 'alpha', number: 1 };
const ROUNDS = Number(process.env['TIDB_MESH_ROUNDS'] ?? 10);
const CLIENTS = 4;
/** So many commits after a switch say that clients go on. */
const GO_ON = 100;
/** Clients have followed when none has begun a call at the old layer for so long. */
const QUIET_MS = 2000;

let layers: Layers;
let tidb: Tidb;

beforeAll(async () => {
  // Both have stores and regions with the same ids, and A's regions have higher versions.
  layers = await Layers.start(['a', 'b'], [ALPHA], { a: { regionSize: 20_000 } });
  tidb = await layers.of('a').stack.startTidb({ tenant: ALPHA.name });
  await createBank(tidb.mysqlPort);
});
afterAll(async () => {
  await layers?.end();
});

const count = ({ told }: Ledger, name: 'committed' | 'unknown' | 'refused'): number =>
  told.reduce((all, one) => all + one[name].length, 0);

test(
  `goes there and back, ${ROUNDS} switches`,
  async () => {
    await layers.begin('a', 'b');
    layers.startWorker();
    await layers.follows();
    let over = false;
    let since = 0;
    const load = { clients: CLIENTS, pauseMs: 20, readersMayFail: true, onCommit: () => void since++ };
    const running = runBank(tidb.mysqlPort, load, () => over);
    const goOn: number[] = [];
    const followed: number[] = [];
    try {
      for (let round = 0; round < ROUNDS; round++) {
        await sleep(1000);
        const { to, from } = await layers.switches();
        const switchedAt = Date.now();
        since = 0;
        const deadline = switchedAt + WAIT_MS;
        while (since < GO_ON && Date.now() < deadline) await sleep(20);
        expect(since).toBeGreaterThanOrEqual(GO_ON);
        goOn.push(Date.now() - switchedAt);
        await sleep(QUIET_MS);
        // The old layer is the one that the copy goes to by now.
        followed.push(Math.max(0, ...(await layers.lastCallsAt(to.storage ?? '', switchedAt)).values()));
        expect(from.storage).toBe(round % 2 === 0 ? 'b' : 'a');
      }
    } finally {
      over = true;
    }
    const ledger = await running;
    const { history, switches, alarm } = await layers.record();
    console.log(
      [
        `${switches} switches, ms, p50 / worst: writes held ${spread(history.map((one) => one.writesHeldMs))}, all held ${spread(history.map((one) => one.allHeldMs))}`,
        `${GO_ON} commits after ${spread(goOn)}, the last call at the old layer after ${spread(followed)}`,
        `${count(ledger, 'committed')} committed, ${count(ledger, 'refused')} refused, ${count(ledger, 'unknown')} unknown, the longest took ${ledger.longestMs} ms`,
        ...[...ledger.errors].map(([kind, many]) => `${many} x ${kind}`),
      ].join('\n'),
    );
    expect({ switches, alarm }).toEqual({ switches: ROUNDS, alarm: undefined });
    expect(ledger.wrong).toEqual([]);
    expect(await judge(tidb.mysqlPort, ledger)).toEqual([]);
    expect(await layers.diff()).toEqual([]);
  },
  (5 + ROUNDS) * 60_000,
);
