/** HTTP/2 by hand over TLS (RFC 9113): a client that may write every frame wrongly, in pieces, or never. */
import { readFileSync } from 'node:fs';
import { connect, type TLSSocket } from 'node:tls';
import type { CertFiles } from '../harness/stack/certs.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const FRAME_HEADER = 9;

export const Type = {
  DATA: 0,
  HEADERS: 1,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;
export const Flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8 } as const;
const INITIAL_WINDOW_SIZE = 4;

export function h2Frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(FRAME_HEADER);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** An integer with a prefix of 7 bits (RFC 7541, 5.1); the eighth bit says that Huffman's code is not used. */
function hpackLength(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let left = length - 127;
  for (; left >= 128; left >>>= 7) bytes.push((left & 127) | 128);
  return Buffer.from([...bytes, left]);
}

/** Headers as literals that nobody remembers. */
export function hpack(headers: Readonly<Record<string, string>>): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of Object.entries(headers)) {
    parts.push(Buffer.from([0]));
    for (const text of [name, value].map((each) => Buffer.from(each)))
      parts.push(hpackLength(text.length), text);
  }
  return Buffer.concat(parts);
}

export function windowUpdate(stream: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return h2Frame(Type.WINDOW_UPDATE, 0, stream, payload);
}

/**
 * One connection. It answers SETTINGS and PING, and throws everything else away but how its streams ended. While frames are written in
 * pieces, its answers wait: one within a frame would become a part of that frame.
 */
export class WireConnection {
  /** Streams that the other side has ended or reset. */
  readonly ended = new Set<number>();
  isClosed = false;
  private kept = Buffer.alloc(0);
  private isMidFrame = false;
  private answers: Buffer[] = [];

  private constructor(private readonly socket: TLSSocket) {
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => this.read(bytes));
    socket.on('error', () => {});
    socket.on('close', () => (this.isClosed = true));
  }

  /** @param window how many bytes of each answer may come without being asked for */
  static async open(port: number, files: CertFiles, window: number): Promise<WireConnection> {
    const socket = connect({
      port,
      host: '127.0.0.1',
      servername: 'localhost',
      ca: readFileSync(files.ca),
      cert: readFileSync(files.cert),
      key: readFileSync(files.key),
      ALPNProtocols: ['h2'],
    });
    await new Promise<void>((done, failed) => {
      socket.once('secureConnect', done);
      socket.once('error', failed);
    });
    const connection = new WireConnection(socket);
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(INITIAL_WINDOW_SIZE);
    settings.writeUInt32BE(window, 2);
    await connection.write(Buffer.concat([PREFACE, h2Frame(Type.SETTINGS, 0, 0, settings)]));
    return connection;
  }

  /** Resolves when the bytes have left this process. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.isClosed) return Promise.resolve();
    return new Promise((done) => this.socket.write(bytes, () => done()));
  }

  /** From here on, pieces are written that are not whole frames. */
  beginPieces(): void {
    this.isMidFrame = true;
  }

  /** All frames are whole again. */
  async endPieces(): Promise<void> {
    this.isMidFrame = false;
    await this.write(Buffer.concat(this.answers.splice(0)));
  }

  /** Ends the connection without a word. */
  cut(): void {
    this.socket.destroy();
  }

  private reply(frame: Buffer): void {
    if (this.isMidFrame) this.answers.push(frame);
    else void this.write(frame);
  }

  private read(bytes: Buffer): void {
    this.kept = Buffer.concat([this.kept, bytes]);
    while (this.kept.length >= FRAME_HEADER) {
      const end = FRAME_HEADER + this.kept.readUIntBE(0, 3);
      if (this.kept.length < end) return;
      this.take(
        this.kept[3]!,
        this.kept[4]!,
        this.kept.readUInt32BE(5),
        this.kept.subarray(FRAME_HEADER, end),
      );
      this.kept = this.kept.subarray(end);
    }
  }

  private take(type: number, flags: number, stream: number, payload: Buffer): void {
    if (type === Type.SETTINGS && (flags & Flag.ACK) === 0)
      this.reply(h2Frame(Type.SETTINGS, Flag.ACK, 0, Buffer.alloc(0)));
    else if (type === Type.PING && (flags & Flag.ACK) === 0)
      this.reply(h2Frame(Type.PING, Flag.ACK, 0, payload));
    else if (type === Type.RST_STREAM) this.ended.add(stream);
    else if ((type === Type.DATA || type === Type.HEADERS) && (flags & Flag.END_STREAM) !== 0)
      this.ended.add(stream);
  }
}
