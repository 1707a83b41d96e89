/** Workers of a move, one after the other, each killed by SIGKILL at one of its steps, while clients commit. */
import { expect } from '@jest/globals';
import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { findMove } from '../../src-ts/move/record.ts';
import { ask, type Verb } from '../../src-ts/move/wishes.ts';
import type { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { WAIT_MS } from '../move/waiting.ts';
import { committed, type UnderLoad } from './under-load.ts';

/** A step at which a worker is killed; the worker of `undefined` ends with the move. */
export type Step = string | undefined;

export interface Dying {
  readonly load: UnderLoad;
  /** Between two transactions of a client: each worker repeats what the one before had not kept. */
  readonly pauseMs: number;
  readonly readersMayFail?: boolean;
  readonly start: (dieAt: Step) => ChildProcess;
  /** How the move stands, for errors. */
  readonly standing: () => Promise<string>;
}

/** @param wish is called again and again: somebody else may have asked for something, and the move may have ended */
export async function live(
  how: string,
  steps: readonly Step[],
  wish: () => Promise<unknown>,
  dying: Dying,
): Promise<void> {
  const began = Date.now();
  const ledger = await dying.load.run(
    how,
    async () => {
      for (const step of steps) await liveTo(step, wish, dying);
    },
    dying.pauseMs,
    dying.readersMayFail,
  );
  expect(committed(ledger)).toBeGreaterThan(0);
  const killed = steps.filter((step) => step !== undefined).length;
  console.log(`${how}: ${killed} killed in ${Math.round((Date.now() - began) / 1000)} s`);
}

async function liveTo(step: Step, wish: () => Promise<unknown>, { start, standing }: Dying): Promise<void> {
  const child = start(step);
  const deadline = Date.now() + WAIT_MS;
  while (child.exitCode === null && child.signalCode === null) {
    if (Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`${step ?? 'the end'}: ${await standing()}`);
    }
    await wish().catch(() => undefined);
    await sleep(100);
  }
  const expected = step === undefined ? 0 : 'SIGKILL';
  const how = child.signalCode ?? child.exitCode;
  if (how !== expected)
    throw new Error(`${step ?? 'the end'}: ended by ${how}, not ${expected}\n${await standing()}`);
}

/** A wish that is asked for whenever the move follows, and nothing is asked for. */
export async function askAgain(pd: Endpoint, tenant: string, verb: Verb): Promise<void> {
  const { state, wish } = (await findMove(pd, tenant))?.record ?? {};
  if (state === 'following' && wish === undefined) await ask(pd, tenant, verb);
}
