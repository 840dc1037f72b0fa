import { beforeEach, expect, test } from 'vitest';
import { Socket, type Batch, type Opened, type Status } from './socket';

class FakeWebSocket {
	readyState = 0;
	sent: Record<string, unknown>[] = [];
	onopen: (() => void) | undefined;
	onmessage: ((event: { data: string }) => void) | undefined;
	onclose: (() => void) | undefined;

	send(text: string) {
		this.sent.push(JSON.parse(text) as Record<string, unknown>);
	}

	close() {
		this.readyState = 3;
	}

	opened() {
		this.readyState = 1;
		this.onopen?.();
	}

	says(message: object) {
		this.onmessage?.({ data: JSON.stringify(message) });
	}

	breaks() {
		this.readyState = 3;
		this.onclose?.();
	}
}

let opened: FakeWebSocket[];
let timers: { milliseconds: number; action: () => void; cancelled: boolean }[];
let statuses: Status[];
let ticket: () => Promise<string>;
let given: Opened | undefined;
let socket: Socket;

const settled = () => new Promise((resolve) => setImmediate(resolve));
const lastStatus = () => statuses.at(-1);
const newest = () => opened.at(-1)!;

async function wakes() {
	const timer = timers.at(-1)!;
	expect(timer.cancelled).toBe(false);
	timer.action();
	await settled();
}

beforeEach(() => {
	opened = [];
	timers = [];
	statuses = [];
	ticket = async () => 'ticket';
	given = undefined;
	socket = new Socket({
		async open() {
			if (given) return given;
			await ticket();
			const fake = new FakeWebSocket();
			opened.push(fake);
			return { socket: fake as unknown as WebSocket, asked: [], received: [] };
		},
		now: () => 1000,
		after: (milliseconds, action) => timers.push({ milliseconds, action, cancelled: false }) - 1,
		cancel: (timer) => {
			if (typeof timer === 'number') timers[timer]!.cancelled = true;
		},
		status: (status) => statuses.push(status),
	});
});

async function connected() {
	socket.start();
	await settled();
	newest().opened();
}

test('subscriptions made before and after the connection are sent', async () => {
	socket.subscribe('fleet', { batch() {} });
	await connected();
	socket.subscribe('live', { batch() {} }, 'd1');
	expect(newest().sent).toEqual([
		{ op: 'subscribe', channel: 'fleet' },
		{ op: 'subscribe', channel: 'live', device: 'd1' },
	]);
});

test('after a break each subscription goes on where it was', async () => {
	const seen: Batch[] = [];
	socket.subscribe('fleet', { batch: (batch) => seen.push(batch) });
	socket.subscribe('tasks', { batch() {} });
	await connected();
	newest().says({ channel: 'fleet', epoch: 'e1', seq: 41, reset: true, events: [] });
	newest().says({ channel: 'fleet', epoch: 'e1', seq: 42, events: [{ removed: 'x' }] });
	newest().breaks();
	expect(lastStatus()).toEqual({ state: 'waiting', until: 2000 });
	await wakes();
	newest().opened();
	expect(newest().sent).toEqual([
		{ op: 'subscribe', channel: 'fleet', epoch: 'e1', since: 42 },
		{ op: 'subscribe', channel: 'tasks' },
	]);
	expect(seen.map((batch) => batch.seq)).toEqual([41, 42]);
	expect(lastStatus()).toEqual({ state: 'open' });
});

test('waits grow to fifteen seconds and start again after data came', async () => {
	ticket = () => Promise.reject(new Error('no server'));
	socket.subscribe('fleet', { batch() {} });
	socket.start();
	await settled();
	for (let i = 0; i < 5; i++) await wakes();
	expect(timers.map((timer) => timer.milliseconds / 1000)).toEqual([1, 2, 4, 8, 15, 15]);
	ticket = async () => 'ticket';
	await wakes();
	newest().opened();
	newest().says({ channel: 'fleet', epoch: 'e', seq: 1, events: [] });
	newest().breaks();
	expect(timers.at(-1)!.milliseconds).toBe(1000);
});

