/** A hostile store: it answers every method and endpoint with keys, names and ids of somebody else. None of them reaches the client. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MARKER } from '../../fuzz/keys.ts';
import { Maker } from '../../fuzz/make.ts';
import { messageOf, Schema } from '../../fuzz/schema.ts';
import { Space } from '../../fuzz/spaces.ts';
import { write } from '../../fuzz/tree.ts';
import { Verdict } from '../../fuzz/verdict.ts';
import { ENDPOINTS, type Shape } from '../../proto/pd/endpoints.ts';
import { startMesh, type Caller, type Mesh } from '../envoy/mesh.ts';
import { frame } from '../envoy/upstream.ts';
import { concat, hex } from '../harness/model/bytes.ts';
import { Random } from '../harness/model/random.ts';
import { memcomparable } from '../harness/model/table-codec.ts';
import { principalOf } from '../harness/stack/certs.ts';
import { encode } from '../harness/support/messages.ts';
import { rounds } from '../harness/support/rounds.ts';
import { BATCH_METHOD, sideBySide } from './attack.ts';
import { Forger } from './forge.ts';
import { paths } from './forge-http.ts';
import { ENTRY } from './keys.ts';
import { Secrets } from './secrets.ts';
import { Tally } from './tally.ts';

/** How many answers each method gets. */
const ANSWERS = rounds(6, 300);
const AT_A_TIME = 64;
/** The upstream finds by it which answer a call is to get. */
const WHICH = 'x-which-answer';

const SPACES = [
  new Space({ number: 1 }),
  new Space({ number: 3, keyspace: { id: 7, mode: 'txn' } }),
  new Space({ number: 5, prefix: { bytes: Uint8Array.of(0x74, 0x00, 0xff), mode: 'txn' } }),
];
const TENANTS = SPACES.map(({ tenant, choice: { number, keyspace, prefix } }) => ({
  name: tenant,
  number,
  ...(keyspace ? { keyspace } : {}),
  ...(prefix ? { prefix: { hex: hex(prefix.bytes), mode: prefix.mode } } : {}),
}));

const schema = new Schema();
const secrets = new Secrets();
secrets.addKnown('a foreign name', MARKER);
/** What the store says; the upstream's answers by number. */
const answers: { bytes: Uint8Array; trailers: Record<string, string> }[] = [];

let mesh: Mesh;
beforeAll(async () => {
  mesh = await startMesh({ tenants: TENANTS });
  mesh.upstream.answer = ({ headers }) => {
    const { bytes, trailers } = answers[Number(headers[WHICH])]!;
    return { pieces: bytes.length === 0 ? [] : [frame(bytes)], trailers };
  };
});
afterAll(() => mesh?.stop());

