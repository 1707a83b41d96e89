/** For what moves beside each other all need done: whoever asks gets a run that begins behind the question, shared with all who wait for it. */
export function shareNext<T>(act: () => Promise<T>): () => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () => {
    next ??= last.then(() => {
      next = undefined;
      return act();
    });
    last = next.catch(() => undefined);
    return next;
  };
}
