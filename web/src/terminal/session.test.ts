import { beforeEach, describe, expect, test } from 'vitest';
import type { Problem } from '../types';
import { Session, type State } from './session';

class FakeSocket {
	readyState = 1;
	binaryType = '';
	sent: (string | Uint8Array)[] = [];
	onmessage?: (event: { data: unknown }) => void;
	onclose?: () => void;

	send(data: string | Uint8Array) {
		this.sent.push(data);
	}

	close() {
		this.readyState = 3;
		this.onclose?.();
	}

	says(message: object) {
		this.onmessage?.({ data: JSON.stringify(message) });
	}

	said(): unknown[] {
		return this.sent.filter((data) => typeof data === 'string').map((data) => JSON.parse(data as string) as unknown);
	}
}

const ID = 'ab'.repeat(16);
const OTHER = 'cd'.repeat(16);
const refused: Problem = { error: 'E1028', what: 'the device is offline', why: '', try: '', id: '' };

let sockets: FakeSocket[];
let asked: { terminal: string }[];
let states: State[];
let ids: string[];
let cleared: number;
let shown: (() => void)[];
let timers: Map<number, { milliseconds: number; action: () => void }>;
let failure: unknown;
let session: Session;

const settle = () => new Promise<void>((done) => setImmediate(done));
const now = () => states.at(-1)?.name;

function fire(milliseconds: number) {
	for (const [id, timer] of timers) {
		if (timer.milliseconds !== milliseconds) continue;
		timers.delete(id);
		timer.action();
	}
}

function make(id = '') {
	let timer = 0;
	session = new Session(
		{
			ticket: async (_, terminal) => {
				asked.push({ terminal });
				if (failure) throw failure as Error;
				return 'ticket';
			},
			open: () => {
				sockets.push(new FakeSocket());
				return sockets.at(-1) as unknown as WebSocket;
			},
			problem: (why) => (why === refused ? refused : undefined),
			now: () => 1000,
			after: (milliseconds, action) => {
				timers.set(++timer, { milliseconds, action });
				return timer;
			},
			cancel: (handle) => timers.delete(handle as number),
			state: (state) => states.push(state),
			opened: (opened) => ids.push(opened),
			clear: () => cleared++,
			data: (_, done) => shown.push(done),
		},
		{ columns: 80, rows: 24 },
		id,
	);
}

beforeEach(() => {
	[sockets, asked, states, ids, shown] = [[], [], [], [], []];
	cleared = 0;
	failure = undefined;
	timers = new Map();
	make();
});

async function opened(id = ID) {
	session.connect();
	await settle();
	sockets.at(-1)!.says({ opened: id });
}

describe('a terminal', () => {
	test('opens, and its id is told', async () => {
		await opened();
		expect(asked).toEqual([{ terminal: '' }]);
		expect(ids).toEqual([ID]);
		expect(now()).toBe('open');
		expect(cleared).toBe(0);
	});

	test('a size that changed while it was opened is sent afterwards, the same one never', async () => {
		session.connect();
		session.resize({ columns: 100, rows: 30 });
		await settle();
		sockets[0]!.says({ opened: ID });
		const first = { size: { columns: 100, rows: 30 } };
		expect(sockets[0]!.said()).toEqual([first]);
		session.resize({ columns: 100, rows: 30 });
		expect(sockets[0]!.said()).toEqual([first]);
		session.resize({ columns: 101, rows: 30 });
		expect(sockets[0]!.said()).toEqual([first, { size: { columns: 101, rows: 30 } }]);
	});

	test('acknowledges what is shown, all together', async () => {
		await opened();
		for (const size of [10, 20, 5]) sockets[0]!.onmessage!({ data: new ArrayBuffer(size) });
		shown[0]!();
		shown[1]!();
		expect(sockets[0]!.said()).toEqual([]);
		fire(20);
		expect(sockets[0]!.said()).toEqual([{ ack: 30 }]);
		shown[2]!();
		fire(20);
		expect(sockets[0]!.said()).toEqual([{ ack: 30 }, { ack: 35 }]);
	});

	test('long input goes in pieces, whole', async () => {
		await opened();
		session.send(new Uint8Array(40000).fill(7));
		const sizes = sockets[0]!.sent.map((piece) => piece.length);
		expect(sizes).toEqual([16384, 16384, 7232]);
	});

	test('comes back to the same terminal when the link breaks, with a growing wait', async () => {
		await opened();
		sockets[0]!.close();
		expect(states.at(-1)).toEqual({ name: 'waiting', until: 2000 });
		failure = new Error('no network');
		fire(1000);
		await settle();
		expect(states.at(-1)).toEqual({ name: 'waiting', until: 3000 });
		failure = undefined;
		fire(2000);
		await settle();
		sockets[1]!.says({ opened: ID });
		expect(asked.map(({ terminal }) => terminal)).toEqual(['', ID, ID]);
		expect(now()).toBe('open');
		expect(cleared).toBe(1);
	});

	test('what the old link had shown is not acknowledged on the new one', async () => {
		await opened();
		sockets[0]!.onmessage!({ data: new ArrayBuffer(10) });
		sockets[0]!.close();
		fire(1000);
		await settle();
		sockets[1]!.says({ opened: ID });
		shown[0]!();
		sockets[1]!.onmessage!({ data: new ArrayBuffer(3) });
		shown[1]!();
		fire(20);
		expect(sockets[1]!.said()).toEqual([{ ack: 3 }]);
	});

	test('comes back to a kept one after a reload', async () => {
		make(OTHER);
		await opened(OTHER);
		expect(asked).toEqual([{ terminal: OTHER }]);
		expect(cleared).toBe(1);
	});

	test('its end is no broken link', async () => {
		await opened();
		sockets[0]!.says({ exit: { code: 3, signal: 0 } });
		expect(states.at(-1)).toEqual({ name: 'ended', exit: { code: 3, signal: 0 } });
		expect(timers.size).toBe(0);
	});

	test('a refusal is told and not repeated by itself', async () => {
		failure = refused;
		session.connect();
		await settle();
		expect(states.at(-1)).toEqual({ name: 'failed', problem: refused });
		expect(timers.size).toBe(0);
		failure = undefined;
		await opened();
		expect(now()).toBe('open');
		sockets.at(-1)!.says({ error: refused });
		expect(now()).toBe('failed');
	});

	test('forgotten, the next one is new', async () => {
		await opened();
		sockets[0]!.says({ exit: { code: 0, signal: 0 } });
		session.forget();
		await opened(OTHER);
		expect(asked.at(-1)).toEqual({ terminal: '' });
		expect(cleared).toBe(0);
	});

	test('left, nothing happens any more', async () => {
		await opened();
		session.leave();
		expect(sockets[0]!.readyState).toBe(3);
		expect(timers.size).toBe(0);
		session.connect();
		session.leave();
		await settle();
		expect(sockets).toHaveLength(1);
	});

	test('hanging up is said', async () => {
		await opened();
		session.hangUp();
		expect(sockets[0]!.said()).toEqual([{ end: true }]);
	});
});
