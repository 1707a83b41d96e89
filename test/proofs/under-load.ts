/** Clients of a bank beside what a test does. What they were told is compared with what is there. */
import { expect } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Tidb } from '../harness/stack/tidb.ts';
import { createBank, judge, runBank, type Ledger } from '../move/ledger.ts';

const CLIENTS = 4;

export function committed({ told }: Ledger): number {
  return told.reduce((all, one) => all + one.committed.length, 0);
}

function report(how: string, ledger: Ledger): void {
  const { told, errors, longestMs } = ledger;
  const unknown = told.reduce((all, one) => all + one.unknown.length, 0);
  const done = `${committed(ledger)} committed, ${unknown} unknown, the longest took ${longestMs} ms`;
  console.log([`${how}: ${done}`, ...[...errors].map(([kind, count]) => `${count} x ${kind}`)].join('\n'));
}

export class UnderLoad {
  private entries = 0;

  private constructor(private readonly port: number) {}

  static async start({ mysqlPort }: Tidb): Promise<UnderLoad> {
    await createBank(mysqlPort);
    return new UnderLoad(mysqlPort);
  }

  /**
   * Acts while clients commit.
   * @param pauseMs between two transactions of a client
   * @param readersMayFail where PD is away for longer than a reader waits
   */
  async run(how: string, act: () => Promise<void>, pauseMs = 20, readersMayFail = false): Promise<Ledger> {
    let over = false;
    this.entries += 1_000_000;
    const load = { clients: CLIENTS, firstEntry: this.entries, pauseMs, readersMayFail };
    const bank = runBank(this.port, load, () => over);
    try {
      await act();
      await sleep(300);
    } finally {
      over = true;
    }
    const ledger = await bank;
    report(how, ledger);
    expect(ledger.wrong).toEqual([]);
    expect(await judge(this.port, ledger)).toEqual([]);
    return ledger;
  }
}
