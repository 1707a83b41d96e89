/** What Envoy's log, its access log and its metrics say of refusals: the first of a kind, and how many more there were. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, HostedModule } from '../../bench/module.ts';
import { bytes, frame } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { encode } from '../harness/support/messages.ts';

const GET = '/tikvpb.Tikv/KvGet';
const BATCH = '/tikvpb.Tikv/BatchCommands';
const MALFORMED = frame(Buffer.from([0x1a, 0x7f]));
const PAUSE = 10_000;
const INFO = 2;
const WARN = 3;
const RESET =
  'tidb-mesh[MALFORMED]: reset the stream of tikvpb.Tikv/KvGet for tenant alpha, for an answer of the storage layer: ' +
  'the message is not valid protobuf of its type; check the versions of the client and of tidb-mesh (field value of kvrpcpb.GetResponse)';

const configOf = (tenants: readonly object[]): Buffer =>
  Buffer.from(JSON.stringify({ tenants, rules: [{ principal: 'spiffe://m/ns/{tenant}/sa/*' }] }));
const caller = (tenant: string): Buffer => Buffer.from(`spiffe://m/ns/${tenant}/sa/tidb`);

let filter: HostedModule;
beforeAll(buildModule);
beforeEach(() => {
  filter = new HostedModule();
  filter.clock = 1_700_000_000_000;
  filter.configure(
    configOf(Array.from({ length: 100 }, (_, i) => ({ name: i === 0 ? 'alpha' : `t${i}`, number: i + 1 }))),
  );
});

const texts = (): string[] => filter.logged.map(({ text }) => text);

function pass(milliseconds: number): void {
  filter.clock += milliseconds;
  filter.tick();
}

/** A call whose answer has begun, and goes on with this. */
function answered(tenant: string, piece: Uint8Array, path = GET): void {
  const context = filter.open(caller(tenant), callHeaders(path));
  expect(filter.answerHeaders(context)).toBe(true);
  expect(filter.answer(context, piece)).toBe(false);
  filter.close(context);
}

function asked(tenant: string, piece: Uint8Array, path = GET): boolean {
  const context = filter.open(caller(tenant), callHeaders(path));
  const goesOn = filter.request(context, piece);
  filter.close(context);
  return goesOn;
}

describe('an answer that is refused when its headers have gone on', () => {
  test('is logged once in ten seconds, then how many more there were', () => {
    for (let i = 0; i < 5; i++) answered('alpha', MALFORMED);
    expect(filter.logged).toEqual([{ level: WARN, text: RESET }]);
    pass(PAUSE - 1);
    expect(filter.logged).toHaveLength(1);
    pass(1);
    expect(texts()[1]).toBe(
      'tidb-mesh[MALFORMED]: 4 more refusals of this kind within 10 s, for the tenant with the number 1',
    );
    pass(PAUSE);
    pass(PAUSE);
    expect(filter.logged).toHaveLength(2);
    answered('alpha', MALFORMED);
    expect(texts()[2]).toBe(RESET);
  });

  test('has its code in the access log', () => {
    answered('alpha', MALFORMED);
    expect(filter.details).toBe('tidb_mesh_refused[MALFORMED]');
    expect(filter.properties.get('tidb_mesh_refusal')).toBe('MALFORMED');
  });

  test('is counted by its code, each code by itself', () => {
    for (let i = 0; i < 3; i++) answered('alpha', MALFORMED);
    answered('t1', frame(Buffer.alloc(3), 1));
    pass(1000);
    expect(filter.metric('code=.=MALFORMED;.;tidbmesh_refused')).toBe(3);
    expect(filter.metric('code=.=COMPRESSED;.;tidbmesh_refused')).toBe(1);
    expect(filter.metric('tidbmesh_refused_total')).toBe(4);
    pass(1000);
    expect(filter.metric('code=.=MALFORMED;.;tidbmesh_refused')).toBe(3);
  });

  test('no place of a former refusal is told for one that has none', () => {
    answered('alpha', MALFORMED);
    answered('t1', frame(Buffer.alloc(3), 1));
    expect(texts()[1]).toMatch(/^tidb-mesh\[COMPRESSED\]: reset .* for tenant t1, .*"none".*[^)]$/);
  });
});

