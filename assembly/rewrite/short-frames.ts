/**
 * Measures gRPC's length-prefixed messages that pass unread. Their methods need few bytes, and PD and TiKV take messages of any length
 * (TiKV: src/server/server.rs, max_receive_message_len). Each piece of a body goes on at once, also one that ends within a header.
 */
import { Status } from '../wire/status';

/** Maximum of a message's bytes. Each such method takes a few numbers, and PD's also the name of the caller. */
export const MAX_UNREAD_BYTES: u32 = 4096;

const HEADER: u32 = 5;

@unmanaged
export class ShortFrames {
  /** Bytes of the present frame's header that have come. */
  private seen: u32 = 0;
  /** Its length, as far as it has come. */
  private length: u32 = 0;
  /** Bytes of the message that are still to come. */
  private left: u32 = 0;

  begin(): void {
    this.seen = 0;
    this.length = 0;
    this.left = 0;
  }

  /** Takes the next `length` bytes of a body. */
  feed(p: usize, length: usize): Status {
    const end = p + length;
    while (p < end) {
      if (this.left != 0) {
        const step = min(<usize>this.left, end - p);
        this.left -= <u32>step;
        p += step;
        continue;
      }
      const byte = <u32>load<u8>(p++);
      if (this.seen == 0 && byte != 0) return byte == 1 ? Status.COMPRESSED : Status.MALFORMED;
      this.length = (this.length << 8) | byte;
      if (++this.seen < HEADER) continue;
      if (this.length > MAX_UNREAD_BYTES) return Status.TOO_LONG_UNREAD;
      this.left = this.length;
      this.seen = 0;
      this.length = 0;
    }
    return Status.OK;
  }
}
