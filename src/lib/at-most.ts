/** Does `work` for each item, at most `limit` at once, in order of the items. Rejects with the first error; its lane begins nothing further. */
export async function atMost<T>(limit: number, items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  // One iterator for all of them: each takes the next item when it is free.
  const queue = Iterator.from(items);
  const lane = async () => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: limit }, lane));
}
