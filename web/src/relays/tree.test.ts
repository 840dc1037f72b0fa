import { expect, test } from 'vitest';
import { FleetStore } from '../fleet/store';
import type { Device } from '../types';
import { linesOf, treeOf, within } from './tree';

const id = (n: number) => n.toString(16).padStart(32, '0');

interface Given {
	parent?: number;
	relay?: boolean;
	online?: boolean;
}

function treeFrom(given: Record<number, Given>) {
	const store = new FleetStore();
	const events = Object.entries(given).map(([n, { parent, relay = false, online = true }]) => {
		const name = `${relay ? 'hop' : 'web'}${n}`;
		const parents = parent === undefined ? { parent: 'server', parent_id: null } : { parent: `hop${parent}-1`, parent_id: id(parent) };
		const rest = { os: '', arch: '', version: '', last_seen: 1, group: '', tags: [], component: '', relay_address: '' };
		return { device: { id: id(Number(n)), name, full_name: `${name}-1`, online, relay, ...parents, ...rest } satisfies Device };
	});
	store.apply({ events });
	return treeOf(store.entries);
}

const shown = (given: Record<number, Given>) =>
	linesOf(treeFrom(given)).map(({ branch, depth }) => `${' '.repeat(depth)}${branch.name || 'server'} ${branch.online}/${branch.all}`);

test('relays stand below their parents, other devices are counted', () => {
	const given = { 1: {}, 2: { relay: true }, 10: { relay: true }, 3: { relay: true, parent: 2 }, 4: { parent: 3 }, 5: { parent: 3, online: false } };
	expect(shown(given)).toEqual(['server 3/3', ' hop2-1 1/1', '  hop3-1 1/2', ' hop10-1 0/0']);
	expect(treeFrom(given).relays).toBe(3);
});

test('who has a parent that is not seen, or is none any more, is not lost', () => {
	const given = { 1: { parent: 9 }, 2: { relay: true, parent: 9 }, 3: { parent: 2 } };
	expect(shown(given)).toEqual(['server 0/0', 'hop9-1 2/2', ' hop2-1 1/1']);
	const [, unseen] = treeFrom(given).roots;
	expect([unseen!.id, unseen!.device]).toEqual([id(9), undefined]);
});

test('a circle is shown once', () => {
	const given = { 1: { relay: true, parent: 2 }, 2: { relay: true, parent: 1 } };
	expect(shown(given)).toEqual(['server 0/0', 'hop1-1 1/1', ' hop2-1 1/1']);
	expect([...within(treeFrom(given).roots[1]!)].sort()).toEqual([id(1), id(2)]);
});
