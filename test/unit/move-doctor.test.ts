/** What `move doctor` says of every half-way state. On real servers it is in test/move/import.test.ts. */
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  diagnose,
  withoutRecord,
  type Commands,
  type Diagnosis,
  type Facts,
  type Told,
} from '../../src-ts/move/diagnosis/diagnosis.ts';
import { examineMoves } from '../../src-ts/move/diagnosis/doctor.ts';
import { commandsFor, toldIn } from '../../src-ts/cli/commands/move/doctor.ts';
import { skewText } from '../../src-ts/move/other-pd.ts';
import { NO_TIME_YET } from '../../src-ts/move/place.ts';
import { save, type MoveRecord, type State } from '../../src-ts/move/record.ts';
import { objection, type Verb } from '../../src-ts/move/wishes.ts';
import { CommandError } from '../../src-ts/errors.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { ruleOf } from '../../src-ts/tenants/registry.ts';
import { memcomparable } from '../../src-ts/tenants/tenant.ts';
import { EtcdModel } from '../harness/support/etcd-model.ts';
import { rowKey } from '../harness/support/keys.ts';
import { moveRecord } from '../harness/support/move-record.ts';
import { PdModel } from '../harness/support/pd-model.ts';

const NOW = 1_800_000_000_000;
const LIVES = { id: 'host:1', until: NOW + 4000 };
const DEAD = { id: 'host:1', until: NOW - 30_000 };
const SHOP = { cluster: 'shop' };

const record = (fields: Partial<MoveRecord> = {}): MoveRecord =>
  moveRecord({ serial: 7, worker: LIVES, ...fields });

const facts = (fields: Partial<Facts> = {}): Facts => ({ down: [], failures: [], ...fields });
const commands: Commands = {
  verb: (verb, tenant, option) => [verb, tenant, option].filter((part) => part !== undefined).join(' '),
  run: () => 'run',
};
const of = (fields: Partial<MoveRecord>, found: Partial<Facts> = {}): Diagnosis =>
  diagnose(record(fields), facts(found), commands, NOW);
const GONE = { away: { name: 'shop', gone: 'no answer from pd.shop:2379', tidbs: [] } };
const decided = (served: MoveRecord['from']): Partial<MoveRecord> => ({
  state: 'committing',
  committed: { served, fence: '1', writesHeldSince: 1, allHeldSince: 1 },
});

