// Open tunnels and those that failed, as they come in; how much goes over each at the moment.
import type { MapChange, PortMap } from '../api';
import type { Batch } from '../socket';

/** A relay tells of a tunnel every two seconds while something goes over it; one of which nothing is heard for longer is idle. */
export const QUIET_MS = 5000;

export interface Row {
	map: PortMap;
	/** Bytes a second, both ways, when it was told of last. */
	rate: number;
	/** Date.now() of that. */
	at: number;
}

export class Model {
	rows = new Map<string, Row>();
	complete = false;

	apply(batch: Batch<MapChange>, now: number): void {
		if (batch.reset) {
			this.rows.clear();
			this.complete = false;
		}
		for (const event of batch.events) {
			if ('map' in event) this.#set(event.map, now);
			else if ('removed' in event) this.rows.delete(event.removed);
			else this.complete = true;
		}
	}

	#set(map: PortMap, now: number): void {
		const before = this.rows.get(map.id);
		const moved = before ? map.sent + map.received - before.map.sent - before.map.received : 0;
		const seconds = before ? Math.max(1, (now - before.at) / 1000) : 1;
		this.rows.set(map.id, { map, rate: Math.max(0, moved) / seconds, at: now });
	}

	/** The newest first. */
	open(text: string): Row[] {
		return this.#some(text, false).sort((a, b) => b.map.since - a.map.since || (a.map.id < b.map.id ? -1 : 1));
	}

	failed(): Row[] {
		return this.#some('', true).sort((a, b) => b.map.ended - a.map.ended || (a.map.id < b.map.id ? -1 : 1));
	}

	#some(text: string, ended: boolean): Row[] {
		const wanted = text.trim().toLowerCase();
		return [...this.rows.values()].filter(
			({ map }) => map.ended > 0 === ended && [map.user, map.full_name, map.target].some((one) => one.toLowerCase().includes(wanted)),
		);
	}
}

/** The page's clock moves every few seconds: what is new is not in the future. */
export const past = (seconds: number, now: number) => Math.min(seconds, now);

export const rateNow = (row: Row, now: number) => (now - row.at > QUIET_MS ? 0 : row.rate);