test('a server that takes the connection and says nothing does not shorten the waits', async () => {
	await connected();
	newest().breaks();
	await wakes();
	newest().opened();
	newest().breaks();
	expect(timers.map((timer) => timer.milliseconds / 1000)).toEqual([1, 2]);
});

test('batches go to their channel and device only', async () => {
	const fleet: Batch[] = [];
	const one: Batch[] = [];
	socket.subscribe('fleet', { batch: (batch) => fleet.push(batch) });
	socket.subscribe('live', { batch: (batch) => one.push(batch) }, 'd1');
	await connected();
	newest().says({ channel: 'live', device: 'd1', epoch: 'e', seq: 1, events: [] });
	newest().says({ channel: 'live', device: 'd2', epoch: 'e', seq: 1, events: [] });
	newest().says({ channel: 'live', device: null, epoch: 'e', seq: 1, events: [] });
	expect([fleet.length, one.length]).toEqual([0, 1]);
});

test('an error of a subscription reaches its owner', async () => {
	const problems: string[] = [];
	socket.subscribe('live', { batch() {}, failed: (problem) => problems.push(problem.error) });
	await connected();
	newest().says({ channel: 'live', error: { error: 'E1019', what: 'x' } });
	expect(problems).toEqual(['E1019']);
});

test('what was unsubscribed is neither told nor subscribed again', async () => {
	let told = 0;
	const stop = socket.subscribe('fleet', { batch: () => told++ });
	await connected();
	stop();
	expect(newest().sent.at(-1)).toEqual({ op: 'unsubscribe', channel: 'fleet' });
	newest().says({ channel: 'fleet', epoch: 'e', seq: 1, events: [] });
	newest().breaks();
	await wakes();
	newest().opened();
	expect([told, newest().sent.length]).toEqual([0, 0]);
});

test('stop ends the connection and what was under way', async () => {
	socket.start();
	socket.stop();
	await settled();
	expect(opened.map(({ readyState }) => readyState)).toEqual([3]);
	await connected();
	socket.stop();
	newest().breaks();
	expect(lastStatus()).toEqual({ state: 'idle' });
	expect(timers.length).toBe(0);
});

test('now() does not wait', async () => {
	await connected();
	newest().breaks();
	socket.now();
	await settled();
	expect(opened.length).toBe(2);
	expect(timers.at(-1)!.cancelled).toBe(true);
});

function take(readyState: number, asked: Opened['asked'], received: object[]) {
	const fake = new FakeWebSocket();
	fake.readyState = readyState;
	given = { socket: fake as unknown as WebSocket, asked, received: received.map((message) => JSON.stringify(message)) };
	return fake;
}

test('a connection that was opened before is gone on with', async () => {
	const seen: number[] = [];
	const fake = take(1, ['fleet'], [{ channel: 'fleet', epoch: 'e', seq: 7, reset: true, events: [] }]);
	socket.subscribe('fleet', { batch: (batch) => seen.push(batch.seq) });
	socket.subscribe('tasks', { batch() {} });
	socket.start();
	await settled();
	fake.says({ channel: 'fleet', epoch: 'e', seq: 8, events: [] });
	expect(seen).toEqual([7, 8]);
	expect(fake.sent).toEqual([{ op: 'subscribe', channel: 'tasks' }]);
	expect(lastStatus()).toEqual({ state: 'open' });
});

test('one that was opened before is asked for everything once it is there', async () => {
	const fake = take(0, [], []);
	socket.subscribe('fleet', { batch() {} });
	socket.start();
	await settled();
	expect(lastStatus()).toEqual({ state: 'connecting' });
	fake.opened();
	expect(fake.sent).toEqual([{ op: 'subscribe', channel: 'fleet' }]);
});

test('one that was opened before and is gone already is opened again', async () => {
	take(3, [], []);
	socket.subscribe('fleet', { batch() {} });
	socket.start();
	await settled();
	given = undefined;
	await wakes();
	newest().opened();
	expect(newest().sent).toEqual([{ op: 'subscribe', channel: 'fleet' }]);
});
