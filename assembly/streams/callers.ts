/** Asks Envoy for the facts of a caller that the rules need, and no more. */
import * as host from '../host/host';
import { PRINCIPAL } from '../host/host';
import { addFact, beginCaller, setBehalf, setHeader } from '../tenant/caller';
import { Identity, Resolver } from '../tenant/identity';
import { Rules } from '../tenant/rules';
import { Terms } from '../terms/terms';
import * as headers from './headers';

/** Identifies the caller of the current stream, whose request's headers were just read. */
export function identify(resolver: Resolver): Identity {
  begin(resolver);
  if (resolver.config.rules.peer.length != 0)
    setHeader(headers.peerAt, headers.peerLength, headers.peerCount > 1);
  // Two readings of a header that comes twice are possible, so it says nothing.
  if (headers.behalfCount != 0)
    setBehalf(headers.behalfAt, headers.behalfCount == 1 ? headers.behalfLength : 0);
  return resolver.resolve();
}

/**
 * Identifies the caller of an open stream. Its headers are gone, and so is metadata that came in them alone. `behalf`: the terms of the
 * tenant that they named; null for a caller that acts for itself.
 */
export function identifyAgain(resolver: Resolver, behalf: Terms | null): Identity {
  begin(resolver);
  if (behalf != null) setBehalf(behalf.nameAt, behalf.nameLength);
  return resolver.resolve();
}

function begin(resolver: Resolver): void {
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
