/**
 * Two tenants transfer money, append to lists and write rows while everything fails that can fail: Envoy, PD, the store, TiDB, the network
 * and the configuration. Nothing may be lost, invented or mixed up, and every error must be one after which a client tries again.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { leaderOf, type PdMember } from '../harness/stack/pd.ts';
import type { PluginConfig, Stack } from '../harness/stack/stack.ts';
import { createBank, judge, runBank, type Ledger } from '../move/ledger.ts';
import { Moving } from '../move/moving.ts';
import { isRetryable } from './errors.ts';
import { createLists, judgeLists, runLists, type Done } from './load.ts';

/** How long rounds of all faults go on; 0: one short round. */
const MINUTES = Number(process.env['TIDB_MESH_MINUTES'] ?? 0);
const BANK = { clients: 2, pauseMs: 20, readersMayFail: true };
const LIST_CLIENTS = 2;
/** Between two faults, and how long one lasts. */
const QUIET_MS = 500;
const FAULT_MS = 2000;
/** What each tenant has to commit after a fault before the next one. */
const PROGRESS = 3;
const PROGRESS_MS = 120_000;
const DELAY_MS = 20;
/** How far PD's clock jumps ahead. PD then serves timestamps of that time until its clock is there, too. */
const JUMP_MS = 20_000;
/** Where a tenant moves to, and about how long a switch takes. */
const AWAY = { keyNumber: 5 };
const SWITCH_MS = 1500;
/** Of the test as a whole. */
const TIMEOUT_MS = (MINUTES + 10) * 60_000;
const TENANTS = ['alpha', 'beta'] as const;
const NUMBERS = { alpha: 1, beta: 2 };

let moving: Moving;
let stack: Stack;
const portOf = (tenant: string): number => stack.tidbs.get(tenant)!.mysqlPort;
const victim = (): string => TENANTS[Math.floor(Math.random() * TENANTS.length)]!;

async function leader(): Promise<PdMember> {
  for (;;) {
    const found = await leaderOf(stack.pds);
    if (found) return found;
    await sleep(100);
  }
}

async function paused(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  await sleep(FAULT_MS);
  process.kill(pid, 'SIGCONT');
}

/** The configuration with the tenants as they are by now, and this one otherwise. */
function withTenant(name: string, more: object): unknown {
  const config = moving.config() as PluginConfig;
  const others = config.tenants.filter((tenant) => tenant.name !== name);
  const own = config.tenants.find((tenant) => tenant.name === name);
  return { ...config, tenants: [...others, { ...own, name, ...more }] };
}

/** Physical milliseconds above 18 bits of a counter. */
async function jump(): Promise<void> {
  const tso = (BigInt(Date.now() + JUMP_MS) << 18n).toString();
  const answer = await fetch(`${(await leader()).directUrl}/pd/api/v1/admin/reset-ts`, {
    method: 'POST',
    body: JSON.stringify({ tso, 'force-use-larger': true }),
  });
  if (!answer.ok) throw new Error(`reset-ts: ${answer.status} ${await answer.text()}`);
}

/** A kill of the store loses its locks, which no TiKV does (servers/README.md): it is stopped in order, and paused. */
const FAULTS: Record<string, () => Promise<unknown>> = {
  'Envoy killed': () => stack.envoy!.restart({ hard: true }),
  'connections to the store cut': async () => {
    for (let i = 0; i < 5; i++) {
      stack.store.link!.cut();
      await sleep(FAULT_MS / 5);
    }
  },
  'a TiDB killed': async () => {
    const tidb = stack.tidbs.get(victim())!;
    await tidb.kill();
    await tidb.restart();
  },
  "PD's leader killed": async () => {
    const lost = await leader();
    await lost.kill();
    await sleep(FAULT_MS);
    await lost.start();
  },
  'the store restarted': () => stack.store.restart(),
  'a tenant added': async () => {
    await stack.configure(withTenant('gamma', { number: 3 }));
    await sleep(FAULT_MS);
    await stack.configure(moving.config());
  },
  'a tenant suspended': async () => {
    await stack.configure(withTenant(victim(), { state: 'suspended' }));
    await sleep(FAULT_MS);
    await stack.configure(moving.config());
  },
  'Envoy paused': () => paused(stack.envoy!.pid),
  'the store paused': () => paused(stack.store.pid),
  "PD's leader paused": async () => paused((await leader()).pid),
  'a TiDB paused': () => paused(stack.tidbs.get(victim())!.pid),
  'connections to PD cut': async () => {
    for (const { link } of stack.pds) link?.cut();
    await sleep(FAULT_MS);
  },
  'the store slow': async () => {
    stack.store.link!.delayMs = DELAY_MS;
    await sleep(FAULT_MS);
    stack.store.link!.delayMs = 0;
  },
  'the store cut off': async () => {
    stack.store.link!.hold();
    await sleep(FAULT_MS);
    stack.store.link!.free();
  },
  'Envoy restarted': () => stack.envoy!.restart(),
  "PD's clock jumps ahead": jump,
  // Whoever leads next has a clock that is behind the timestamps that were served.
  "PD's clock is behind after its leader was lost": async () => {
    await jump();
    const lost = await leader();
    await lost.kill();
    await sleep(FAULT_MS);
    await lost.start();
  },
};
const SHORT = [
  'Envoy killed',
  'connections to the store cut',
  'a tenant added',
  'connections to PD cut',
  "PD's clock jumps ahead",
];

