/** One tenant and a build of the filter: what becomes of single messages of its. */
import { messageId } from '../harness/model/schema.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { Filter, Status, type BuildName, type Rewritten, type SpaceChoice, type Way } from './filter.ts';

/** A message's bytes, or its fields by name. */
export type Content = Uint8Array | Fields;

const bytesOf = (type: string, content: Content): Uint8Array =>
  content instanceof Uint8Array ? content : encode(type, content);

export class Tenant {
  readonly filter: Filter;

  constructor(build: BuildName, space: SpaceChoice = { number: 1 }) {
    this.filter = new Filter(build);
    this.filter.selectSpace(space);
  }

  rewrite(type: string, content: Content, way: Way = 'request'): Rewritten {
    return this.filter.message(messageId(type), bytesOf(type, content), way);
  }

  /** 'OK', or why a request is refused: a name of `Status`. */
  verdict(type: string, content: Content): string {
    return Status[this.rewrite(type, content).status]!;
  }

  /** The bytes of a message that has to pass. Throws when it is refused. */
  passed(type: string, content: Content, way: Way = 'request'): Uint8Array {
    const { status, bytes } = this.rewrite(type, content, way);
    if (status !== Status.OK) throw new Error(`${type} is refused: ${Status[status]}`);
    return bytes;
  }

  /** The fields of a request that has to pass, as the storage layer gets them. */
  sent(type: string, content: Content): Fields {
    return decode(type, this.passed(type, content));
  }

  /** The fields of an answer, as the tenant gets them. */
  told(type: string, content: Content): Fields {
    return decode(type, this.passed(type, content, 'response'));
  }
}
