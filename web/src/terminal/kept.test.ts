import { expect, test } from 'vitest';
import { keepTerminals, keptTerminals, MOST_TERMINALS } from './kept';

function storage(): Storage {
	const values = new Map<string, string>();
	return {
		getItem: (key: string) => values.get(key) ?? null,
		setItem: (key: string, value: string) => void values.set(key, value),
		removeItem: (key: string) => void values.delete(key),
	} as Storage;
}

const id = (digit: string) => digit.repeat(32);

test('each device has its own', () => {
	const store = storage();
	keepTerminals('one', [id('1'), id('2')], store);
	expect(keptTerminals('one', store)).toEqual([id('1'), id('2')]);
	expect(keptTerminals('two', store)).toEqual([]);
	keepTerminals('one', [], store);
	expect(keptTerminals('one', store)).toEqual([]);
});

test('what was not written by us is not taken', () => {
	const store = storage();
	for (const text of ['', '{', '{"a":1}', '[1,null,"x"]']) {
		store.setItem('murmesh.terminals.one', text);
		expect(keptTerminals('one', store)).toEqual([]);
	}
	keepTerminals('one', Array.from({ length: 20 }, () => id('a')), store);
	expect(keptTerminals('one', store)).toHaveLength(MOST_TERMINALS);
});
