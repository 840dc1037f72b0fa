// The fleet of this page, with one signal for all of its changes.
import type { Socket } from '../socket';
import type { Device, FleetChange, Problem } from '../types';
import { FleetStore } from './store';

export const fleet = new FleetStore();

export const fleetState = $state<{ version: number; total: number; online: number; complete: boolean; problem: Problem | null }>({
	version: 0,
	total: 0,
	online: 0,
	complete: false,
	problem: null,
});

/** Told of each device that comes online. */
export const arrivals = new Set<(device: Device) => void>();

let arrived: () => void;
/** Its first rows, or why there are none. */
export const fleetArrived = new Promise<void>((resolve) => (arrived = resolve));

let stop: (() => void) | undefined;

function publish(): void {
	fleetState.version++;
	fleetState.total = fleet.entries.length;
	fleetState.online = fleet.online;
	fleetState.complete = fleet.complete;
}

function tell(events: FleetChange[]): void {
	for (const event of events) {
		if (!('device' in event) || !event.device.online) continue;
		if (!fleet.byId.get(event.device.id)?.row.device.online) for (const listener of arrivals) listener(event.device);
	}
}

export function startFleet(socket: Socket): void {
	stop?.();
	stop = socket.subscribe<FleetChange>('fleet', {
		batch(batch) {
			fleetState.problem = null;
			if (arrivals.size > 0 && fleet.complete) tell(batch.events);
			fleet.apply(batch);
			publish();
			arrived();
		},
		failed(problem) {
			fleetState.problem = problem;
			arrived();
		},
	});
}

export function endFleet(): void {
	stop?.();
	stop = undefined;
	fleet.clear();
	publish();
}

/** The device as it is now; reactive. */
export function deviceNow(id: string): Device | undefined {
	void fleetState.version;
	return fleet.byId.get(id)?.row.device;
}
