/** Messages as rust-protobuf writes them, TiKV's and Rust clients' encoder, and in every other form that readers take. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { DescriptorProto, FileDescriptorSet } from '@bufbuild/protobuf/wkt';
import { Kind } from '../../src-ts/schema/judgement.ts';
import { tellFacts } from '../../fuzz/facts.ts';
import { Maker } from '../../fuzz/make.ts';
import { messageOf, Schema } from '../../fuzz/schema.ts';
import { spaceNamed } from '../../fuzz/spaces.ts';
import { lists, read, Wire, write, type Node } from '../../fuzz/tree.ts';
import { EMPTY, hex, unhex } from '../harness/model/bytes.ts';
import { Random } from '../harness/model/random.ts';
import { hasProgram } from '../harness/stack/builds.ts';
import { buildFilter, Filter, Status, type Way } from '../unit/filter.ts';
import { newestDescriptors, upstreamDescriptors } from './descriptors.ts';
import { isNumberList, numbersOf, scattered } from './forms.ts';
import { canonical, explain, Messages } from './messages.ts';
import { Writer, type Written } from './wire-forms.ts';

/** Messages of each method and way in each key space. */
const COUNT = 96;
const WAYS = ['request', 'response'] as const;
const SHOWN = 10;
const seed = Number(process.env['TIDB_MESH_SEED'] ?? 1);

/** Requests that the maker never gets right: their groups must be whole and named as the tenant's. */
const NEVER_GOOD = [
  '/resource_manager.ResourceManager/AddResourceGroup request',
  '/resource_manager.ResourceManager/ModifyResourceGroup request',
];
/** Lists inside of bytes, which the coprocessor reads. */
const IN_BYTES: readonly string[] = [];

/** One message in all its forms. */
interface Trial {
  /** The method's path and the way. */
  readonly where: string;
  readonly way: Way;
  readonly message: string;
  /** As Go and most others write it: lists of numbers packed, fields by number. */
  readonly go: Uint8Array;
  readonly forms: { readonly rust: Uint8Array; readonly mixed: Uint8Array };
}

const title = 'wire forms';
if (hasProgram('cargo')) describe(title, suite);
else describe.skip(`${title} (not run: cargo is not installed, and TiKV's encoder is Rust)`, suite);

