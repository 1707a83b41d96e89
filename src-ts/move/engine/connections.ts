/** Connections for streams that stay open, of which a server takes so many on one connection. */
import type * as grpc from '@grpc/grpc-js';
import type { Endpoint } from '../../pd/endpoint.ts';

/**
 * Streams on one connection. TiKV takes 1,024 (src/server/config.rs, grpc_concurrent_stream), and an Envoy may take fewer. What is beyond
 * the server's number waits in Node's http2 without an error.
 */
const MOST_STREAMS = 256;

interface Connected {
  readonly client: grpc.Client;
  /** The stream has ended. */
  leave(): void;
}

export class Connections {
  /** How many streams are open on each connection to an address. */
  private readonly open = new Map<string, number[]>();

  /** @param pool names the connections among others of the endpoint */
  constructor(
    private readonly endpoint: Pick<Endpoint, 'client'>,
    private readonly pool: string,
    private readonly most = MOST_STREAMS,
  ) {}

  /** A connection with room for one more stream. */
  enter(address: string): Connected {
    const counts = this.open.get(address) ?? [];
    this.open.set(address, counts);
    const free = counts.findIndex((count) => count < this.most);
    const index = free < 0 ? counts.length : free;
    counts[index] = (counts[index] ?? 0) + 1;
    let isOpen = true;
    return {
      client: this.endpoint.client(address, `${this.pool} ${index}`),
      leave: () => {
        if (isOpen) counts[index] = (counts[index] ?? 1) - 1;
        isOpen = false;
      },
    };
  }
}