describe('each state of a move', () => {
  const AWAY = { from: { keyNumber: 5 }, to: {}, switches: 1 };
  test.each<[string, Partial<MoveRecord>, string, string, string, string[], string[]]>([
    [
      'planned',
      { state: 'planned' },
      'it is being moved from number 1 to number 5; nothing is copied yet',
      'at number 1',
      'pass, apart from bulk loads',
      ['switch alpha'],
      ['cancel alpha'],
    ],
    [
      'copying',
      { state: 'copying', progress: { copied: { bytes: 1, keys: 9, ofBytes: 2 } } },
      'it is being moved from number 1 to number 5; its keys are being copied: 0.0 MiB, 9 keys (50 %)',
      'at number 1',
      'pass, apart from bulk loads',
      ['switch alpha'],
      ['cancel alpha'],
    ],
    [
      'followed, not switched',
      {},
      'its keys are copied from number 1 to number 5, and its changes are carried there; it was not switched yet, or taken back',
      'at number 1',
      'pass, apart from bulk loads',
      ['switch alpha'],
      ['cancel alpha'],
    ],
    [
      'followed, switched',
      AWAY,
      'it was switched to number 5; its changes are carried back to number 1, so that the way back loses nothing',
      'at number 5',
      'pass, apart from bulk loads',
      ['complete alpha'],
      ['reverse alpha', 'cancel alpha'],
    ],
    [
      'switching',
      { state: 'switching' },
      'a switch from number 1 to number 5 has begun, and is not decided: if it fails, the tenant stays at number 1',
      'at number 1',
      'writes may be held: the record does not say in which phase the filters are; --envoy asks them',
      ['switch alpha'],
      ['cancel alpha'],
    ],
    [
      'switching back',
      { ...AWAY, state: 'switching' },
      'a switch from number 5 to number 1 has begun, and is not decided: if it fails, the tenant stays at number 5',
      'at number 5',
      'writes may be held: the record does not say in which phase the filters are; --envoy asks them',
      ['reverse alpha'],
      ['complete alpha'],
    ],
    [
      'decided',
      decided({ keyNumber: 5 }),
      'a switch to number 5 is decided, and not all filters are known to have heard of it',
      'at number 5, by each filter that has heard of it',
      'pass where the filter has heard of the switch, and are held where it has not',
      [],
      ['reverse alpha'],
    ],
    [
      'completing',
      { ...AWAY, state: 'completing' },
      'the move ends: the keys at number 1 are being destroyed, and the tenant stays at number 5',
      'at number 5',
      'pass, apart from bulk loads',
      [],
      [],
    ],
    [
      'cancelling',
      { state: 'cancelling' },
      'the move is given up: the keys at number 5 are being destroyed, and the tenant stays at number 1',
      'at number 1',
      'pass, apart from bulk loads',
      [],
      [],
    ],
  ])('%s', (_, fields, means, served, requests, forward, back) => {
    const found = of(fields);
    expect(found).toMatchObject({ means, served, requests, needsYou: false, holds: [] });
    expect([found.forward.commands, found.back.commands]).toEqual([forward, back]);
    // Without a worker, both ways begin with one.
    const alone = of({ ...fields, worker: DEAD });
    expect(alone).toMatchObject({
      needsYou: true,
      holds: ['no worker'],
      worker: `none works on it; host:1 was the last one, until ${new Date(DEAD.until).toISOString()} by its own clock`,
    });
    for (const [way, more] of [
      [alone.forward, forward],
      [alone.back, back],
    ] as const)
      if (way.isOpen) expect(way.commands).toEqual(['run', ...more]);
  });

  test('what is offered first is not refused', () => {
    for (const state of ['following', 'completing', 'cancelling'] as const)
      for (const switches of [0, 1]) {
        const now = record({ state, switches });
        const { forward, back } = diagnose(now, facts(), commands, NOW);
        for (const {
          isOpen,
          commands: [first],
        } of [forward, back])
          if (isOpen && first) expect(objection(now, first.split(' ')[0] as Verb)).toBeUndefined();
      }
  });

  test('phases of a switch are those that the filters tell, or the configuration', () => {
    const state: State = 'switching';
    const acknowledged = { serial: 7, phase: 'final', vms: 2, missing: [] };
    const told = { serial: 7, phase: 'drain', until: NOW } as const;
    expect(of({ state }, { acknowledged }).requests).toBe('all are held, without an end');
    expect(of({ state }, { told }).requests).toBe('new writes are held, until 2027-01-15T08:00:00.000Z');
    // Of another step.
    expect(of({ state }, { told: { ...told, serial: 6 } }).requests).toContain('may be held');
  });

  test('all that holds a move is named', () => {
    const alarm = { at: 1, place: { keyNumber: 5 }, commits: [], count: 3, isStopped: true };
    const missing = [{ vm: 'pd:2379 (VM 1)', why: 'knows nothing of the move' }];
    const found = of(
      {
        alarm,
        problem: 'the switch was not done',
        isPaused: true,
        progress: { lagMs: 60_000, trouble: 'notLeader' },
      },
      {
        down: ['store 4 (tikv-4:20160) is Down'],
        acknowledged: { serial: 7, phase: 'final', vms: 2, missing },
        oldestLock: { startTs: '1', ageMs: 90_000, tableId: '7', table: 'bank.log', isPessimistic: true },
      },
    );
    expect(found.needsYou).toBe(true);
    expect(found.requests).toBe('all are held until an operator goes on: move resume alpha');
    expect(found.holds).toEqual([
      'store 4 (tikv-4:20160) is Down',
      expect.stringContaining('alarm: 3 commits at number 5'),
      'it is paused, and garbage collection keeps old versions meanwhile',
      'the last step has failed: the switch was not done',
      'a change feed is tried again: notLeader',
      'the target is 60.0 s behind',
      'the oldest lock: table bank.log, of an open transaction for 90 s',
      'filter pd:2379 (VM 1) knows nothing of the move',
    ]);
    expect(found.forward.commands).toEqual(['show alpha', 'resume alpha', 'switch alpha']);
  });
});