/** What happens in the switches of one move. Their number is even, so that the tenant ends where it was. */
const IN_A_SWITCH = [
  'Envoy killed',
  'connections to the store cut',
  "PD's leader killed",
  'the store restarted',
  'Envoy paused',
  'the store paused',
  "PD's leader paused",
  'connections to PD cut',
  'the store slow',
  'Envoy restarted',
];

/** A tenant moves away and back, again and again, and in each switch something fails. */
async function move(inject: (fault: string) => Promise<void>): Promise<number> {
  const name = victim();
  // With the limits that operators have.
  moving.startWorker({ limits: {} });
  await moving.begin(name, AWAY);
  await moving.follows(name);
  for (const [i, fault] of IN_A_SWITCH.entries()) {
    await moving.wish(name);
    await sleep(Math.random() * SWITCH_MS);
    await inject(fault);
    await moving.switchTo(name, i + 1);
  }
  await moving.finish(name, 'cancel');
  await moving.stopWorker();
  return IN_A_SWITCH.length;
}

beforeAll(async () => {
  moving = await Moving.start(
    TENANTS.map((name) => ({ name, number: NUMBERS[name] })),
    { pds: MINUTES > 0 ? 3 : 1, links: true },
  );
  stack = moving.stack;
  await Promise.all(
    TENANTS.map(async (tenant) => {
      await createBank(portOf(tenant));
      await createLists(portOf(tenant));
    }),
  );
});
afterAll(() => moving?.end());

const commits = (ledger: Pick<Ledger, 'told'>): number =>
  ledger.told.reduce((sum, { committed }) => sum + committed.length, 0);

describe('while servers and networks fail', () => {
  const banks: Ledger[] = [];
  const lists: Done[] = [];
  const injected = new Map<string, number>();

  test(
    'both tenants go on after each fault',
    async () => {
      let over = false;
      const isOver = (): boolean => over;
      const progress = TENANTS.map(() => 0);
      const running = TENANTS.map((tenant, i) =>
        Promise.all([
          runBank(portOf(tenant), { ...BANK, onCommit: () => progress[i]!++ }, isOver),
          runLists(tenant, portOf(tenant), { clients: LIST_CLIENTS, isOver }),
        ]),
      );
      const moveOn = async (after: string): Promise<void> => {
        const before = [...progress];
        const deadline = Date.now() + PROGRESS_MS;
        while (progress.some((n, i) => n < before[i]! + PROGRESS)) {
          if (Date.now() > deadline) throw new Error(`no progress after ${after}: ${before} and ${progress}`);
          await sleep(50);
        }
      };
      const inject = async (name: string): Promise<void> => {
        await FAULTS[name]!();
        injected.set(name, (injected.get(name) ?? 0) + 1);
      };
      let switches = 0;
      const end = Date.now() + MINUTES * 60_000;
      try {
        do {
          for (const name of MINUTES === 0 ? SHORT : Object.keys(FAULTS)) {
            await sleep(QUIET_MS);
            await inject(name);
            await moveOn(name);
          }
          if (MINUTES === 0) break;
          switches += await move(inject);
          await moveOn('a move');
        } while (Date.now() < end);
      } finally {
        over = true;
      }
      for (const [bank, list] of await Promise.all(running)) {
        banks.push(bank);
        lists.push(list);
      }
      const all = lists.flatMap(({ history }) => history);
      const errors = [...banks, ...lists].flatMap((one) => [...one.errors]);
      const kinds = new Map<string, number>();
      for (const [kind, n] of errors) kinds.set(kind, (kinds.get(kind) ?? 0) + n);
      const sum = [...injected.values()].reduce((total, n) => total + n, 0);
      console.log(
        [
          `${sum} faults: ${[...injected].map(([name, n]) => `${n} x ${name}`).join(', ')}`,
          `${switches} switches of a tenant`,
          `${banks.reduce((total, one) => total + commits(one), 0)} transfers committed`,
          `${all.filter(({ outcome }) => outcome === 'committed').length} transactions on lists committed, ${
            all.filter(({ outcome }) => outcome === 'unknown').length
          } unknown`,
          ...[...kinds].sort(([, a], [, b]) => b - a).map(([kind, n]) => `${n} x ${kind}`),
        ].join('\n'),
      );
    },
    TIMEOUT_MS,
  );

  test.each(TENANTS.map((tenant, i) => [tenant, i] as const))(
    'nothing of %s is lost, invented or in a wrong order',
    async (tenant, i) => {
      expect(banks[i]!.wrong).toEqual([]);
      expect(await judge(portOf(tenant), banks[i]!)).toEqual([]);
      expect(lists[i]!.history.length).toBeGreaterThan(PROGRESS);
      expect(await judgeLists(tenant, portOf(tenant), lists[i]!)).toEqual([]);
    },
  );

  test('every error is one after which a client tries again', () => {
    const kinds = new Set([...banks, ...lists].flatMap(({ errors }) => [...errors.keys()]));
    expect([...kinds].filter((kind) => !isRetryable(kind))).toEqual([]);
  });
});
