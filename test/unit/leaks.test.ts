/** The filter's memory after very many messages, and after many configurations, is what it was after the first ones. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { toBinary } from '@bufbuild/protobuf';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { judge } from '../../src-ts/schema/judgement.ts';
import { BUILD_NAMES, buildFilter, Filter, LEASE_SEED, type Way } from './filter.ts';
import { spaceOf } from '../harness/model/key-spaces.ts';
import { MessageMaker } from '../harness/model/messages.ts';
import { Random } from '../harness/model/random.ts';
import { messageId } from '../harness/model/schema.ts';
import { frame } from '../harness/model/wire.ts';
import { rounds } from '../harness/support/rounds.ts';

const MESSAGES = rounds(20_000, 100_000);
const WARM_UP = 10_000;

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  test(`does not grow over ${MESSAGES} messages, a third of them damaged or cut short`, () => {
    const registry = readDescriptors();
    const judgement = judge(registry);
    const maker = new MessageMaker(registry, judgement);
    const random = new Random(19);
    const world = {
      space: spaceOf({ number: 1 }),
      name: 'alpha',
      leaseSeed: LEASE_SEED,
      safePoint: 0n,
      oldest: 0n,
      longestHold: (1n << 63n) - 1n,
      longestLease: (1n << 63n) - 1n,
    };
    const samples: { id: number; body: Uint8Array; way: Way }[] = [];
    for (const method of judgement.methods.filter((m) => m.decision === 'MAP'))
      for (const way of ['request', 'response'] as const)
        for (let i = 0; i < 4; i++) {
          const name = (way === 'request' ? method.request : method.response) ?? '';
          const body = frame(toBinary(maker.desc(name), maker.make(name, way, world, random)));
          if (i === 3) body[random.below(body.length)] = random.below(256);
          samples.push({ id: messageId(name), body, way });
        }
    const filter = new Filter(build);
    let warm = 0;
    for (let i = 0; i < MESSAGES; i++) {
      const { id, body, way } = random.pick(samples);
      const cut = random.chance(20) ? random.below(body.length) : body.length;
      filter.body(id, body.subarray(0, cut), way, 1 << 20);
      if (cut < body.length && random.chance(80)) filter.body(id, body.subarray(cut), way, 1 << 20);
      if (random.chance(30)) filter.newStream();
      if (i === WARM_UP) warm = filter.memoryBytes;
    }
    filter.newStream();
    expect(filter.heldBytes).toBe(0);
    expect(filter.memoryBytes).toBe(warm);
  });

  test('does not grow over 5,000 configurations, one in ten refused', () => {
    const filter = new Filter(build);
    const config = (i: number): string =>
      JSON.stringify({
        tenants: [
          { name: `tenant-${i % 997}`, number: 1 + (i % 32_000) },
          { name: 'raw', number: 32_766, ...(i % 3 === 0 ? {} : { keyspace: { id: i, mode: 'raw' } }) },
        ],
        rules: [
          { principal: `spiffe://m/ns/n${i}/sa/pd`, system: true },
          { principal: 'spiffe://m/ns/{tenant}/sa/*', peer: { labels: { [`label-${i % 7}`]: '{tenant}' } } },
          ...(i % 10 === 0 ? [{ principal: 'spiffe://m/ns/{tenant}/sa/*' }] : []),
        ],
        policy: { refuse: ['pdpb.PD/*'] },
      });
    let warm = 0;
    let refused = 0;
    for (let i = 0; i < 5000; i++) {
      if (filter.config(config(i)) !== '') refused++;
      else
        filter.identity({
          principal: 'spiffe://m/ns/raw/sa/x',
          peer: { [`labels["label-${i % 7}"]`]: 'raw' },
        });
      if (i === 100) warm = filter.memoryBytes;
    }
    expect(refused).toBe(500);
    expect(filter.memoryBytes).toBe(warm);
  });
});
