/**
 * Where a field lies in its message:
 *
 *   tag | length | bytes          tag | number
 *   at    lengthAt bytes   end    at    bytes   end
 */
@unmanaged
export class Span {
  at: usize;
  /** Only for fields that have a length. */
  lengthAt: usize;
  bytes: usize;
  end: usize;

  /** Length of the field's value, in bytes. */
  @inline
  get length(): usize {
    return this.end - this.bytes;
  }

  @inline
  set(at: usize, lengthAt: usize, bytes: usize, end: usize): void {
    this.at = at;
    this.lengthAt = lengthAt;
    this.bytes = bytes;
    this.end = end;
  }

  @inline
  take(other: Span): void {
    v128.store(changetype<usize>(this), v128.load(changetype<usize>(other)));
  }

  /** Makes this an absent field: it has no bytes, and would be inserted at the message's end. */
  standAt(end: usize): void {
    if (this.at == 0) this.set(end, end, end, end);
  }
}
