/** What inputs run in: the instrumented filter, the release build beside it, and the checks that follow every input. */
import { Filter, Status } from '../test/unit/filter.ts';

import { hex, unhex } from '../test/harness/model/bytes.ts';
import { bytes, scalar } from '../test/harness/model/wire.ts';
import type { FuzzBuild } from './build.ts';
import { Guarded } from './guarded.ts';
import { inputBytes, type Input } from './input.ts';
import { tellFacts } from './facts.ts';
import { Oracle } from './oracle.ts';
import { Flag } from '../src-ts/schema/bits.ts';
import type { Schema } from './schema.ts';
import { SPACES, spaceNamed, type Space } from './spaces.ts';

/** A property that does not hold. */
export class Problem extends Error {}

/** What one input may cost: see `fuzz/spend` of the instrumentation. */
const STEPS_PER_INPUT = 20_000;
const STEPS_PER_BYTE = 200;
/** Memory that the filter may have grown to after inputs of usual size. */
const MAX_MEMORY_BYTES = 64 * 1024 * 1024;
/** Larger ones, whose ranges become a hundred times longer, may end the instance: wasm memory never shrinks. */
const USUAL_BYTES = 4096;

export class World {
  readonly schema: Schema;
  readonly oracle: Oracle;
  private readonly build: FuzzBuild;
  private readonly module: WebAssembly.Module;
  private readonly expected: ReadonlyMap<string, readonly Probe[]>;
  private release = new Filter('release');
  private guarded: Guarded;
  private chosen = '';

  constructor(build: FuzzBuild, schema: Schema) {
    this.build = build;
    this.schema = schema;
    this.oracle = new Oracle(schema);
    this.module = new WebAssembly.Module(build.code);
    this.guarded = new Guarded(build, this.module);
    this.expected = new Map(SPACES.map((space) => [space.name, probesOf(space, schema)]));
  }

  get blocks(): number {
    return this.build.blocks;
  }

  get functions(): FuzzBuild['functions'] {
    return this.build.functions;
  }

  get coverage(): Uint8Array {
    return this.guarded.coverage;
  }

  get memoryBytes(): number {
    return this.guarded.memoryBytes;
  }

  /** Begins an input: its key space, a new stream, no coverage. */
  begin(input: Input): Space {
    const space = spaceNamed(input.space);
    for (const filter of [this.guarded.filter, this.release]) {
      if (this.chosen !== space.name) space.choose(filter);
      // What one input has taught or wants to know must not change what the next one does.
      filter.forgetRegions();
      filter.forgetWanted();
      filter.forgetLabels();
      tellFacts(filter);
      filter.newStream(input.heldLimit, input.heldLimit);
    }
    this.chosen = space.name;
    this.guarded.clearCoverage();
    return space;
  }

  /** A fresh instance: the one before may be broken. */
  renew(): void {
    this.guarded = new Guarded(this.build, this.module);
    this.release = new Filter('release');
    this.chosen = '';
  }

  /** Runs it on the instrumented build. */
  guard<T>(input: Input, what: (filter: Filter) => T): T {
    return this.guarded.within(STEPS_PER_INPUT + STEPS_PER_BYTE * inputBytes(input), what);
  }

  /** Runs it on both builds, which must agree. `show` makes of a result what is compared, where `agree` does not compare faster. */
  both<T>(
    input: Input,
    what: (filter: Filter) => T,
    show: (result: T) => string,
    agree: (a: T, b: T) => boolean = (a, b) => show(a) === show(b),
  ): T {
    const result = this.guard(input, what);
    const other = what(this.release);
    if (!agree(result, other)) throw new Problem(`the builds differ: ${show(result)} and ${show(other)}`);
    return result;
  }

  /** What must hold after every input, whatever came of it. */
  end(input: Input): void {
    const { filter } = this.guarded;
    filter.newStream();
    this.release.newStream();
    if (filter.heldBytes !== 0)
      throw new Problem(`${filter.heldBytes} bytes are held for a stream that is gone`);
    if (filter.pending !== 0)
      throw new Problem(`${filter.pending} requests are pending on a stream that is gone`);
    if (this.guarded.memoryBytes > MAX_MEMORY_BYTES) {
      // A configuration's objects live until their instance ends, as in Envoy.
      if (input.target !== 'config' && inputBytes(input) <= USUAL_BYTES)
        throw new Problem(`memory has grown to ${this.guarded.memoryBytes} bytes`);
      this.renew();
    }
  }

  /** What good messages must become now, in this input's key space. */
  probe(input: Input): void {
    if (this.chosen !== input.space) return;
    for (const { name, id, way, sent, wanted } of this.expected.get(input.space) ?? []) {
      const got = this.guard(input, (f) => f.message(id, sent, way));
      if (got.status !== Status.OK || hex(got.bytes) !== wanted)
        throw new Problem(`a good ${name} becomes ${Status[got.status]} ${hex(got.bytes)}, not ${wanted}`);
    }
  }
}

/** A good message and what it must become. */
interface Probe {
  readonly name: string;
  readonly id: number;
  readonly way: 'request' | 'response';
  readonly sent: Uint8Array;
  /** In hex. */
  readonly wanted: string;
}

function probesOf(space: Space, schema: Schema): Probe[] {
  const keys = [unhex('6d44444c'), unhex('748000000000000007 5f728000000000000001')];
  const stored = keys.map((key) => space.encode(key, 'key') as Uint8Array);
  const form = (key: Uint8Array, side: 'client' | 'store'): Uint8Array => space.toForm(key, side);
  const pair = (key: Uint8Array): Uint8Array => bytes(2, bytes(2, key), bytes(3, unhex('76')));
  const region = (key: Uint8Array): Uint8Array => bytes(2, scalar(1, 9), bytes(2, key), bytes(3, key));
  const probe = (name: string, way: Probe['way'], sent: Uint8Array[], wanted: Uint8Array[]): Probe => ({
    name,
    id: schema.message(name).id,
    way,
    sent: Buffer.concat(sent),
    wanted: hex(Buffer.concat(wanted)),
  });
  const lookups = keys.map((key, i) =>
    probe(
      'pdpb.GetRegionRequest',
      'request',
      [bytes(2, form(key, 'client')), scalar(3, 1)],
      [bytes(2, form(stored[i]!, 'store')), scalar(3, 1)],
    ),
  );
  const found = keys.map((key, i) =>
    probe(
      'pdpb.GetRegionResponse',
      'response',
      [region(form(stored[i]!, 'store'))],
      [region(form(key, 'client'))],
    ),
  );
  if (!(space.capabilities & Flag.TXN)) return [...lookups, ...found];
  const version = (role: string): number =>
    schema.message('kvrpcpb.Context').fields.find((field) => field.role === role)!.number;
  const context =
    space.apiVersion === 0
      ? []
      : [
          bytes(
            1,
            scalar(version('API_VERSION'), space.apiVersion),
            scalar(version('KEYSPACE_ID'), space.keyspaceId),
          ),
        ];
  return [
    ...lookups,
    ...found,
    ...keys.map((key, i) =>
      probe(
        'kvrpcpb.GetRequest',
        'request',
        [bytes(2, key), scalar(3, 5)],
        [bytes(2, stored[i]!), scalar(3, 5), ...context],
      ),
    ),
    probe('kvrpcpb.ScanResponse', 'response', stored.map(pair), keys.map(pair)),
  ];
}
