/**
 * The Envoys behind the addresses that an operator gives. A name may have several addresses, and behind one address there may be several
 * Envoys, of which a connection reaches one.
 */
import { lookup } from 'node:dns/promises';
import type { Endpoint } from '../../pd/endpoint.ts';
import { statusOf, type EnvoyStatus } from '../../tenants/mesh-status.ts';

/** Connections that are opened to an address to see who answers. With two Envoys behind it, one hides from them once in 32,768 times. */
const LOOKS = 16;

interface Answer {
  readonly address: string;
  readonly status: EnvoyStatus;
}

/** What the Envoys behind each of some names say. */
export interface Answers {
  readonly envoy: Endpoint;
  readonly all: readonly Answer[];
}

/** A process of Envoy that has answered while a move went on, as JSON keeps it. */
export interface SeenEnvoy {
  /** As its filter tells it; of an earlier filter, where it was. */
  readonly id: string;
  /** `host:port`, as it is asked. */
  readonly host: string;
  /** Where it has answered: `address:port`. */
  readonly at: readonly string[];
  /** Since when it does not answer any more, ms since 1970. */
  readonly missingSince?: number;
}

/**
 * How long an Envoy counts that does not answer any more. One that drains takes no new connections, and its streams go on: until
 * --drain-time-s is over, 600 s by default (docs.envoyproxy.io, command line options).
 */
export const GONE_AFTER_MS = 600_000;

/** Remembers which Envoys have answered. One that drains, or that DNS does not name any more, may still pass what a client sends. */
export class SeenEnvoys {
  private known = new Map<string, SeenEnvoy>();

  constructor(private readonly goneAfterMs = GONE_AFTER_MS) {}

  all(): readonly SeenEnvoy[] {
    return [...this.known.values()];
  }

  /** Takes over what another worker has seen. */
  recall(seen: readonly SeenEnvoy[]): void {
    for (const one of seen) if (!this.known.has(one.id)) this.known.set(one.id, one);
  }

  /**
   * Takes what was answered just now.
   * @returns those that have answered before, do not now, and may live: no other process answers wherever they did
   */
  note(answers: readonly Answers[], now = Date.now()): readonly SeenEnvoy[] {
    const here = new Map<string, SeenEnvoy>();
    const taken = new Set<string>();
    for (const { envoy, all } of answers)
      for (const { address, status } of all) {
        const at = `${address}:${envoy.url.port}`;
        taken.add(at);
        const id = status.envoy ?? at;
        const { host, at: before } = here.get(id) ?? { host: envoy.url.host, at: [] };
        here.set(id, { id, host, at: [...new Set([...before, at])] });
      }
    const missing = this.all()
      .filter(({ id, at }) => !here.has(id) && !at.every((one) => taken.has(one)))
      .map((one) => ({ ...one, missingSince: one.missingSince ?? now }))
      .filter(({ missingSince }) => now - missingSince < this.goneAfterMs);
    for (const one of missing) here.set(one.id, one);
    this.known = here;
    return missing;
  }
}

/** In words, why a switch waits for it. */
export function missingText({ missingSince = 0 }: SeenEnvoy, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - missingSince) / 1000));
  return `has not answered for ${seconds} s, and may still pass requests`;
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
