/** Ids of messages in the filter's table, by name. */
import { readDescriptors } from '../../../src-ts/schema/descriptors.ts';
import { judge } from '../../../src-ts/schema/judgement.ts';
import { layOut } from '../../../src-ts/schema/layout.ts';

let names: readonly string[] | undefined;

export function messageId(name: string): number {
  names ??= layOut(judge(readDescriptors())).names;
  const id = names.indexOf(name);
  if (id < 0) throw new Error(`no message ${name}`);
  return id;
}
