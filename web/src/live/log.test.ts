import { expect, test } from 'vitest';
import { Log } from './log';

test('newest first, and no more than there is room for', () => {
	const log = new Log<number>(3);
	expect(log.newestFirst()).toEqual([]);
	log.add(1);
	log.add(2);
	expect(log.newestFirst()).toEqual([2, 1]);
	for (const n of [3, 4, 5, 6, 7]) log.add(n);
	expect(log.newestFirst()).toEqual([7, 6, 5]);
	expect([log.length, log.total]).toEqual([3, 7]);
	expect([log.at(-1), log.at(0), log.at(2), log.at(3)]).toEqual([undefined, 7, 5, undefined]);
	log.clear();
	expect(log.newestFirst()).toEqual([]);
	log.add(8);
	expect(log.newestFirst()).toEqual([8]);
});
