/**
 * How far a copy is, in pieces that etcd takes: it refuses requests above 1.5 MB (--max-request-bytes), and a key space of a hundred
 * thousand regions has ten times that. A piece has so many chunks that it stays far below: see PIECE_BYTES. A step of the copy changes
 * one chunk, so it writes one piece.
 */
import type { Chunk, CopyState } from './copy.ts';
import type { FollowState } from './feed.ts';

/**
 * Of the chunks' boundaries in hex. Beside them, a chunk has some 60 bytes of numbers; `next` of those that are just copied is one key
 * more, and a key has 8 KiB at most (TiKV's max-key-size), 16 in hex. So a piece has less than half a MiB.
 */
const PIECE_BYTES = 128 << 10;
const PIECE_CHUNKS = 32;
/** A copy is followed by so many ranges at first, so that the record stays small. */
const MOST_SPANS = 256;

type Written = readonly [
  start: string,
  end: string,
  readTs: string,
  next: string | null,
  isDone: 0 | 1,
  bytes: number,
  keys: number,
];

interface Piece {
  readonly ofBytes: number;
  readonly chunks: readonly Written[];
}

/** `readTs` of a chunk that has not begun. */
const NOT_READ = '';

function written({ start, end, readTs, next, isDone, bytes, keys }: Chunk): Written {
  // Of a chunk that is done, nobody asks what is next.
  return [start, end, readTs ?? NOT_READ, isDone ? null : (next ?? null), isDone ? 1 : 0, bytes, keys];
}

function chunkOf([start, end, readTs, next, isDone, bytes, keys]: Written): Chunk {
  return {
    start,
    end,
    ...(readTs === NOT_READ ? {} : { readTs }),
    ...(next === null ? {} : { next }),
    ...(isDone ? { isDone: true } : {}),
    bytes,
    keys,
  };
}

/** Which pieces a state has, and what is in them. */
export class Pieces {
  /** Index of the first chunk of each piece. */
  private readonly firsts: number[] = [];
  private readonly pieceOf = new Map<Chunk, number>();

  constructor(private readonly state: CopyState) {
    let bytes = 0;
    let count = 0;
    const known = state.firsts && new Set(state.firsts);
    for (const [index, chunk] of state.chunks.entries()) {
      bytes += chunk.start.length + chunk.end.length;
      if (known ? known.has(index) : index === 0 || bytes > PIECE_BYTES || count >= PIECE_CHUNKS) {
        this.firsts.push(index);
        bytes = chunk.start.length + chunk.end.length;
        count = 0;
      }
      count += 1;
      this.pieceOf.set(chunk, this.firsts.length - 1);
    }
  }

  /** @param texts all pieces, in order. They are cut anew where they were. */
  static read(texts: readonly string[]): CopyState {
    const pieces = texts.map((text) => JSON.parse(text) as Piece);
    const firsts: number[] = [];
    let next = 0;
    for (const { chunks } of pieces) {
      firsts.push(next);
      next += chunks.length;
    }
    return {
      firsts,
      chunks: pieces.flatMap(({ chunks }) => chunks.map(chunkOf)),
      ofBytes: pieces[0]?.ofBytes ?? 0,
    };
  }

  private text(piece: number): string {
    const { chunks, ofBytes } = this.state;
    const part = chunks.slice(this.firsts[piece], this.firsts[piece + 1]);
    return JSON.stringify({ ofBytes, chunks: part.map(written) } satisfies Piece);
  }

  all(): ReadonlyMap<number, string> {
    return new Map(this.firsts.map((_, piece) => [piece, this.text(piece)]));
  }

  /** The piece that has this chunk. */
  with(chunk: Chunk): ReadonlyMap<number, string> {
    const piece = this.pieceOf.get(chunk);
    return new Map(piece === undefined ? [] : [[piece, this.text(piece)]]);
  }
}

/** The earliest timestamp that a chunk was read at; undefined before the first one. */
export function readSince({ chunks }: CopyState): bigint | undefined {
  return chunks
    .flatMap(({ readTs }) => (readTs === undefined ? [] : [BigInt(readTs)]))
    .reduce<bigint | undefined>((a, b) => (a !== undefined && a < b ? a : b), undefined);
}

/** Nothing older can be read at the target. */
export function readableSince({ chunks }: CopyState): bigint {
  return chunks.map(({ readTs = '0' }) => BigInt(readTs)).reduce((a, b) => (a > b ? a : b), 0n);
}

/** Where to follow a complete copy from. Neighbours are joined at the earlier timestamp: what comes twice is left as it is. */
export function followFrom({ chunks }: CopyState): FollowState {
  const sorted = [...chunks].sort((a, b) =>
    Buffer.compare(Buffer.from(a.start, 'hex'), Buffer.from(b.start, 'hex')),
  );
  const each = Math.ceil(sorted.length / MOST_SPANS);
  const spans: FollowState['spans'][number][] = [];
  for (let from = 0; from < sorted.length; from += each) {
    const part = sorted.slice(from, from + each);
    const checkpoint = readSince({ chunks: part, ofBytes: 0 }) ?? 0n;
    spans.push({ start: part[0]?.start ?? '', end: part.at(-1)?.end ?? '', checkpoint: String(checkpoint) });
  }
  return { spans };
}
