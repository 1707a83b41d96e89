/**
 * The Envoys behind the addresses that an operator gives. A name may have several addresses, and behind one address there may be several
 * Envoys, of which a connection reaches one.
 */
import { lookup } from 'node:dns/promises';
import type { Endpoint } from '../pd/endpoint.ts';
import { statusOf, type EnvoyStatus } from '../tenants/mesh-status.ts';

/** Connections that are opened to an address to see who answers. With two Envoys behind it, one hides from them once in 32,768 times. */
const LOOKS = 16;

interface Answer {
  readonly address: string;
  readonly status: EnvoyStatus;
}

async function addressesOf({ url }: Endpoint): Promise<string[]> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  // A name that is not known says so when it is asked.
  const found = await lookup(host, { all: true }).catch(() => [{ address: host }]);
  return found.map(({ address }) => address);
}

function isRefused({ reason }: PromiseRejectedResult): boolean {
  const { cause } = reason as { cause?: NodeJS.ErrnoException };
  return cause?.code === 'ECONNREFUSED';
}

/** Asks at every address. Nobody reaches an Envoy at one that refuses connections, such as of the other kind of IP. */
async function atEach<T>(envoy: Endpoint, ask: (address: string) => Promise<T>): Promise<T[]> {
  const outcomes = await Promise.allSettled((await addressesOf(envoy)).map(ask));
  const answers = outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failed = outcomes.filter((one) => one.status === 'rejected');
  const serious = failed.find((one) => answers.length === 0 || !isRefused(one));
  if (serious) throw serious.reason;
  return answers;
}

/** What the Envoys at all addresses of a name say. @throws CommandError when one does not answer */
export function statusesOf(envoy: Endpoint): Promise<Answer[]> {
  return atEach(envoy, async (address) => ({ address, status: await statusOf(envoy, { address }) }));
}

/** Who answers at each address of a name. */
function answering(envoy: Endpoint): Promise<Set<string | undefined>[]> {
  return atEach(envoy, async (address) => {
    const looks = Array.from({ length: LOOKS }, () => statusOf(envoy, { address, isFresh: true }));
    return new Set((await Promise.all(looks)).map((status) => status.envoy));
  });
}

/** Names at which Envoys answer that have no address of their own among these: which of them is asked is left to chance. */
export async function hiddenBehind(envoys: readonly Endpoint[]): Promise<string[]> {
  const all = await Promise.all(envoys.map(answering));
  const alone = new Set(all.flat().flatMap((ids) => (ids.size === 1 ? [...ids] : [])));
  // An earlier filter does not say who it is.
  alone.delete(undefined);
  return envoys
    .filter((_, i) => all[i]?.some((ids) => [...ids].some((id) => !alone.has(id))))
    .map(({ url }) => url.host);
}
