import { describe, expect, test } from 'vitest';
import { compile } from '../query';
import type { Device } from '../types';
import { FleetStore } from './store';
import { FacetCount, filterEntries, formatSort, parseSort, SortedFleet, sortEntries } from './view';

const id = (n: number) => n.toString(16).padStart(32, '0');

function device(n: number, more: Partial<Device> = {}): Device {
	const name = `web${n}`;
	return {
		id: id(n),
		name,
		full_name: `${name}-1`,
		online: true,
		os: 'Debian',
		arch: 'x86_64',
		version: '1',
		parent: 'server',
		parent_id: null,
		relay: false,
		component: '',
		relay_address: '',
		last_seen: 100 + n,
		group: '',
		tags: [],
		...more,
	};
}

const names = (store: FleetStore) => store.entries.map((entry) => entry.row.device.name).sort();
const put = (store: FleetStore, ...devices: Device[]) => store.apply({ events: devices.map((each) => ({ device: each })) });

describe('store', () => {
	test('devices come, change and go', () => {
		const store = new FleetStore();
		put(store, device(1), device(2), device(3, { online: false }));
		expect([store.entries.length, store.online]).toEqual([3, 2]);
		const entry = store.byId.get(id(1))!;
		put(store, device(1, { online: false, tags: ['x'] }));
		expect(store.byId.get(id(1))).toBe(entry);
		expect([entry.row.tags, store.online]).toEqual([['x'], 1]);
		store.apply({ events: [{ removed: id(1) }, { removed: id(99) }] });
		expect([names(store), entry.gone, store.online]).toEqual([['web2', 'web3'], true, 1]);
		store.entries.forEach((each, i) => expect(each.index).toBe(i));
	});

	test('a new snapshot takes the place of the old when it is whole', () => {
		const store = new FleetStore();
		store.apply({ reset: true, events: [{ device: device(1) }, { device: device(2) }, { complete: true }] });
		store.apply({ reset: true, events: [{ device: device(2) }] });
		expect(names(store)).toEqual(['web1', 'web2']);
		store.apply({ events: [{ device: device(3) }, { complete: true }] });
		expect(names(store)).toEqual(['web2', 'web3']);
		expect(store.online).toBe(2);
	});

	test('a change between snapshot and end counts as seen', () => {
		const store = new FleetStore();
		store.apply({ reset: true, events: [{ device: device(1) }, { complete: true }] });
		store.apply({ reset: true, events: [] });
		put(store, device(1, { group: 'g' }));
		store.apply({ events: [{ complete: true }] });
		expect(names(store)).toEqual(['web1']);
	});
});

describe('view', () => {
	test('names sort as people count', () => {
		const store = new FleetStore();
		put(store, device(10), device(9), device(100), device(1));
		const sorted = sortEntries(store.entries, { column: 'name', descending: false });
		expect(sorted.map((entry) => entry.row.device.name)).toEqual(['web1', 'web9', 'web10', 'web100']);
	});

	test('by last seen: online first, never last', () => {
		const store = new FleetStore();
		put(store, device(1, { online: false, last_seen: 0 }), device(2, { online: false }), device(3), device(4, { online: false }));
		const sorted = sortEntries(store.entries, { column: 'seen', descending: false });
		expect(sorted.map((entry) => entry.row.device.name)).toEqual(['web3', 'web4', 'web2', 'web1']);
	});

	test('the order is made anew only when it may be another', () => {
		const store = new FleetStore();
		put(store, device(1), device(2));
		const fleet = new SortedFleet(store);
		const byName = { column: 'name', descending: false } as const;
		const first = fleet.get(byName);
		put(store, device(1, { online: false }));
		expect(fleet.get(byName)).toBe(first);
		put(store, device(3));
		expect(fleet.get(byName).length).toBe(3);
		const byState = { column: 'state', descending: false } as const;
		expect(fleet.get(byState).map((entry) => entry.row.device.name)).toEqual(['web2', 'web3', 'web1']);
		put(store, device(1));
		expect(fleet.get(byState).map((entry) => entry.row.device.name)).toEqual(['web1', 'web2', 'web3']);
	});

	test('what matches comes in order', () => {
		const store = new FleetStore();
		put(store, device(10), device(9, { group: 'g' }), device(100), device(1));
		store.apply({ events: [{ removed: device(10).id }] });
		const fleet = new SortedFleet(store);
		const shown = (text: string, descending = false) =>
			fleet.arrange(filterEntries(store.entries, compile(text), 0), { column: 'name', descending }).map(({ row }) => row.name);
		expect(shown('')).toEqual(['web1', 'web9', 'web100']);
		expect(shown('-group:g')).toEqual(['web1', 'web100']);
		expect(shown('-group:g', true)).toEqual(['web100', 'web1']);
		put(store, device(2));
		expect(shown('-group:g')).toEqual(['web1', 'web2', 'web100']);
	});

	test('facets count what is shown', () => {
		const store = new FleetStore();
		put(store, device(1, { tags: ['a', 'b'] }), device(2, { tags: ['b'], group: 'g', online: false }), device(3, { name: 'x' }));
		const counting = new FacetCount(filterEntries(store.entries, compile('tag:b'), 0));
		expect(counting.count(1)).toBeUndefined();
		const facets = counting.count(10)!;
		expect(facets.tag).toEqual([
			{ value: 'b', count: 2 },
			{ value: 'a', count: 1 },
		]);
		expect(facets.online.map(({ value, count }) => value + count).sort()).toEqual(['no1', 'yes1']);
	});

	test('the sort in the address comes back', () => {
		for (const text of ['', '-name', 'seen', '-group']) expect(formatSort(parseSort(text))).toBe(text);
		expect(formatSort(parseSort('constructor'))).toBe('');
	});
});