describe.each(SPACES.map((space) => ({ space, name: space.name })))('$name', ({ space }) => {
  const { tenant, choice } = space;
  const foreign = concat(space.neighbour(ENTRY), MARKER);
  let grpc: Caller;
  let http: Caller;

  beforeAll(async () => {
    const certs = await mesh.certs.client(principalOf(tenant));
    grpc = mesh.caller(certs);
    http = mesh.httpCaller(certs);
  });

  const attacker = {
    space: space.reference,
    key: ENTRY,
    context: encode('kvrpcpb.Context', { regionId: 5n, regionEpoch: { confVer: 1n, version: 1n } }),
    clusterId: 1n,
    victims: [],
    now: () => BigInt(Date.now()) << 18n,
  };

  test('answers of every method', async () => {
    const tally = new Tally();
    const problems: string[] = [];
    const forger = new Forger(schema, attacker);
    const verdict = new Verdict(schema, space);
    const random = new Random(choice.number);
    const calls = schema.methods
      .filter(({ path }) => path !== BATCH_METHOD)
      .flatMap((method) => Array.from({ length: ANSWERS }, () => method));
    await sideBySide(calls, AT_A_TIME, async (method) => {
      const response = messageOf(method, 'response');
      const bytes = write(new Maker(schema, space, random).make(response, 'response'));
      const says = random.pick<Record<string, string>>([
        ...[{}, {}, {}, {}],
        { 'grpc-status': '2', 'grpc-message': `key ${hex(foreign)} is locked` },
        {
          'grpc-status': '2',
          'grpc-message': encodeURIComponent(`key "${Buffer.from(foreign).toString('latin1')}"`),
        },
        { 'grpc-status': '5', 'grpc-status-details-bin': Buffer.from(foreign).toString('base64') },
      ]);
      const which =
        answers.push({ bytes: says['grpc-status'] ? new Uint8Array(0) : bytes, trailers: says }) - 1;
      const request = frame(forger.good(messageOf(method, 'request')));
      const { status, text, messages, headers, body } = await grpc.call(method.path, [request], {
        headers: { [WHICH]: String(which) },
      });
      const all = [
        ...Object.values(headers).map(String),
        decodeURIComponent(String(headers['grpc-message'] ?? '')),
      ];
      const shown = secrets.shownIn(
        Buffer.concat([body, ...all.map((value) => Buffer.from(value, 'latin1'))]),
      );
      if (shown !== undefined) problems.push(`${method.path} shows ${shown}: ${hex(body)} ${all.join(' ')}`);
      for (const message of messages) {
        const wrong = verdict.of(response, 'response', bytes, message);
        if (wrong !== undefined) problems.push(`${method.path}: ${wrong}`);
      }
      const ours = /tidb-mesh\[(\w+)\]/.exec(text)?.[1];
      tally.add('answers', method.path, {
        verdict: ours !== undefined ? 'refused' : status === 0 ? 'ok' : 'failed',
        code: ours ?? `grpc-status ${status}`,
      });
    });
    console.log(tally.text(space.name));
    expect(problems).toEqual([]);
    expect(tally.count('ok')).toBeGreaterThan(100);
  });

  test('answers of every endpoint', async () => {
    const problems: string[] = [];
    const mapped = ENDPOINTS.filter(({ decision }) => ['map', 'regions'].includes(decision));
    for (const endpoint of mapped)
      for (const body of bodiesOf(endpoint.answer, foreign)) {
        mesh.upstream.httpAnswer = body;
        const [[, , path]] = paths(endpoint, attacker) as [[string, string, string]];
        const { body: got, httpStatus } = await http.call(path, [], {
          headers: { ':method': endpoint.method, 'content-type': 'application/json' },
        });
        const shown = secrets.shownIn(got);
        if (shown !== undefined)
          problems.push(`${endpoint.method} ${path} shows ${shown} (${httpStatus}): ${got.toString()}`);
      }
    expect(mapped.length).toBeGreaterThan(20);
    expect(problems).toEqual([]);
  });
});

/** The same as an endpoint answers, of somebody else's things. */
function foreignShape(shape: Shape, foreign: Uint8Array): unknown {
  const name = `tidb-mesh:other:${Buffer.from(MARKER).toString()}`;
  if (typeof shape !== 'object') {
    const key = hex(memcomparable(foreign));
    const values: Partial<Record<typeof shape, unknown>> = {
      lower: key,
      upper: `${key}ff`,
      whole: 1,
      'group-index': 1,
      replicas: 1,
      flag: true,
      'group-override': true,
      any: { count: 1, regions: [{ id: 9, start_key: key, end_key: `${key}ff`, leader: { id: 1 } }] },
    };
    return values[shape] ?? name;
  }
  if ('list' in shape) return [foreignShape(shape.list, foreign)];
  return Object.fromEntries(
    Object.entries(shape.object).map(([member, inner]) => [member, foreignShape(inner, foreign)]),
  );
}

function bodiesOf(answer: Shape | undefined, foreign: Uint8Array): string[] {
  const text = `region with key ${hex(foreign)} is not there`;
  return [
    ...(answer === undefined ? [] : [JSON.stringify(foreignShape(answer, foreign))]),
    text,
    JSON.stringify(text),
    JSON.stringify({
      error: text,
      regions: [{ id: 1, start_key: hex(memcomparable(foreign)), end_key: '' }],
    }),
  ];
}
