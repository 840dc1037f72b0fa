// Who links to whom: the server, relays below it, relays below these.  Only relays are nodes; all other devices are numbers.
import type { Entry } from '../fleet/store';
import type { Device } from '../types';

export interface Branch {
	/** Of the relay; "" = the server. */
	id: string;
	/** Full name; "" = the server. */
	name: string;
	/** Undefined: the server, or somebody whom this user does not see. */
	device: Device | undefined;
	/** Devices that link to it, relays too. */
	all: number;
	online: number;
	below: Branch[];
}

export interface Tree {
	/** The server first; then what links to nobody known. */
	roots: Branch[];
	relays: number;
}

function branch(id: string, name: string, device?: Device): Branch {
	return { id, name, device, all: 0, online: 0, below: [] };
}

/** All that are below it, and itself. */
export function within(top: Branch, met = new Set<string>()): Set<string> {
	if (met.has(top.id)) return met;
	met.add(top.id);
	for (const each of top.below) within(each, met);
	return met;
}

export function treeOf(entries: readonly Entry[]): Tree {
	const server = branch('', '');
	const branches = new Map([['', server]]);
	const sorted = entries.filter(({ row }) => row.device.relay).sort((a, b) => (a.key < b.key ? -1 : 1));
	for (const { id, row } of sorted) branches.set(id, branch(id, row.device.full_name, row.device));
	const relays = branches.size - 1;
	for (const { row } of entries) {
		const id = row.device.parent_id ?? '';
		let parent = branches.get(id);
		if (!parent) branches.set(id, (parent = branch(id, row.device.parent)));
		parent.all++;
		parent.online += Number(row.device.online);
	}
	for (const each of branches.values()) if (each.device) branches.get(each.device.parent_id ?? '')!.below.push(each);
	// Whoever is not below the server has a parent that is not known, or is in a circle (each was moved while it was offline).
	const roots = [server];
	const met = within(server);
	for (const each of [...branches.values()].sort((a, b) => Number(!!a.device) - Number(!!b.device))) {
		if (met.has(each.id)) continue;
		roots.push(each);
		within(each, met);
	}
	return { roots, relays };
}

export interface Line {
	branch: Branch;
	/** 0 = the server. */
	depth: number;
}

/** From top to bottom, each followed by what is below it. */
export function linesOf(tree: Tree): Line[] {
	const lines: Line[] = [];
	const met = new Set<Branch>();
	const add = (one: Branch, depth: number) => {
		if (met.has(one)) return;
		met.add(one);
		lines.push({ branch: one, depth });
		for (const each of one.below) add(each, depth + 1);
	};
	for (const root of tree.roots) add(root, 0);
	return lines;
}