describe('an import', () => {
  const HERE: Partial<MoveRecord> = { from: SHOP, to: {} };
  const SWITCHED: Partial<MoveRecord> = { from: {}, to: SHOP, switches: 1 };
  const shop = (tidbs: string[] = []): Partial<Facts> => ({ away: { name: 'shop', tidbs } });

  test('is served by its own TiDBs until the switch, which stops them', () => {
    const found = of(HERE, shop(['10.0.0.7:4000']));
    expect(found).toMatchObject({
      needsYou: false,
      served: 'at cluster shop, by its own TiDBs; the mesh serves nothing of it',
      requests: 'pass at the cluster, where no filter stands in front of them',
      forward: { what: 'stop the TiDBs of cluster shop; then switch it to number 1' },
    });
    expect(of({ ...HERE, state: 'switching' }, shop()).requests).toContain(
      'none pass: its TiDBs are stopped',
    );
  });

  test('a decided switch is heard of by one filter after the other', () => {
    expect(of({ ...HERE, ...decided({}) }, shop()).requests).toBe(
      'pass where the filter has heard of the switch, and are refused where it has not',
    );
    expect(of({ ...SWITCHED, ...decided(SHOP) }, shop()).requests).toBe(
      "none pass: start the cluster's TiDBs when all filters have heard of it",
    );
  });

  test('TiDBs that run at the cluster after the switch need you', () => {
    const found = of(SWITCHED, shop(['10.0.0.7:4000']));
    expect(found.needsYou).toBe(true);
    expect(found.holds).toEqual([
      'TiDBs run at cluster shop, where the tenant is not served: 10.0.0.7:4000. Stop them: what they write is lost',
    ]);
    expect(found.forward.what).toBe('stay at number 1, and end the move; cluster shop keeps its keys');
  });

  test.each<[string, Partial<MoveRecord>, string, boolean, boolean]>([
    ['copying', { ...HERE, state: 'copying' }, 'nowhere: cluster shop does not answer', false, true],
    ['followed', HERE, 'nowhere: cluster shop does not answer', false, true],
    ['switching', { ...HERE, state: 'switching' }, 'nowhere: cluster shop does not answer', false, true],
    [
      'decided for the mesh',
      { ...HERE, ...decided({}) },
      'at number 1, by each filter that has heard of it',
      true,
      false,
    ],
    ['switched', SWITCHED, 'at number 1', true, false],
    [
      'decided for the cluster',
      { ...SWITCHED, ...decided(SHOP) },
      'nowhere: cluster shop does not answer',
      false,
      false,
    ],
  ])('when the cluster is gone: %s', (_, fields, served, isForward, isBack) => {
    const found = of(fields, GONE);
    expect(found).toMatchObject({
      needsYou: true,
      served,
      forward: { isOpen: isForward },
      back: { isOpen: isBack },
    });
    expect(found.holds).toContain('cluster shop does not answer: no answer from pd.shop:2379');
  });

  test('the last copy is not destroyed without a word', () => {
    expect(of(HERE, GONE).back.what).toContain('this copy is the last one: think before you destroy it');
    expect(of(HERE, GONE).back.commands.at(-1)).toBe('cancel alpha --without-cluster');
    expect(of(HERE, shop()).back.commands.join()).not.toContain('--without-cluster');
    expect(of(HERE, shop()).back.what).not.toContain('the last one');
  });
});

test('the command that starts a worker names every file that this one was given', () => {
  const files = { clusters: 'c.yaml', storages: 's.yaml', config: 'mesh.yaml' };
  const line = commandsFor({ pd: 'http://pd:2379', envoy: ['http://pd:2379'], ...files }).run();
  for (const [option, file] of Object.entries(files)) expect(line).toContain(` --${option} ${file} `);
});

