/** Finds a text among many by its hash. A search allocates nothing. */
import { hashBytes, isSameBytes } from '../wire/bytes';

/** Texts with their numbers. Of equal texts the first counts. */
export class TextIndex {
  private texts: ArrayBuffer[] = [];
  private numbers: i32[] = [];
  /** Indexes into `texts` plus one, at the hash's slot or after it; 0 ends the search. */
  private slots: Int32Array = new Int32Array(16);

  private slotOf(at: usize, length: usize): i32 {
    const mask = this.slots.length - 1;
    let slot = (<i32>hashBytes(at, length)) & mask;
    while (!this.fits(unchecked(this.slots[slot]), at, length)) slot = (slot + 1) & mask;
    return slot;
  }

  /** True for a free slot and for one with this text. */
  private fits(place: i32, at: usize, length: usize): bool {
    if (place == 0) return true;
    const text = unchecked(this.texts[place - 1]);
    return <usize>text.byteLength == length && isSameBytes(changetype<usize>(text), at, length);
  }

  private place(i: i32): void {
    const text = this.texts[i];
    this.slots[this.slotOf(changetype<usize>(text), text.byteLength)] = i + 1;
  }

  /** False when the text is there already. */
  add(text: ArrayBuffer, number: i32): bool {
    if (this.find(changetype<usize>(text), text.byteLength) >= 0) return false;
    this.texts.push(text);
    this.numbers.push(number);
    const count = this.texts.length;
    if (count * 2 <= this.slots.length) this.place(count - 1);
    else {
      this.slots = new Int32Array(this.slots.length * 2);
      for (let i = 0; i < count; i++) this.place(i);
    }
    return true;
  }

  /** The number of this text, or -1. */
  find(at: usize, length: usize): i32 {
    const place = unchecked(this.slots[this.slotOf(at, length)]);
    return place == 0 ? -1 : unchecked(this.numbers[place - 1]);
  }
}
