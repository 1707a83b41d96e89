/** A TCP port in front of a server, whose connections can be held, slowed and cut: a network that tests can break. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

const HOST = '127.0.0.1';

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
  /** The port that it was dialled from. */
  readonly from: number;
}

export class Link {
  /** Every piece of bytes waits so long, ms. */
  delayMs = 0;
  private hostFor: (from: number) => string = () => HOST;
  private readonly pairs = new Set<Pair>();
  /** Whose connections are held; what waits for their release. */
  private isHeld: (from: number) => boolean = () => false;
  private released: Promise<void> = Promise.resolve();
  private release: () => void = () => {};
  /** What ends with its next bytes. */
  private readonly marked = new Set<Pair>();

  private constructor(private readonly server: Server) {}

  /** Listens on a port, and dials the target for each connection. */
  static async open(port: number, target: number): Promise<Link> {
    const server = createServer({ allowHalfOpen: true });
    const link = new Link(server);
    server.on('connection', (near) => link.join(near, target));
    server.unref();
    await new Promise<void>((done, failed) => {
      server.once('error', failed);
      server.listen(port, HOST, done);
    });
    return link;
  }

  /** Has new connections lead to the same port of another address: `from` is the port that they are dialled from. @returns where they led */
  lead(hostFor: (from: number) => string): (from: number) => string {
    const before = this.hostFor;
    this.hostFor = hostFor;
    return before;
  }

  /** Passes no byte of these connections on until `free`, and ends none: a network that drops every packet. */
  hold(which: (from: number) => boolean = () => true): void {
    this.isHeld = which;
    this.released = new Promise((done) => (this.release = done));
  }

  free(): void {
    this.isHeld = () => false;
    this.release();
  }

  /** Ends each connection in the middle of the next piece of bytes that passes through it. Connections without traffic live on. */
  cut(): void {
    for (const pair of this.pairs) this.marked.add(pair);
  }

  async close(): Promise<void> {
    this.free();
    for (const pair of this.pairs) end(pair);
    await new Promise((done) => this.server.close(done));
  }

  private join(near: Socket, target: number): void {
    const from = near.remotePort ?? 0;
    const far = connect({ port: target, host: this.hostFor(from), allowHalfOpen: true });
    const pair: Pair = { near, far, from };
    this.pairs.add(pair);
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', () => end(pair));
      socket.on('close', () => {
        this.pairs.delete(pair);
        this.marked.delete(pair);
        end(pair);
      });
    }
    near.pipe(this.between(pair)).pipe(far);
    far.pipe(this.between(pair)).pipe(near);
  }

  private between(pair: Pair): Transform {
    const pass = async (bytes: Buffer): Promise<Buffer> => {
      if (this.delayMs > 0) await sleep(this.delayMs);
      while (this.isHeld(pair.from)) await this.released;
      if (!this.marked.has(pair)) return bytes;
      const part = bytes.subarray(0, Math.floor(Math.random() * bytes.length));
      // The part has to leave before the end.
      setTimeout(() => end(pair), 1);
      return part;
    };
    return new Transform({
      transform: (bytes: Buffer, _encoding, done) => void pass(bytes).then((part) => done(null, part), done),
      flush: (done) => void pass(Buffer.alloc(0)).then(() => done(), done),
    });
  }
}

function end({ near, far }: Pair): void {
  near.destroy();
  far.destroy();
}

/** The local ports of a process's TCP connections on 127.0.0.1. */
export function portsOf(pid: number): Set<number> {
  const sockets = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode !== undefined) sockets.add(inode);
    } catch {
      // Closed this moment.
    }
  }
  const ports = new Set<number>();
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    if (sockets.has(fields[9] ?? '')) ports.add(parseInt((fields[1] ?? '').split(':')[1] ?? '', 16));
  }
  return ports;
}