function suite(): void {
  let schema: Schema;
  let messages: Messages;
  let rust: Writer;
  /** Upstream's names of the messages of proto/ that are variants. */
  const upstreamName = (name: string): string => messages.standsFor(name);

  beforeAll(async () => {
    await buildFilter();
    schema = new Schema();
    messages = new Messages();
    rust = await Writer.rust(await newestDescriptors(), [...schema.messages.keys()].map(upstreamName));
  });

  const again = (given: readonly Written[]): (Uint8Array | undefined)[] =>
    rust.again(given.map(({ message, bytes }) => ({ message: upstreamName(message), bytes })));

  describe('rust-protobuf 2.8', () => {
    const form = (message: string, text: string): string => {
      const [bytes] = again([{ message, bytes: unhex(text) }]);
      return bytes === undefined ? 'refused' : hex(bytes);
    };
    test.each([
      ['writes numbers of a list one by one', 'tikvpb.BatchCommandsResponse', '12020102', '10011002'],
      ['and nothing for an empty one', 'tikvpb.BatchCommandsResponse', '1200', ''],
      [
        'and takes pieces and mixtures',
        'tikvpb.BatchCommandsResponse',
        '1001120203041200 1005',
        '1001100310041005',
      ],
      ['orders fields as they are declared', 'kvrpcpb.GetResponse', '1a01761200', '12001a0176'],
      ['keeps an empty message', 'kvrpcpb.GetResponse', '0a001200', '0a001200'],
      ['leaves out defaults of proto3', 'kvrpcpb.GetResponse', '1a002000', ''],
      ['puts alternatives last', 'cdcpb.Event', '08011a003805', '080138051a00'],
      ['and writes an empty one', 'tikvpb.BatchCommandsResponse.Response', '0a00', '0a00'],
      ['keeps unknown fields, behind the known ones', 'kvrpcpb.GetResponse', 'f83f011a0176', '1a0176f83f01'],
      ['refuses a text that is not UTF-8', 'errorpb.Error', '0a01ff', 'refused'],
    ])('%s', (_, message, given, written) => {
      expect(form(message, given.replaceAll(' ', ''))).toBe(written);
    });
  });

  describe.each(['table 1', 'keyspace 7 txn', 'keyspace 7 raw'])('%s', (name) => {
    let trials: Trial[];
    let filter: Filter;

    beforeAll(() => {
      const space = spaceNamed(name);
      filter = new Filter('release');
      space.choose(filter);
      tellFacts(filter);
      const random = new Random(seed);
      const made: (Written & Pick<Trial, 'where' | 'way'>)[] = [];
      for (const method of schema.methods)
        for (const way of WAYS)
          for (let i = 0; i < COUNT; i++) {
            const message = messageOf(method, way);
            const nodes = new Maker(schema, space, random).make(message, way);
            made.push({
              where: `${method.path} ${way}`,
              way,
              message,
              bytes: write(emptied(schema, nodes, message)),
            });
          }
      trials = again(made).flatMap((written, i) => {
        // No encoder of TiKV's can write what its reader refuses: such a text as is not UTF-8.
        if (written === undefined) return [];
        const { where, way, message } = made[i]!;
        const nodes = read(written, schema.message(message), schema);
        const forms = { rust: written, mixed: write(scattered(schema, message, nodes, random)) };
        return [{ where, way, message, go: canonical(messages.desc(message), written), forms }];
      });
    });

    /** What a message says, however it is written. */
    const told = (message: string, bytes: Uint8Array): string => {
      const nodes = read(bytes, schema.message(message), schema);
      return hex(canonical(messages.desc(message), write(sorted(nodes))));
    };

    const rewritten = ({ message, way }: Trial, bytes: Uint8Array): ReturnType<Filter['message']> => {
      filter.newStream();
      filter.forgetWanted();
      return filter.message(messages.id(message), bytes, way);
    };

    test('a message in any form is the same to rust-protobuf', () => {
      const mixed = again(trials.map(({ message, forms }) => ({ message, bytes: forms.mixed })));
      const wrong = trials.filter(({ message, go }, i) => {
        const read = mixed[i];
        return read === undefined || told(message, read) !== told(message, go);
      });
      expect(wrong.slice(0, SHOWN).map(({ message, forms }) => `${message} ${hex(forms.mixed)}`)).toEqual([]);
    });

    test.each(['rust', 'mixed'] as const)("the filter makes the same of each as of Go's: %s", (form) => {
      const problems: string[] = [];
      const passed: { trial: Trial; ours: Written; wanted: string }[] = [];
      for (const trial of trials) {
        const { message } = trial;
        const [wanted, ours] = [rewritten(trial, trial.go), rewritten(trial, trial.forms[form])];
        // Of two reasons for a refusal the one that comes first is told.
        if ((ours.status === Status.OK) !== (wanted.status === Status.OK)) {
          const field = `${messages.name(ours.failedMessage)}.${ours.failedField}`;
          const outcome = `${Status[ours.status]} (${field}) instead of ${Status[wanted.status]}`;
          problems.push(`${trial.where}: ${outcome}: ${message} ${hex(trial.forms[form])}`);
        } else if (ours.status === Status.OK)
          passed.push({ trial, ours: { message, bytes: ours.bytes }, wanted: told(message, wanted.bytes) });
      }
      const byRust = again(passed.map(({ ours }) => ours));
      passed.forEach(({ trial, ours, wanted }, i) => {
        const { message, where, forms } = trial;
        const read = byRust[i];
        if (read === undefined || told(message, read) !== wanted || told(message, ours.bytes) !== wanted) {
          const how =
            read === undefined
              ? 'rust-protobuf does not read it'
              : explain(messages.registry, messages.desc(message), ours.bytes, unhex(wanted));
          problems.push(`${where}: ${how}: ${message} ${hex(forms[form])}`);
        }
        note(trial, forms[form]);
      });
      if (problems.length > 0)
        throw new Error(`${problems.length} problems\n${problems.slice(0, SHOWN).join('\n')}`);
    });
  });

  /** Services that the embedded store serves. */
  const SERVED = /^\/(tikvpb\.Tikv|import_sstpb\.ImportSST)\//;

  test('the embedded store writes every answer byte for byte as rust-protobuf does', async () => {
    const store = await Writer.store();
    const itsFields = fieldsOf(await upstreamDescriptors());
    const random = new Random(seed);
    const given: Written[] = [];
    for (const method of schema.methods.filter(({ path }) => SERVED.test(path)))
      for (let i = 0; i < COUNT; i++) {
        const message = messageOf(method, 'response');
        const nodes = new Maker(schema, spaceNamed('table 1'), random).make(message, 'response');
        given.push({ message, bytes: write(known(schema, messages, nodes, message, itsFields)) });
      }
    const byRust = again(given);
    const byStore = store.again(
      given.map(({ message, bytes }) => ({ message: upstreamName(message), bytes })),
    );
    const wrong = given.flatMap(({ message }, i) => {
      const [wanted, got] = [byRust[i], byStore[i]];
      // Go takes texts that are not UTF-8.
      if (wanted === undefined || (got !== undefined && hex(got) === hex(wanted))) return [];
      return [`${message}: ${got ? hex(got) : 'nothing'} instead of ${hex(wanted)}`];
    });
    expect(wrong.slice(0, SHOWN)).toEqual([]);
    expect(byRust.filter((bytes) => bytes !== undefined).length).toBeGreaterThan(given.length / 2);
  });

  /** Methods and ways of which messages passed, and the most numbers that each list had in one of them. */
  const passing = new Set<string>();
  const longest = new Map<string, number>();
  const note = ({ where, message }: Trial, bytes: Uint8Array): void => {
    passing.add(where);
    for (const list of lists(read(bytes, schema.message(message), schema), message)) {
      const counts = new Map<string, number>();
      for (const n of list.nodes) {
        const field = schema.messages.get(list.message)?.byNumber.get(n.field);
        if (!isNumberList(field)) continue;
        const place = `${list.message}.${field.name}`;
        counts.set(place, (counts.get(place) ?? 0) + numbersOf(field, n).length);
      }
      for (const [place, count] of counts) longest.set(place, Math.max(longest.get(place) ?? 0, count));
    }
  };

  test('messages of every method passed, and every list with several numbers', () => {
    const wanted = schema.methods.flatMap(({ path }) => WAYS.map((way) => `${path} ${way}`));
    expect(wanted.filter((where) => !passing.has(where) && !NEVER_GOOD.includes(where))).toEqual([]);
    const all = [...schema.messages.values()].flatMap(({ name, fields }) =>
      fields.filter(isNumberList).map((field) => `${name}.${field.name}`),
    );
    expect(all.filter((place) => (longest.get(place) ?? 0) < 2)).toEqual(IN_BYTES);
  });
}

