/** Asks Envoy for the facts of a caller that the rules need, and no more. */
import * as host from '../host/host';
import { PRINCIPAL } from '../host/host';
import { addFact, beginCaller, setHeader } from '../tenant/caller';
import { Identity, Resolver } from '../tenant/identity';
import { Rules } from '../tenant/rules';
import * as headers from './headers';

/**
 * Identifies the caller of the current stream. `withHeaders`: its request's headers were just read. Later they are gone, and so is
 * metadata that came in them alone.
 */
export function identify(resolver: Resolver, withHeaders: bool): Identity {
  const rules = resolver.config.rules;
  const facts = rules.peer;
  if (!rules.isNodeRead) readNode(rules);
  host.readProperty(PRINCIPAL);
  beginCaller(host.resultAt, host.resultLength);
  for (let i = 0; i < facts.length; i++) {
    const fact = facts[i];
    if (!host.readProperty(fact.object) || host.resultLength == 0) host.readProperty(fact.table);
    addFact(host.resultAt, host.resultLength);
  }
  if (withHeaders && facts.length != 0) setHeader(headers.peerAt, headers.peerLength, headers.peerCount > 1);
  return resolver.resolve();
}

/** Reads the facts of the node that rules need, once, because they never change. Envoy gives them to streams only, not on configure. */
function readNode(rules: Rules): void {
  rules.isNodeRead = true;
  for (let i = 0; i < rules.node.length; i++) {
    const fact = rules.node[i];
    if (!host.readProperty(fact.node)) host.readProperty(fact.olderNode);
    const value = new ArrayBuffer(<i32>host.resultLength);
    memory.copy(changetype<usize>(value), host.resultAt, host.resultLength);
    rules.nodeValues[i] = value;
  }
}
