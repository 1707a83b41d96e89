/** Asks Envoy for what the rules want to know of a caller, and no more. */
import { PRINCIPAL, readProperty, resultAt, resultLength } from '../host/host';
import { addFact, beginCaller, setHeader } from '../tenant/caller';
import { Identity, Resolver } from '../tenant/identity';
import { Rules } from '../tenant/rules';
import { peerAt, peerCount, peerLength } from './headers';

/**
 * Who the caller of the current stream is. `withHeaders`: its request's headers were read just now; later they are gone, and metadata
 * that came in them alone is not known any more.
 */
export function identify(resolver: Resolver, withHeaders: bool): Identity {
  const rules = resolver.config.rules;
  const facts = rules.peer;
  if (!rules.isNodeRead) readNode(rules);
  readProperty(PRINCIPAL);
  beginCaller(resultAt, resultLength);
  for (let i = 0; i < facts.length; i++) {
    const fact = facts[i];
    if (!readProperty(fact.object) || resultLength == 0) readProperty(fact.table);
    addFact(resultAt, resultLength);
  }
  if (withHeaders && facts.length != 0) setHeader(peerAt, peerLength, peerCount > 1);
  return resolver.resolve();
}

/** Fills in what rules want to know of the node, once: it stays the same. Envoy says it to streams only, not while a configuration is loaded. */
function readNode(rules: Rules): void {
  rules.isNodeRead = true;
  for (let i = 0; i < rules.node.length; i++) {
    const fact = rules.node[i];
    if (!readProperty(fact.node)) readProperty(fact.olderNode);
    const value = new ArrayBuffer(<i32>resultLength);
    memory.copy(changetype<usize>(value), resultAt, resultLength);
    rules.nodeValues[i] = value;
  }
}
