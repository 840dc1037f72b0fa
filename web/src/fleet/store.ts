// The fleet as plain data: one entry per device, fed in batches.  Nothing here is reactive; see fleet.svelte.ts.
import { searchable, type Searchable } from '../query';
import type { Batch } from '../socket';
import type { Device, FleetChange } from '../types';

/** Stays the same object as long as the device is known; `row` is replaced with each change. */
export interface Entry {
	readonly id: string;
	row: Searchable;
	/** For sorting by name: digits padded, so that web2 comes before web10. */
	key: string;
	/** Left the fleet; some list may still show it. */
	gone: boolean;
	/** Seen in the snapshot that is under way. */
	mark: number;
	/** Its place in `entries`. */
	index: number;
}

const ZEROS = '0000000000';

export function naturalKey(name: string): string {
	return name.toLowerCase().replace(/\d+/g, (digits) => ZEROS.slice(digits.length) + digits);
}

export class FleetStore {
	readonly entries: Entry[] = [];
	readonly byId = new Map<string, Entry>();
	complete = false;
	online = 0;
	/** Grows when an entry comes, goes, or changes its name. */
	shape = 0;
	/** Grows with each batch. */
	version = 0;
	#mark = 0;
	#snapshot = false;

	apply(batch: Pick<Batch<FleetChange>, 'reset' | 'events'>): void {
		this.version++;
		if (batch.reset) {
			// What is shown stays until the new snapshot is whole.
			this.#mark++;
			this.#snapshot = true;
		}
		for (const event of batch.events) {
			if ('device' in event) this.#put(event.device);
			else if ('removed' in event) this.#remove(event.removed);
			else this.#finish();
		}
	}

	clear(): void {
		for (const entry of [...this.entries]) this.#remove(entry.id);
		this.complete = false;
	}

	#put(device: Device): void {
		const entry = this.byId.get(device.id);
		if (!entry) {
			const added: Entry = {
				id: device.id,
				row: searchable(device),
				key: naturalKey(device.full_name),
				gone: false,
				mark: this.#mark,
				index: this.entries.length,
			};
			this.entries.push(added);
			this.byId.set(device.id, added);
			this.online += Number(device.online);
			this.shape++;
			return;
		}
		const before = entry.row.device;
		this.online += Number(device.online) - Number(before.online);
		entry.row = searchable(device);
		entry.mark = this.#mark;
		if (before.full_name !== device.full_name) {
			entry.key = naturalKey(device.full_name);
			this.shape++;
		}
	}

	#remove(id: string): void {
		const entry = this.byId.get(id);
		if (!entry) return;
		entry.gone = true;
		this.byId.delete(id);
		this.online -= Number(entry.row.device.online);
		const last = this.entries.pop();
		if (last && last !== entry) {
			this.entries[entry.index] = last;
			last.index = entry.index;
		}
		this.shape++;
	}

	#finish(): void {
		this.complete = true;
		if (!this.#snapshot) return;
		this.#snapshot = false;
		for (const entry of this.entries.filter((each) => each.mark !== this.#mark)) this.#remove(entry.id);
	}
}
