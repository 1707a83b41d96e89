/** What proto/ does not know of a version's protocols, and what the filter does with it. */
import type { FileRegistry } from '@bufbuild/protobuf';
import type { FileDescriptorSet } from '@bufbuild/protobuf/wkt';
import { judge, type Judgement } from '../../src-ts/schema/judgement.ts';
import type { Unknown } from '../../src-ts/versions/versions.ts';
import { drift } from './drift.ts';

/** What proto/ has and the version has not is left out: nobody of that version sends it. */
export function unknownOf(ours: FileRegistry, theirs: FileDescriptorSet): Unknown {
  const requests = reachedByRequests(judge(ours));
  const methods: string[] = [];
  const fields: { requests: string[]; answers: string[] } = { requests: [], answers: [] };
  const changed: string[] = [];
  for (const { kind, what, how } of drift(ours, theirs, { leftOut: {}, oursAlone: {} }))
    if (kind === 'changed') changed.push(`${what} ${how}`);
    else if (kind === 'new' && what.startsWith('/')) methods.push(what);
    else if (kind === 'new') {
      const message = what.slice(0, what.lastIndexOf('.'));
      (requests.has(message) ? fields.requests : fields.answers).push(what);
    }
  return { methods, ...fields, changed };
}

function reachedByRequests(judgement: Judgement): Set<string> {
  const messages = new Map(judgement.messages.map((message) => [message.name, message]));
  const reached = new Set<string>();
  const visit = (name: string | undefined): void => {
    if (name === undefined || reached.has(name)) return;
    reached.add(name);
    for (const field of messages.get(name)?.fields ?? []) visit(field.message);
  };
  for (const method of judgement.methods) visit(method.request);
  return reached;
}
