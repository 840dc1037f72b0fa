// The devices that an action is for: the queries that say so to the server, and what people are shown of them.
import { api } from '../api';
import type { Device } from '../types';
import { fleet } from './fleet.svelte';
import type { FleetList } from './fleet_list.svelte';
import { queriesOf } from './terms';

export interface Part {
	query: string;
	/** As it was shown; the server refuses when the query matches another number by now. */
	count: number;
}

export interface Targets {
	parts: Part[];
	total: number;
	/** For the preview: the first of them. */
	names: string[];
	/** As an argument of the command line. */
	selector: string;
	/** Tags and groups that some of them have. */
	tags: string[];
}

const PREVIEWED = 8;
const ALL = 'name:*';

export function shellQuote(text: string): string {
	return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function describe(devices: Device[], parts: Part[]): Targets {
	const tags = new Set<string>();
	for (const device of devices) for (const tag of device.tags) tags.add(tag);
	return {
		parts,
		total: devices.length,
		names: devices.slice(0, PREVIEWED).map((device) => device.full_name),
		selector: shellQuote(devices.length === 1 ? devices[0]!.full_name : parts.map((part) => part.query).join(' or ')),
		tags: [...tags].sort(),
	};
}

export function targetsOf(list: FleetList): Targets {
	const { selection } = list;
	if (selection.all !== null) {
		const devices = list.order.map((entry) => entry.row.device);
		return describe(devices, [{ query: selection.all.trim() || ALL, count: devices.length }]);
	}
	const devices = selection.ids.map((id) => fleet.byId.get(id)?.row.device).filter((device) => device !== undefined);
	return targetsOfDevices(devices);
}

export function targetsOfDevices(devices: Device[]): Targets {
	const ids = devices.map((device) => device.id);
	if (ids.length === 1) return describe(devices, [{ query: `id:${ids[0]}`, count: 1 }]);
	const queries = queriesOf(ids, fleet.byId.keys());
	const perQuery = Math.ceil(queries[0]?.split(' or ').length ?? 1);
	return describe(
		devices,
		queries.map((query, i) => ({ query, count: Math.min(perQuery, ids.length - i * perQuery) })),
	);
}

/** All that link to a relay. */
export function targetsOfParent(relay: string): Targets {
	const devices = fleet.entries.map(({ row }) => row.device).filter((device) => device.parent_id === relay);
	const query = `parent:${relay}`;
	return { ...describe(devices, [{ query, count: devices.length }]), selector: query };
}

export interface Change {
	group?: string;
	add_tags?: string[];
	remove_tags?: string[];
	retire?: true;
	/** host:port or "server". */
	parent?: string;
}

/** One part after the other; `done` counts the devices of those that went well. */
export async function change(targets: Targets, what: Change, done: (count: number) => void): Promise<void> {
	for (const { query, count } of targets.parts) {
		const answer = await api.changeDevices({ query, count, ...what });
		done(answer.count);
	}
}
