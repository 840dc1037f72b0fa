import { expect, test } from 'vitest';
import { milliseconds, number } from './text';

test('thousands are apart', () => {
	expect([0, 999, 1000, 12_345, 999_999, 1_234_567, 1_000_000_000].map(number)).toEqual(
		['0', '999', '1,000', '12,345', '999,999', '1,234,567', '1,000,000,000'],
	);
});

test('microseconds are read as milliseconds', () => {
	expect([0, 849, 9_940, 9_960, 12_400, 3_450_000].map(milliseconds)).toEqual(['0.0 ms', '0.8 ms', '9.9 ms', '10 ms', '12 ms', '3,450 ms']);
});
