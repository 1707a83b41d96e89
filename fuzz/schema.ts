/** proto/'s judgement, by name and number, as the fuzzer asks for it. */
import { readDescriptors } from '../src-ts/schema/descriptors.ts';
import { judge, type JudgedField, type JudgedMethod } from '../src-ts/schema/judgement.ts';
import { flagsOf, layOut } from '../src-ts/schema/layout.ts';
import type { Way } from '../test/unit/filter.ts';

export interface Message {
  readonly name: string;
  /** The number that the filter knows it by. */
  readonly id: number;
  readonly flags: number;
  /** Of mesh.Ending. */
  readonly ending: string;
  readonly fields: readonly JudgedField[];
  readonly byNumber: ReadonlyMap<number, JudgedField>;
}

export class Schema {
  readonly messages: ReadonlyMap<string, Message>;
  /** Methods whose messages are walked. */
  readonly methods: readonly JudgedMethod[];
  readonly paths: readonly string[];
  readonly names: readonly string[];

  constructor() {
    const judgement = judge(readDescriptors());
    const layout = layOut(judgement);
    this.names = layout.names;
    const ids = new Map(this.names.map((name, id) => [name, id]));
    this.messages = new Map(
      judgement.messages.map((message) => {
        const { name, fields, ending } = message;
        const id = ids.get(name) ?? 0;
        const byNumber = new Map(fields.map((f) => [f.number, f]));
        return [name, { name, id, flags: flagsOf(message), ending, fields, byNumber }];
      }),
    );
    this.methods = judgement.methods.filter((method) => method.decision === 'MAP');
    this.paths = judgement.methods.map((method) => method.path);
  }

  message(name: string): Message {
    const found = this.messages.get(name);
    if (found === undefined) throw new Error(`no message ${name}`);
    return found;
  }
}

/** The message that a method sends this way. */
export function messageOf(method: JudgedMethod, way: Way): string {
  return (way === 'request' ? method.request : method.response) ?? '';
}