describe('a move between two storage layers', () => {
  const [A, B] = [{ storage: 'a' }, { storage: 'b' }];
  const BETWEEN: Partial<MoveRecord> = { home: 'b', from: A, to: B };
  const SWITCHED: Partial<MoveRecord> = { home: 'b', from: B, to: A, switches: 1 };
  const NOBODY = { away: { name: 'a', gone: 'no answer from pd-a:2379', tidbs: [] } };

  const LEAVE = ['cancel alpha --without-storage'];

  test.each<[string, Partial<MoveRecord>, string, boolean, string[], string[]]>([
    [
      'copying',
      { ...BETWEEN, state: 'copying' },
      'nowhere: number 1 in storage a does not answer',
      false,
      [],
      LEAVE,
    ],
    ['followed', BETWEEN, 'nowhere: number 1 in storage a does not answer', false, [], LEAVE],
    [
      'switching',
      { ...BETWEEN, state: 'switching' },
      'nowhere: number 1 in storage a does not answer',
      false,
      [],
      LEAVE,
    ],
    [
      'switching back',
      { ...SWITCHED, state: 'switching' },
      'at number 1 in storage b',
      true,
      ['complete alpha --other-is-gone'],
      [],
    ],
    [
      'decided for b',
      { ...BETWEEN, ...decided(B) },
      'at number 1 in storage b, by each filter that has heard of it',
      true,
      ['complete alpha --other-is-gone'],
      [],
    ],
    ['switched', SWITCHED, 'at number 1 in storage b', true, ['complete alpha --other-is-gone'], []],
    [
      'decided for a',
      { ...SWITCHED, ...decided(A) },
      'nowhere: number 1 in storage a does not answer',
      false,
      [],
      LEAVE,
    ],
    [
      'completing',
      { ...SWITCHED, state: 'completing' },
      'at number 1 in storage b',
      true,
      ['complete alpha --other-is-gone'],
      [],
    ],
    [
      'cancelling',
      { ...BETWEEN, state: 'cancelling' },
      'nowhere: number 1 in storage a does not answer',
      false,
      [],
      LEAVE,
    ],
  ])('when the other storage is gone: %s', (_, fields, served, isForward, forward, back) => {
    const found = of(fields, NOBODY);
    expect(found).toMatchObject({
      needsYou: true,
      served,
      forward: { isOpen: isForward, commands: forward },
      back: { isOpen: back.length > 0, commands: back },
    });
    expect(found.holds).toContain('storage a does not answer: no answer from pd-a:2379');
    expect([found.forward.what, found.back.what].join(' ')).not.toContain('cluster');
    // What is offered is not refused.
    if (forward.length > 0)
      expect(objection(record(fields), 'complete', { otherIsGone: true })).toBeUndefined();
    if (back.length > 0)
      expect(objection(record(fields), 'cancel', { withoutStorage: true })).toBeUndefined();
  });

  test('when the one that serves the tenant is gone, it says that the copy is kept, and what it has', () => {
    const at = (millis: number): string => String(BigInt(millis) << 18n);
    const progress = { follow: {}, watch: {}, resolvedTs: at(NOW) };
    const { back } = of({ ...BETWEEN, to: { ...B, readableSince: at(NOW - 5) }, progress }, NOBODY);
    expect(back.what).toBe(
      `wait until storage a answers. Until then, nothing of the copy is destroyed. If it is gone for good, end the move without it: the copy is kept, and the tenant is suspended, so nobody serves it. number 1 in storage b has all that was committed up to ${at(NOW)}, 2027-01-15T08:00:00.000Z, and nothing before ${at(NOW - 5)} (readableSince). What was committed later is lacking, or is there in part. docs/move.md says what can be done with the copy, and at what risk`,
    );
    // Its ranges were read at several times, and not all of them have reached the last one.
    const early = { ...BETWEEN, to: { ...B, readableSince: at(NOW + 5) }, progress };
    expect(of(early, NOBODY).back.what).toContain('a copy of all keys, of no single time');
    const old = { ...BETWEEN, progress: { lagMs: null, resolvedTs: '0' }, wayBackLost: 'collected' };
    expect(of(old, NOBODY).back.what).toContain('a copy of all keys, of no single time');
  });

  test('and when an operator has ended the move without it, a worker does that', () => {
    for (const state of ['following', 'cancelling', 'committing'] as const) {
      const sides = state === 'committing' ? { ...SWITCHED, ...decided(A) } : { ...BETWEEN, state };
      const found = of({ ...sides, wish: 'cancel', otherIsGone: true, progress: { equalAt: '1' } }, NOBODY);
      expect(found.served).toMatch(/^nowhere/);
      expect(found.back).toMatchObject({ isOpen: true, commands: [] });
      expect(found.back.what).toMatch(
        /^a worker ends the move by itself, and keeps the copy\. number 1 in storage b/,
      );
      if (state === 'cancelling')
        expect(found.means).toBe(
          'the move is given up: what is at number 1 in storage b is kept, and the tenant stays at number 1 in storage a, suspended',
        );
    }
  });

  test('only the storage layer that was left is given up', () => {
    for (const fields of [{}, BETWEEN, { ...SWITCHED, ...decided(A), state: 'committing' as const }])
      expect(objection(record(fields), 'complete', { otherIsGone: true })?.message).toContain(
        'is not served by a storage layer that it was moved to',
      );
  });

  const etcdOf = (id: string): EtcdModel => new EtcdModel({ '/stores': { stores: [] }, '/cluster': { id } });

  /** A PD with this id. */
  async function pdOf(id: string): Promise<{ url: string; close: () => void }> {
    const server = createServer((request, response) => {
      const answer = request.url?.endsWith('/stores') ? { stores: [] } : { id };
      response.end(JSON.stringify(answer));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
  }

  test('asks both PDs: one that is gone, another one than was meant, and the same one twice', async () => {
    const a = await pdOf('7001');
    const ask = async (own: string, home = '7002', url = a.url): Promise<readonly string[]> => {
      const etcd = etcdOf(home);
      await save(etcd.endpoint, {
        record: record({
          ...BETWEEN,
          to: { ...B, clusterId: { seen: '7001', own } },
          worker: { ...LIVES, until: Date.now() + 4000 },
        }),
        revision: 0n,
      });
      const [found] = await examineMoves(etcd.endpoint, {
        endpoint: { pd: 'http://127.0.0.1:9' },
        clusters: new Map([['a', { pd: url }]]),
        envoys: [],
        commands,
      });
      return found!.holds;
    };
    try {
      expect(await ask('7002')).toEqual([]);
      expect(await ask('7009')).toEqual([
        'the PD of storage b has cluster id 7002, and the record of the move 7009: it is another PD, or has lost its data',
      ]);
      expect(await ask('7002', '7001')).toEqual([
        'storage a and storage b have the same PD: give the right --pd, and the right file',
      ]);
      expect(await ask('7002', '7002', 'http://127.0.0.1:9')).toEqual([
        expect.stringContaining('storage a does not answer: '),
      ]);
    } finally {
      a.close();
    }
  });

  test.each<[string, Partial<MoveRecord>, string, string]>([
    ['the one that was left', SWITCHED, 'complete alpha --other-is-gone', 'forward'],
    ['the one that serves the tenant', BETWEEN, 'cancel alpha --without-storage', 'back'],
  ])('a PD that is another one than before is as good as gone: %s', async (_, fields, command, way) => {
    const a = await pdOf('7009');
    try {
      const etcd = etcdOf('7002');
      const worker = { ...LIVES, until: Date.now() + 4000 };
      await save(etcd.endpoint, {
        record: record({ ...fields, pdIds: { home: '7002', other: '7001' }, worker }),
        revision: 0n,
      });
      const [found] = await examineMoves(etcd.endpoint, {
        endpoint: { pd: 'http://127.0.0.1:9' },
        clusters: new Map([['a', { pd: a.url }]]),
        envoys: [],
        commands,
      });
      expect(found).toMatchObject({
        needsYou: true,
        holds: [expect.stringContaining('the PD of storage a has cluster id 7009')],
        [way]: {
          isOpen: true,
          what: expect.stringMatching(
            /^give the address of the PD that storage a had\. .*If it is gone for good/,
          ),
          commands: [command],
        },
        [way === 'back' ? 'forward' : 'back']: { isOpen: false },
      });
      if (way === 'back') expect(found!.served).toContain('has another PD than when the move began');
    } finally {
      a.close();
    }
  });

  describe('whose record is nowhere', () => {
    const own = Object.getOwnPropertyDescriptors(Endpoint.prototype);
    let pds: Record<string, PdModel>;
    const KEYS = { name: 'alpha', number: 7 };

    beforeEach(() => {
      pds = { a: new PdModel(), b: new PdModel() };
      const at = ({ url }: Endpoint): Endpoint => pds[url.hostname]!.endpoint;
      Object.assign(Endpoint.prototype, {
        async http(this: Endpoint, ...asked: Parameters<Endpoint['http']>) {
          return at(this).http(...asked);
        },
        async grpc(this: Endpoint, ...asked: Parameters<Endpoint['grpc']>) {
          return at(this).grpc(...asked);
        },
      });
    });
    afterEach(() => void Object.defineProperties(Endpoint.prototype, own));

    /** It knows the tenant, and may have its keys. */
    function fill(name: string, hasKeys = true): void {
      pds[name]!.rules = [ruleOf(KEYS)];
      if (hasKeys) pds[name]!.keys.add(memcomparable(rowKey(100, 1, KEYS.number)).toString('latin1'));
    }

    /** What is said by the PD of `home`, the other one being in --storages. */
    async function examined(home: string, told: Partial<Told>, storages = ['a', 'b']): Promise<Diagnosis> {
      const other = home === 'a' ? 'b' : 'a';
      const [found] = await examineMoves(pds[home]!.endpoint, {
        endpoint: { pd: 'http://127.0.0.1:9' },
        clusters: new Map([[other, { pd: `http://${other}:2379` }]]),
        others: new Map([[other, []]]),
        envoys: [],
        commands,
        told: [
          {
            tenant: 'alpha',
            place: 'number 7 in storage b',
            storage: 'b',
            order: { serial: 9, phase: 'final' },
            storages,
            keys: KEYS,
            ...told,
          },
        ],
      });
      return found!;
    }

    test.each(['a', 'b'])(
      'behind a hand-over, the storage that has its keys is opened, asked at %s',
      async (home) => {
        fill('a');
        const to = await examined(home, { handedOverBy: 'a' });
        expect(to).toMatchObject({
          state: 'lost',
          needsYou: true,
          served: expect.stringMatching(/^nowhere: .* behind the hand-over by storage a/),
          forward: { isOpen: false },
          back: { isOpen: true, what: expect.stringContaining(': storage a has all that was committed.') },
        });
        expect(to.holds).toContain(
          'storage b has nothing of the tenant: its data is lost, or it is another one',
        );
        expect(to.back.what).toContain('what its `movedFrom` says, that is `storage: a`');
        expect(to.back.what).toContain('phase: over}');
        const back = await examined(home, {
          handedOverBy: 'b',
          storage: 'a',
          place: 'number 7 in storage a',
        });
        expect(back.back.what).toContain(': number 7 in storage a has all that was committed.');
        expect(back.back.what).toContain('Remove `latestSeen` and `movedFrom`');
      },
    );

    test('one that knows the tenant and has no keys is as empty', async () => {
      fill('a');
      fill('b', false);
      const { back } = await examined('b', {
        handedOverBy: 'b',
        storage: 'a',
        place: 'number 7 in storage a',
      });
      expect(back.what).toContain(': number 7 in storage a has all that was committed.');
      pds['a']!.keys.clear();
      const none = await examined('b', { handedOverBy: 'b', storage: 'a', place: 'number 7 in storage a' });
      expect(none.back).toMatchObject({ isOpen: false, what: expect.stringContaining('must answer first') });
    });

    test('of two that have it, the one that its TiDBs know is opened', async () => {
      fill('a');
      fill('b');
      expect((await examined('b', { handedOverBy: 'a' })).back.what).toContain('storage a has all');
    });

    test('before that, the one that serves it goes on, if it has the keys', async () => {
      const order = { serial: 9, phase: 'prepare' } as const;
      expect(await examined('a', { order })).toMatchObject({
        served: 'nowhere; number 7 in storage b by the configuration',
        forward: { isOpen: false, what: expect.stringContaining('storage b must have its data again') },
      });
      fill('b');
      const found = await examined('a', { order });
      expect(found).toMatchObject({
        state: 'lost',
        served: 'at number 7 in storage b, by the configuration',
        forward: {
          isOpen: true,
          what: expect.stringContaining('remove `move` and `movesTo` or `movedFrom`'),
        },
      });
    });

    test('is not called lost before all have been asked, and have answered', async () => {
      fill('a');
      const few = await examined('b', { handedOverBy: 'a' }, ['a', 'b', 'c']);
      expect(few).toMatchObject({ state: 'unknown', back: { isOpen: false } });
      expect(few.back.what).toBe(
        'ask again with each storage layer of the file, but that of --pd, in --storages',
      );
      pds['a']!.endpoint.grpc = async () => Promise.reject(new Error('no answer from a:2379'));
      const silent = await examined('b', { handedOverBy: 'a' });
      expect(silent).toMatchObject({
        state: 'unknown',
        holds: ['storage a does not answer: no answer from a:2379'],
        back: { isOpen: false, what: 'storage a must answer first: its PD may have the record' },
      });
    });

    test('or is at another one than was asked', async () => {
      await save(pds['a']!.endpoint, { record: record({ ...BETWEEN, home: 'a' }), revision: 0n });
      const found = await examined('b', {});
      expect(found.means).toContain('that of storage a has it');
      expect(found.back.what).toContain('the PD of storage a as --pd');
    });
  });

  test('a record that another PD may have is not called lost', async () => {
    const told = { tenant: 'alpha', place: 'number 1 in storage a', storage: 'a' };
    const [found] = await examineMoves(etcdOf('7002').endpoint, {
      endpoint: { pd: 'http://127.0.0.1:9' },
      clusters: new Map(),
      envoys: [],
      commands,
      told: [{ ...told, order: { serial: 9, phase: 'prepare' } }],
    });
    expect(found).toMatchObject({
      state: 'unknown',
      served: 'at number 1 in storage a, by the configuration',
      forward: { isOpen: false },
      back: { isOpen: false },
    });
    expect(found!.means).toContain("another storage layer's PD may have it");
  });

  test('clocks that are apart are named', () => {
    expect(skewText(-3200, 'the PD of storage b', 'the PD of storage a')).toBe(
      'the clock of the PD of storage b is 3.2 s ahead',
    );
    expect(skewText(900, 'b', 'a')).toBeUndefined();
    const found = of(BETWEEN, { contradictions: ['the clock of the PD of storage b is 3.2 s ahead'] });
    expect(found).toMatchObject({
      needsYou: true,
      holds: ['the clock of the PD of storage b is 3.2 s ahead'],
    });
  });

  describe('when the PD with the record is gone', () => {
    const order = { serial: 9, phase: 'prepare' } as const;
    const error = new CommandError('UNREACHABLE', 'no answer from pd-b:2379', '');
    const pd = { grpc: async () => Promise.reject(error) } as unknown as Endpoint;
    const examine = (told: Told, url: string): Promise<Diagnosis[]> =>
      examineMoves(pd, {
        endpoint: { pd: 'http://127.0.0.1:9' },
        clusters: new Map([['a', { pd: url }]]),
        envoys: [],
        commands,
        told: [told],
      });
    const atA: Told = { tenant: 'alpha', place: 'number 1 in storage a', order, storage: 'a' };

    test('the other storage serves the tenant', async () => {
      const a = await pdOf('7001');
      try {
        const [found] = await examine(atA, a.url);
        expect(found).toMatchObject({
          state: 'unknown',
          needsYou: true,
          served: 'at number 1 in storage a, by the configuration',
          requests: 'pass, apart from bulk loads',
          holds: ['the storage layer with the record does not answer: no answer from pd-b:2379'],
          forward: { isOpen: false },
          back: { isOpen: true },
        });
        expect(found!.back.what).toContain('phase: over}');
      } finally {
        a.close();
      }
    });

    test('so is the other one, or it serves the tenant itself', async () => {
      const [both] = await examine(atA, 'http://127.0.0.1:9');
      expect(both).toMatchObject({ served: 'nowhere; number 1 in storage a by the configuration' });
      expect(both!.holds).toEqual([
        expect.stringContaining('pd-b:2379'),
        expect.stringContaining('that of number 1 in storage a does not answer: '),
      ]);
      const atB = { ...atA, storage: 'b', place: 'number 1 in storage b' };
      const [itself] = await examine(atB, 'http://127.0.0.1:9');
      expect(itself).toMatchObject({
        served: 'nowhere; number 1 in storage b by the configuration',
        back: { isOpen: false },
      });
      expect(itself!.back.what).toContain('restore both from a backup');
    });

    describe('in the middle of a switch', () => {
      const folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-doctor-'));
      afterAll(() => rmSync(folder, { recursive: true }));
      const file = (at: string, from: string, more: object): string => {
        const path = join(folder, 'mesh.json');
        const address = (n: number): { advertise: string; server: string } => ({
          advertise: `127.0.0.1:${n}`,
          server: `127.0.0.1:${n + 1}`,
        });
        const move = { serial: 7, phase: 'final' };
        const storages = ['a', 'b'].map((name, i) => ({
          name,
          principal: `spiffe://x/ns/proxies/sa/${name}`,
          pd: [address(1 + 10 * i)],
          tikv: [address(5 + 10 * i)],
        }));
        const tenants = [
          { name: 'alpha', number: 1, storage: at, move, movedFrom: { storage: from, move }, ...more },
        ];
        writeFileSync(
          path,
          JSON.stringify({ target: 'envoy', storages, pluginConfig: { tenants, rules: [] } }),
        );
        return path;
      };
      const handedOver = { state: 'suspended', latestSeen: NO_TIME_YET };
      const examined = async (path: string, url: string): Promise<Diagnosis> => {
        const [told] = toldIn(path);
        const [found] = await examine(told!, url);
        return found!;
      };

      test('to a storage that is lost, the one that has handed the tenant over has everything', async () => {
        const a = await pdOf('7001');
        try {
          const found = await examined(file('b', 'a', handedOver), a.url);
          expect(found).toMatchObject({
            served: expect.stringMatching(
              /^nowhere: .* a switch to number 1 in storage b, behind .* storage a/,
            ),
            requests: 'all are held, without an end',
            forward: { isOpen: false },
            back: { isOpen: true },
          });
          expect(found.back.what).toContain('storage a has all that was committed');
          expect(found.back.what).toContain('what its `movedFrom` says, that is `storage: a`');
          expect(found.back.what).toContain('phase: over}');
        } finally {
          a.close();
        }
        const both = await examined(file('b', 'a', handedOver), 'http://127.0.0.1:9');
        expect(both.back).toMatchObject({
          isOpen: false,
          what: 'PD of storage a or b must answer first: one of them must serve the tenant',
        });
      });

      test('back, and the one that it leaves is lost: the other one has everything, and knows no versions', async () => {
        const a = await pdOf('7001');
        try {
          const found = await examined(file('a', 'b', handedOver), a.url);
          expect(found).toMatchObject({
            served: expect.stringContaining('nowhere: '),
            back: { isOpen: true },
          });
          expect(found.back.what).toContain('number 1 in storage a has all that was committed');
          expect(found.back.what).toMatch(
            /Stop its TiDBs\. Remove `latestSeen` and `movedFrom`.*Then start them$/,
          );
        } finally {
          a.close();
        }
      });

      test('is not what an operator has suspended, or what a switch has left', async () => {
        for (const more of [{ state: 'suspended', latestSeen: '9' }, { state: 'suspended' }, {}]) {
          const found = await examined(file('b', 'a', more), 'http://127.0.0.1:9');
          expect(found.served).toBe('nowhere; number 1 in storage b by the configuration');
          expect(found.back.what).toContain('restore both from a backup');
        }
      });
    });
  });
});

describe('without a record', () => {
  const order = { serial: 9, phase: 'final' } as const;
  const told = { tenant: 'alpha', place: 'number 5', order };

  test('the configuration says what is held', () => {
    expect(withoutRecord(told)).toMatchObject({
      state: 'lost',
      needsYou: true,
      served: 'at number 5, by the configuration',
      requests: 'all are held, without an end',
      forward: { isOpen: true },
      back: { isOpen: false },
    });
  });

  const options = { endpoint: { pd: 'http://127.0.0.1:9' }, clusters: new Map(), envoys: [], commands };

  test('a storage layer that is gone is said plainly, with the tenants that are half-way', async () => {
    const error = new CommandError('UNREACHABLE', 'no answer from pd:2379', '');
    const pd = { grpc: async () => Promise.reject(error) } as unknown as Endpoint;
    await expect(examineMoves(pd, options)).rejects.toBe(error);
    const [found] = await examineMoves(pd, { ...options, told: [told] });
    expect(found).toMatchObject({
      state: 'unknown',
      needsYou: true,
      served: 'nowhere; number 5 by the configuration',
      holds: ['the storage layer does not answer: no answer from pd:2379'],
      forward: { isOpen: false },
      back: { isOpen: false },
    });
  });

  test('records and what only the configuration knows come together, or for one tenant', async () => {
    const stores = { stores: [{ store: { id: 4, address: 'tikv-4:20160', state_name: 'Down' } }] };
    const etcd = new EtcdModel({ '/stores': stores });
    await save(etcd.endpoint, {
      record: record({ tenant: 'beta', from: SHOP, to: {}, worker: { ...DEAD, until: 1 } }),
      revision: 0n,
    });
    const found = await examineMoves(etcd.endpoint, { ...options, told: [told] });
    expect(found.map(({ tenant, state }) => [tenant, state])).toEqual([
      ['alpha', 'lost'],
      ['beta', 'following'],
    ]);
    expect(found[1]!.holds).toEqual([
      expect.stringContaining('cluster shop does not answer: cluster shop is not known; give the file'),
      'store 4 (tikv-4:20160) is Down',
      'no worker',
    ]);
    await expect(examineMoves(etcd.endpoint, { ...options, told: [told], only: 'gamma' })).resolves.toEqual(
      [],
    );
  });
});