test('a hundred tenants take 64 lines, and the others are counted', () => {
  for (let i = 1; i < 100; i++) for (let n = 0; n < 2; n++) answered(`t${i}`, MALFORMED);
  expect(filter.logged).toHaveLength(64);
  pass(PAUSE);
  expect(filter.logged).toHaveLength(64 + 64 + 1);
  expect(texts().at(-1)).toBe('tidb-mesh: 70 more refusals of other kinds within 10 s');
});

test('a refusal that the caller reads is no warning, and says what the caller is told', () => {
  expect(asked('alpha', frame(bytes(15, Buffer.from('secret'))))).toBe(false);
  expect(filter.refusal).toMatch(
    /^tidb-mesh\[UNKNOWN_FIELD\]: a field is unknown .*\(field 15 of kvrpcpb\.GetRequest\)$/,
  );
  expect(filter.logged).toEqual([
    {
      level: INFO,
      text: expect.stringMatching(
        /^tidb-mesh\[UNKNOWN_FIELD\]: refused a request of tikvpb\.Tikv\/KvGet for tenant alpha: a field is unknown/,
      ) as unknown as string,
    },
  ]);
});

test('a caller without a tenant is logged and counted like all others', () => {
  for (let i = 0; i < 3; i++)
    expect(() => filter.open(Buffer.from('spiffe://else/x'), callHeaders(GET))).toThrow('[NO_RULE]');
  expect(texts()).toEqual([expect.stringMatching(/^tidb-mesh\[NO_RULE\]: no rule matches principal /)]);
  pass(PAUSE);
  expect(texts()[1]).toBe(
    'tidb-mesh[NO_RULE]: 2 more refusals of this kind within 10 s, for callers without a tenant',
  );
  expect(filter.metric('code=.=NO_RULE;.;tidbmesh_refused')).toBe(3);
});

describe('keys', () => {
  const foreign = rowKey(70, 1, 9);

  test('one request of a batch is counted; the caller is told, so there is no line', () => {
    const batch = encode('tikvpb.BatchCommandsRequest', {
      requests: [{ cmd: { case: 'Get', value: { key: foreign } } }],
      requestIds: [1n],
    });
    expect(asked('alpha', frame(batch), BATCH)).toBe(true);
    pass(1000);
    expect(filter.metric('code=.=KEY_OUTSIDE;.;tidbmesh_refused')).toBe(1);
    expect(filter.metric('tidbmesh_refused_total')).toBe(0);
    expect(filter.logged).toEqual([]);
  });

  test('are in no line, no property and no details', () => {
    const request = encode('kvrpcpb.GetRequest', { key: foreign, context: { regionId: 1n } });
    expect(asked('alpha', frame(request))).toBe(false);
    expect(filter.details).toBe('tidb_mesh_refused[KEY_OUTSIDE]');
    const said = [...texts(), filter.refusal, filter.details, ...filter.properties.values()].join('\n');
    expect(said).toContain('(field key of kvrpcpb.GetRequest)');
    expect(said).not.toContain(foreign.toString('latin1'));
    expect(said.toLowerCase()).not.toContain(foreign.toString('hex').slice(0, 16));
  });
});

test('a stream that a new configuration ends is logged and counted', () => {
  const context = filter.open(caller('alpha'), callHeaders(BATCH));
  filter.answerHeaders(context);
  pass(1000);
  filter.supersede(configOf([{ name: 'alpha', number: 7 }]));
  pass(1000);
  pass(60_000);
  pass(1000);
  expect(texts()).toContain(
    'tidb-mesh[DRAINED]: ended the stream of tikvpb.Tikv/BatchCommands for tenant alpha: the configuration has changed what this caller may do; open the stream anew',
  );
  expect(filter.properties.get('tidb_mesh_refusal')).toBe('DRAINED');
  expect(filter.metric('code=.=DRAINED;.;tidbmesh_refused')).toBe(1);
});
