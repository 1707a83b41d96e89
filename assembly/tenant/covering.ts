/**
 * Finds the patterns that cover another one without a look at all of them. A pattern covers what has as many segments and in each the
 * same text or, beside its '*' or {tenant}, the same characters. So patterns are kept by their form, which says how many characters that
 * are in which segment, and in a form by those characters:
 *
 *   pattern  spiffe://cluster.local/ns/team-{tenant}-db/sa/*
 *   form     ////.....*...//*
 *   key      spiffe://cluster.local/ns/team-*-db/sa/*
 *
 * Of one text there is one key in each form. A configuration has few forms, however many rules.
 */
import { CAPTURE_BYTES, BRACE, MAX_PATTERN_LENGTH, SLASH, STAR, covers, segmentEnd } from './pattern';
import { TextIndex } from './text-index';

const DOT: u8 = 0x2e;

/** Keys and forms are written here: neither is longer than the pattern that it is of. */
const room: usize = memory.data(MAX_PATTERN_LENGTH, 8);

/** Where in a segment its '*' or {tenant} is; its end when there is none. */
function tokenIn(at: usize, end: usize): usize {
  while (at < end && load<u8>(at) != STAR && load<u8>(at) != BRACE) at++;
  return at;
}

/** A copy of what lies in `room` up to `end`. */
function kept(end: usize): ArrayBuffer {
  const length = end - room;
  const bytes = new ArrayBuffer(<i32>length);
  memory.copy(changetype<usize>(bytes), room, length);
  return bytes;
}

function dots(to: usize, count: usize): usize {
  memory.fill(to, DOT, count);
  return to + count;
}

/** Writes a pattern's form into `room`; gives its end. */
function writeForm(pattern: ArrayBuffer): usize {
  let at = changetype<usize>(pattern);
  const end = at + <usize>pattern.byteLength;
  let to = room;
  while (true) {
    const last = segmentEnd(at, end);
    const token = tokenIn(at, last);
    if (token < last) {
      to = dots(to, token - at);
      store<u8>(to++, STAR);
      to = dots(to, last - token - (load<u8>(token) == STAR ? 1 : CAPTURE_BYTES));
    }
    at = last;
    if (at == end) return to;
    store<u8>(to++, SLASH);
    at++;
  }
}

/** Writes the key that a pattern has in a form into `room`; gives its end, or 0 where no pattern of the form could cover it. */
function writeKey(form: ArrayBuffer, pattern: ArrayBuffer): usize {
  let f = changetype<usize>(form);
  const formEnd = f + <usize>form.byteLength;
  let at = changetype<usize>(pattern);
  const end = at + <usize>pattern.byteLength;
  let to = room;
  while (true) {
    const last = segmentEnd(at, end);
    const formLast = segmentEnd(f, formEnd);
    let before = last - at;
    let after: usize = 0;
    if (f != formLast) {
      before = tokenIn(f, formLast) - f;
      after = formLast - f - before - 1;
      if (last - at < before + after) return 0;
    }
    memory.copy(to, at, before);
    to += before;
    if (f != formLast) store<u8>(to++, STAR);
    memory.copy(to, last - after, after);
    to += after;
    f = formLast;
    at = last;
    if (f == formEnd || at == end) return f == formEnd && at == end ? to : 0;
    store<u8>(to++, SLASH);
    f++;
    at++;
  }
}

/** A pattern with its number, and the next one that has the same key. */
class Entry {
  next: Entry | null = null;

  constructor(
    public pattern: ArrayBuffer,
    public number: i32,
  ) {}
}

/** Patterns of one form by their keys. */
class Form {
  /** With the places in `firsts`. */
  keys: TextIndex = new TextIndex();
  firsts: Entry[] = [];

  constructor(public form: ArrayBuffer) {}

  /** The entries that have the key that lies in `room`, or null. */
  find(keyEnd: usize): Entry | null {
    const place = this.keys.find(room, keyEnd - room);
    return place < 0 ? null : this.firsts[place];
  }
}

export class Covering {
  /** By the form, with the places in `forms`. */
  private byForm: TextIndex = new TextIndex();
  private forms: Form[] = [];

  /** `number` is greater than those before. */
  add(pattern: ArrayBuffer, number: i32): void {
    const formEnd = writeForm(pattern);
    let place = this.byForm.find(room, formEnd - room);
    if (place < 0) {
      place = this.forms.length;
      const text = kept(formEnd);
      this.byForm.add(text, place);
      this.forms.push(new Form(text));
    }
    const form = this.forms[place];
    const keyEnd = writeKey(form.form, pattern);
    const entry = new Entry(pattern, number);
    let last = form.find(keyEnd);
    if (last == null) {
      form.keys.add(kept(keyEnd), form.firsts.length);
      form.firsts.push(entry);
      return;
    }
    for (let next = last.next; next != null; next = last.next) last = next;
    last.next = entry;
  }

  /** The least number of a pattern that covers this one, or -1. */
  firstCovering(pattern: ArrayBuffer): i32 {
    let first = i32.MAX_VALUE;
    for (let i = 0; i < this.forms.length; i++) {
      const form = this.forms[i];
      const keyEnd = writeKey(form.form, pattern);
      if (keyEnd == 0) continue;
      let entry = form.find(keyEnd);
      while (entry != null && !covers(entry.pattern, pattern)) entry = entry.next;
      if (entry != null) first = min(first, entry.number);
    }
    return first == i32.MAX_VALUE ? -1 : first;
  }
}