/** Messages that nobody reads are empty: what the maker puts there is not theirs. */
function emptied(schema: Schema, nodes: readonly Node[], message: string): Node[] {
  const { byNumber } = schema.message(message);
  return nodes.map((n) => {
    const field = byNumber.get(n.field);
    if (field?.kind !== Kind.MESSAGE) return n;
    if (field.message === undefined) return { ...n, bytes: EMPTY };
    return { ...n, children: emptied(schema, n.children ?? [], field.message) };
  });
}

/** `package.Message.number` of each field. */
function fieldsOf({ file }: FileDescriptorSet): Set<string> {
  const found = new Set<string>();
  const add = (scope: string, { name, field, nestedType }: DescriptorProto): void => {
    for (const { number } of field) found.add(`${scope}.${name}.${number}`);
    for (const nested of nestedType) add(`${scope}.${name}`, nested);
  };
  for (const { package: scope, messageType } of file) for (const message of messageType) add(scope, message);
  return found;
}

/** Without what a program takes for unknown fields: enum values that nobody knows, and fields that are not in `given`. */
function known(
  schema: Schema,
  messages: Messages,
  nodes: readonly Node[],
  message: string,
  given: ReadonlySet<string>,
): Node[] {
  const { fields } = messages.desc(message);
  return emptied(schema, nodes, message)
    .filter((n) => {
      if (!given.has(`${messages.standsFor(message)}.${n.field}`)) return false;
      const values = fields.find(({ number }) => number === n.field)?.enum?.values;
      return values?.some(({ number }) => n.wire === Wire.VARINT && BigInt(number) === n.value) ?? true;
    })
    .map((n) =>
      n.children === undefined
        ? n
        : { ...n, children: known(schema, messages, n.children, n.message, given) },
    );
}

/** In the order of their numbers: rust-protobuf keeps unknown fields in no order. */
function sorted(nodes: readonly Node[]): Node[] {
  return nodes
    .map((n) => (n.children === undefined ? n : { ...n, children: sorted(n.children) }))
    .sort((a, b) => a.field - b.field);
}
