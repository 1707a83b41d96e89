/** A client of PD's timestamps that goes on whatever happens, as PD's own does: over one stream, and over a new one when that ends. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import { clusterId } from '../../src-ts/pd/timestamp.ts';
import type { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { decode, encode } from '../harness/support/messages.ts';

const TSO = '/pdpb.PD/Tso';
const PAUSE_MS = 5;
/** An answer that does not come by then is none: the stream is given up. */
const LONGEST_MS = 3000;

export class Timestamps {
  /** The latest one. */
  latest = 0n;
  count = 0;
  /** Streams that were opened. */
  streams = 0;
  /** The longest time between two answers, ms. */
  longestMs = 0;
  readonly wrong: string[] = [];
  private isOver = false;
  private running: Promise<void> | undefined;
  private lastAt = Date.now();

  /** @param pd whose address stays the same, whoever answers there */
  constructor(private readonly pd: Endpoint) {}

  async start(): Promise<void> {
    const cluster = await clusterId(this.pd);
    this.lastAt = Date.now();
    this.running = (async () => {
      while (!this.isOver) {
        await this.stream(cluster);
        await sleep(PAUSE_MS);
      }
    })();
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await this.running;
  }

  /** Waits for so many more. */
  async more(count: number, timeoutMs = 60_000): Promise<void> {
    const wanted = this.count + count;
    const deadline = Date.now() + timeoutMs;
    while (this.count < wanted) {
      if (Date.now() > deadline) throw new Error(`${this.count} timestamps, not ${wanted}`);
      await sleep(PAUSE_MS);
    }
  }

  private stream(cluster: bigint): Promise<void> {
    this.streams++;
    const asIs = (bytes: Buffer): Buffer => bytes;
    const call = this.pd.client(this.pd.url.host).makeBidiStreamRequest(TSO, asIs, asIs, new grpc.Metadata());
    const request = Buffer.from(encode('pdpb.TsoRequest', { header: { clusterId: cluster }, count: 1 }));
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const end = (): void => {
        clearTimeout(timer);
        call.cancel();
        resolve();
      };
      const ask = (): void => {
        if (this.isOver) return end();
        timer = setTimeout(end, LONGEST_MS);
        call.write(request);
      };
      call.on('error', end);
      call.on('end', end);
      call.on('data', (answer: Buffer) => {
        clearTimeout(timer);
        this.take(answer);
        setTimeout(ask, PAUSE_MS);
      });
      ask();
    });
  }

  private take(answer: Buffer): void {
    const { timestamp } = decode('pdpb.TsoResponse', answer);
    const now = ((timestamp?.physical ?? 0n) << 18n) | (timestamp?.logical ?? 0n);
    // PD's client ends TiDB on one that is not later.
    if (now <= this.latest) this.wrong.push(`${now} after ${this.latest}`);
    this.latest = now;
    this.count++;
    this.longestMs = Math.max(this.longestMs, Date.now() - this.lastAt);
    this.lastAt = Date.now();
  }
}
