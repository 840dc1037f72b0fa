import { expect, test } from 'vitest';
import type { MapChange, PortMap } from '../api';
import { Model, rateNow } from './model';

const map = (id: string, more: Partial<PortMap> = {}): PortMap => ({
	id,
	user: 'anna',
	device: 'd',
	full_name: 'web02-1',
	target: 'localhost:80',
	sent: 0,
	received: 0,
	path: ['server'],
	since: 100,
	ended: 0,
	error: 0,
	why: '',
	...more,
});

const batch = (events: MapChange[], reset = false) => ({ channel: 'maps' as const, epoch: 'e', seq: 1, reset, events });

test('rows come, change and go', () => {
	const model = new Model();
	model.apply(batch([{ map: map('a') }, { map: map('b', { since: 200 }) }, { complete: true }], true), 0);
	expect(model.complete).toBe(true);
	expect(model.open('').map((row) => row.map.id)).toEqual(['b', 'a']);
	model.apply(batch([{ removed: 'b' }, { map: map('c', { ended: 300, why: 'it broke' }) }]), 1000);
	expect(model.open('').map((row) => row.map.id)).toEqual(['a']);
	expect(model.failed().map((row) => row.map.why)).toEqual(['it broke']);
	model.apply(batch([], true), 2000);
	expect(model.rows.size).toBe(0);
	expect(model.complete).toBe(false);
});

test('the filter takes user, device and target', () => {
	const model = new Model();
	model.apply(batch([{ map: map('a') }, { map: map('b', { user: 'Bob', full_name: 'db-1', target: '10.0.0.1:22' }) }]), 0);
	for (const [text, found] of [['BOB', 'b'], ['web', 'a'], [':22 ', 'b']]) expect(model.open(text!).map((row) => row.map.id)).toEqual([found]);
	expect(model.open('nobody')).toEqual([]);
});

test('the rate is that of the last report, and nothing once none comes', () => {
	const model = new Model();
	model.apply(batch([{ map: map('a', { sent: 5000, received: 5000 }) }]), 0);
	const rate = (now: number) => rateNow(model.rows.get('a')!, now);
	expect(rate(0)).toBe(0); // since when is not known
	model.apply(batch([{ map: map('a', { sent: 6000, received: 9000 }) }]), 2000);
	expect(rate(2000)).toBe(2500);
	expect(rate(6900)).toBe(2500);
	expect(rate(7100)).toBe(0);
	model.apply(batch([{ map: map('a', { sent: 10, received: 0 }) }]), 8000);
	expect(rate(8000)).toBe(0);
});
