/** The configurations in force: one per root context, as long as Envoy has streams under it. */
import { vmBudget } from '../memory/held';
import { ConfigReader } from '../tenant/config';
import { Resolver } from '../tenant/identity';

const resolvers: Map<u32, Resolver> = new Map();

/** Takes a pluginConfig for a root context. '' or the reason why it is refused. */
export function configure(root: u32, text: string): string {
  const reader = new ConfigReader(text);
  if (reader.error.length != 0) return reader.error;
  vmBudget.limit = reader.config.limits.heldBytesPerVM;
  resolvers.set(root, new Resolver(reader.config));
  return '';
}

/** The rules of a root context, or null when it has none. */
export function resolverOf(root: u32): Resolver | null {
  return resolvers.has(root) ? resolvers.get(root) : null;
}

export function forgetConfig(root: u32): void {
  resolvers.delete(root);
}
