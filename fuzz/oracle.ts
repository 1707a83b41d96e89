/** The reference model of the walker, where it can say what an input must become. */
import { clone, equals, fromBinary, toJsonString, type FileRegistry, type Message } from '@bufbuild/protobuf';
import { readDescriptors } from '../src-ts/schema/descriptors.ts';
import { judge, Kind } from '../src-ts/schema/judgement.ts';
import { LEASE_SEED, type Way } from '../test/unit/filter.ts';
import { WalkerModel, type World as ModelWorld } from '../test/harness/model/walker.ts';
import { Flag } from '../src-ts/schema/bits.ts';
import type { Message as Described, Schema } from './schema.ts';
import type { Space } from './spaces.ts';
import { hasItsWire, read, Wire, type Node } from './tree.ts';

/** What the model leaves to other tests: plans and rows, whose region it is, and refusals inside of a batch. */
const UNMODELLED: Record<Way, ReadonlySet<string>> = {
  request: new Set(['DAG', 'SELECT', 'REGION_VERSION', 'REGION_ACT', 'BATCH_IDS']),
  response: new Set(['DAG', 'SELECT', 'BATCH_IDS']),
};

export class Oracle {
  private readonly registry: FileRegistry = readDescriptors();
  private readonly model: WalkerModel;
  private readonly schema: Schema;
  /** By message and field number. */
  private readonly oneofs: ReadonlyMap<string, ReadonlyMap<number, string>>;

  constructor(schema: Schema) {
    this.schema = schema;
    this.oneofs = new Map(
      [...schema.messages.keys()].map((name) => [
        name,
        new Map(
          (this.registry.getMessage(name)?.fields ?? []).flatMap((field) =>
            field.oneof === undefined ? [] : [[field.number, field.oneof.name]],
          ),
        ),
      ]),
    );
    this.model = new WalkerModel(this.registry, judge(this.registry));
  }

  /** Streams of which the filter took a request that the model cannot read, so it does not know what to remember. */
  private readonly unread = new WeakSet<ModelWorld>();

  /** What the model remembers of one stream. */
  stream(space: Space): ModelWorld {
    return {
      space: space.reference,
      name: space.tenant,
      leaseSeed: LEASE_SEED,
      safePoint: 0n,
      oldest: 0n,
      longestHold: (1n << 63n) - 1n,
      longestLease: (1n << 63n) - 1n,
    };
  }

  /** What the filter did otherwise with a message that it let through; undefined when nothing, or when the model cannot tell. */
  difference(
    name: string,
    way: Way,
    input: Uint8Array,
    output: Uint8Array,
    world: ModelWorld,
  ): string | undefined {
    const desc = this.registry.getMessage(name);
    const described = this.schema.message(name);
    if (way === 'response' && this.unread.has(world)) return undefined;
    if (desc === undefined || !this.models(described, read(input, described, this.schema), way))
      return undefined;
    let wanted: Message;
    try {
      wanted = clone(desc, fromBinary(desc, input));
      this.model.rewrite(name, wanted, way, world);
    } catch {
      // Broken keys and what else the model refuses to think about; the verdict has looked at these.
      if (way === 'request') this.unread.add(world);
      return undefined;
    }
    const got = fromBinary(desc, output);
    // Unknown fields leave an answer, and the model keeps them: the verdict sees to that.
    const unknown = way === 'request';
    if (equals(desc, got, wanted, { unknown, registry: this.registry })) return undefined;
    const show = (message: Message): string => toJsonString(desc, message, { registry: this.registry });
    const [here, there] = [show(got), show(wanted)];
    // What is no number is not equal to itself.
    if (here === there && here.includes('"NaN"')) return undefined;
    return `${name} becomes ${here}, and by the model ${there}`;
  }

  private models(message: Described | undefined, nodes: readonly Node[], way: Way): boolean {
    if (message === undefined || message.flags & Flag.LENIENT) return false;
    const members = new Map<string, number>();
    const met = new Set<number>();
    return nodes.every((n) => {
      // This decoder reads a field that is longer than its message to its end, behind the message.
      if (n.raw !== undefined || n.lie !== 0) return false;
      const field = message.byNumber.get(n.field);
      // A double is refused, or goes with a message that was dropped before it was come to; a decoder merges it.
      if (field !== undefined && !field.repeated && met.has(n.field)) return false;
      met.add(n.field);
      // So is a field of another wire type, which this decoder reads as its own.
      if (field !== undefined && !hasItsWire(field, n)) return false;
      if (field !== undefined && UNMODELLED[way].has(field.role)) return false;
      // Decoded, an empty key that is there looks like one that is not.
      if (field?.role.includes('KEY') && n.wire === Wire.BYTES && n.bytes.length === 0) return false;
      // Which of two members a decoder takes, and what it makes of a message that nobody reads, is not the walker's affair.
      if (field?.kind === Kind.MESSAGE && n.children === undefined && n.bytes.length > 0) return false;
      const oneof = this.oneofs.get(message.name)?.get(n.field);
      if (oneof !== undefined) {
        if ((members.get(oneof) ?? n.field) !== n.field) return false;
        members.set(oneof, n.field);
      }
      return n.children === undefined || this.models(this.schema.messages.get(n.message), n.children, way);
    });
  }
}
