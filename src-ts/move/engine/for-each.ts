/** Does something with each, so many at once. What has not begun when one fails is left out. */
export async function forEach<T>(
  items: readonly T[],
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const todo = [...items].reverse();
  const worker = async (): Promise<void> => {
    try {
      for (let item = todo.pop(); item !== undefined; item = todo.pop()) await work(item);
    } catch (error) {
      todo.length = 0;
      throw error;
    }
  };
  const outcomes = await Promise.allSettled(
    Array.from({ length: Math.min(concurrency, items.length) }, worker),
  );
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed) throw failed.reason;
}
