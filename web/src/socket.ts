// One WebSocket for all subscriptions of the page.  When it breaks, it is opened again after a growing wait, and every subscription goes on
// after the last change it has seen.  No part of this knows Svelte or the browser's page: see connection.svelte.ts.
import type { Problem } from './types';

export type Channel = 'fleet' | 'tasks' | 'live' | 'approvals' | 'maps';

export interface Batch<Event = unknown> {
	channel: Channel;
	device?: string | null;
	epoch: string;
	seq: number;
	/** Forget what you had: a snapshot begins. */
	reset?: boolean;
	events: Event[];
}

export interface Subscriber<Event = unknown> {
	batch(batch: Batch<Event>): void;
	failed?(problem: Problem): void;
}

export type Status =
	| { state: 'idle' }
	| { state: 'connecting' }
	| { state: 'open' }
	/** `until`: milliseconds, as Date.now() says. */
	| { state: 'waiting'; until: number };

/** A WebSocket, open or about to be. */
export interface Opened {
	socket: WebSocket;
	/** What is subscribed there already, and what came of it. */
	asked: Channel[];
	received: unknown[];
}

/** What the socket needs of the outside. */
export interface Outside {
	open(): Promise<Opened>;
	now(): number;
	after(milliseconds: number, action: () => void): unknown;
	cancel(timer: unknown): void;
	status(status: Status): void;
}

interface Subscription {
	channel: Channel;
	device: string;
	epoch: string;
	seq: number;
	subscriber: Subscriber;
}

const WAITS = [1, 2, 4, 8, 15];

const nameOf = (channel: Channel, device?: string | null) => `${channel} ${device ?? ''}`;

export class Socket {
	#outside: Outside;
	#subscriptions = new Map<string, Subscription>();
	#socket: WebSocket | undefined;
	#timer: unknown;
	#failures = 0;
	#running = false;
	#opening = 0;

	constructor(outside: Outside) {
		this.#outside = outside;
	}

	start(): void {
		if (this.#running) return;
		this.#running = true;
		void this.#connect();
	}

	stop(): void {
		this.#running = false;
		this.#opening++;
		this.#outside.cancel(this.#timer);
		this.#socket?.close();
		this.#socket = undefined;
		this.#failures = 0;
		this.#outside.status({ state: 'idle' });
	}

	/** Tries at once instead of waiting. */
	now(): void {
		if (!this.#running || this.#socket) return;
		this.#outside.cancel(this.#timer);
		void this.#connect();
	}

	/** Returns what ends the subscription.  One subscription per channel and device. */
	subscribe<Event>(channel: Channel, subscriber: Subscriber<Event>, device = ''): () => void {
		const name = nameOf(channel, device);
		const subscription: Subscription = { channel, device, epoch: '', seq: 0, subscriber: subscriber as Subscriber };
		this.#subscriptions.set(name, subscription);
		this.#sendSubscribe(subscription);
		return () => {
			if (this.#subscriptions.get(name) !== subscription) return;
			this.#subscriptions.delete(name);
			this.#send({ op: 'unsubscribe', channel, ...(device && { device }) });
		};
	}

	#send(message: object): void {
		if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
	}

	#sendSubscribe({ channel, device, epoch, seq }: Subscription): void {
		this.#send({ op: 'subscribe', channel, ...(device && { device }), ...(epoch && { epoch, since: seq }) });
	}

	async #connect(): Promise<void> {
		const opening = ++this.#opening;
		this.#outside.status({ state: 'connecting' });
		let opened: Opened;
		try {
			opened = await this.#outside.open();
		} catch {
			if (opening === this.#opening) this.#wait();
			return;
		}
		if (opening === this.#opening) this.#take(opened);
		else opened.socket.close();
	}

	#take({ socket, asked, received }: Opened): void {
		this.#socket = socket;
		const closed = () => {
			if (this.#socket !== socket) return;
			this.#socket = undefined;
			this.#wait();
		};
		socket.onopen = () => {
			if (this.#socket !== socket) return;
			this.#outside.status({ state: 'open' });
			for (const subscription of this.#subscriptions.values()) if (!asked.includes(subscription.channel)) this.#sendSubscribe(subscription);
		};
		socket.onmessage = (event: MessageEvent) => {
			if (this.#socket === socket) this.#receive(event.data);
		};
		socket.onclose = closed;
		for (const data of received) this.#receive(data);
		if (socket.readyState === 1) socket.onopen(new Event('open'));
		else if (socket.readyState > 1) closed();
	}

	#wait(): void {
		if (!this.#running) return;
		const seconds = WAITS[Math.min(this.#failures++, WAITS.length - 1)] ?? 15;
		this.#outside.status({ state: 'waiting', until: this.#outside.now() + seconds * 1000 });
		this.#timer = this.#outside.after(seconds * 1000, () => void this.#connect());
	}

	#receive(data: unknown): void {
		if (typeof data !== 'string') return;
		const message = JSON.parse(data) as Batch & { error?: Problem };
		const subscription = this.#subscriptions.get(nameOf(message.channel, message.device));
		if (!subscription) return;
		if (message.error) {
			subscription.subscriber.failed?.(message.error);
			return;
		}
		this.#failures = 0;
		subscription.epoch = message.epoch;
		subscription.seq = message.seq;
		subscription.subscriber.batch(message);
	}
}
