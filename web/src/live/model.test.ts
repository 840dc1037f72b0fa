import { beforeEach, expect, test } from 'vitest';
import type { LiveChange, LiveEdge, LiveNode, LiveRow } from './model';
import { Model, MOST_EDGES, MOST_NODES, MOST_ROWS } from './model';
import { clockTime, matcher, narrowed, search, viewOf } from './view';

const node = (id: string, more: Partial<LiveNode> = {}): LiveNode => ({
	id,
	kind: 'process',
	label: id,
	device: 'd',
	x: 0,
	y: 0,
	count: 1,
	pid: 1,
	detail: '',
	...more,
});
const edge = (id: string, from: string, to: string, more: Partial<LiveEdge> = {}): LiveEdge => ({ id, from, to, kind: 'connection', bytes: 0, rate: 0, ...more });
const row = (subject: string): Omit<LiveRow, 'number'> => ({ time_us: 0, device: 'd', module: 'process', event: 'exec', subject, object: '', bytes: 0, detail: '', pid: 1 });

let model: Model;
let seq = 0;
const apply = (events: LiveChange[], reset = false) => model.apply({ channel: 'live', device: 'd', epoch: 'e', seq: ++seq, reset, events });

beforeEach(() => {
	model = new Model();
});

test('nodes and edges come, change and go', () => {
	apply([{ node: node('a') }, { node: node('b') }, { edge: edge('e', 'a', 'b', { rate: 5 }) }, { complete: true }], true);
	expect(model.complete).toBe(true);
	apply([{ node: node('a', { label: 'other' }) }, { edge: edge('e', 'a', 'b', { rate: 7 }) }]);
	expect(model.nodes.get('a')?.label).toBe('other');
	expect(model.edges.get('e')?.rate).toBe(7);
	apply([{ node_removed: 'b' }, { edge_removed: 'e' }]);
	expect([...model.nodes.keys()]).toEqual(['a']);
	expect(model.edges.size).toBe(0);
});

test('a reset forgets everything', () => {
	apply([
		{ node: node('a') },
		{ row: row('x') },
		{ missing: { device: 'd', events: 3, since_us: 1, not_shown: false } },
		{ source: { device: 'd', module: 'process', text: '/proc' } },
		{ complete: true },
	]);
	apply([], true);
	expect([model.nodes.size, model.rows.length, model.missing.size, model.sources.size, model.complete]).toEqual([0, 0, 0, 0, false]);
});

test('memory is bounded whatever comes', () => {
	for (let i = 0; i < 3000; i++) {
		apply([
			{ node: node(`n${i}`, { label: 'x'.repeat(10000) }) },
			{ edge: edge(`e${i}`, 'n0', 'n1') },
			{ row: row(`r${i}`) },
			{ missing: { device: `d${i}`, events: 1, since_us: 0, not_shown: false } },
			{ source: { device: `d${i}`, module: 'm', text: 'y'.repeat(10000) } },
		]);
	}
	expect(model.nodes.size).toBe(MOST_NODES);
	expect(model.full).toBe(true);
	expect(model.edges.size).toBe(MOST_EDGES);
	expect(model.rows.length).toBe(MOST_ROWS);
	expect(model.rows.at(0)?.subject).toBe('r2999');
	expect(model.missing.size).toBe(1000);
	expect(model.sources.size).toBe(1000);
	expect(model.nodes.get('n0')?.label).toHaveLength(512);
	apply([{ node: node('n0', { label: 'still' }) }]);
	expect(model.nodes.get('n0')?.label).toBe('still');
});

test('what is no number or outside of the picture does no harm', () => {
	apply([{ node: node('a', { x: 7, y: -3, pid: NaN }) }, { node: node('b', { x: null as unknown as number, label: 3 as unknown as string }) }]);
	expect(model.nodes.get('a')).toMatchObject({ x: 1, y: -1, pid: 0 });
	expect(model.nodes.get('b')).toMatchObject({ x: 0, label: '' });
});

test('the tables have what the graph has', () => {
	apply([
		{ node: node('p2', { label: 'sshd', pid: 20 }) },
		{ node: node('p1', { label: 'curl', pid: 10 }) },
		{ node: node('a', { kind: 'address', label: '10.0.0.2:80' }) },
		{ edge: edge('c1', 'p1', 'a', { rate: 1 }) },
		{ edge: edge('c2', 'p2', 'a', { rate: 9 }) },
		{ edge: edge('k', 'p2', 'p1', { kind: 'child' }) },
		{ row: row('first') },
		{ row: row('second') },
	]);
	const view = viewOf(model);
	expect(view.processes.map(({ label }) => label)).toEqual(['curl', 'sshd']);
	expect(view.connections.map((each) => [each.from?.label, each.to?.label])).toEqual([
		['sshd', '10.0.0.2:80'],
		['curl', '10.0.0.2:80'],
	]);
	expect(view.rows.map(({ subject }) => subject)).toEqual(['second', 'first']);
	const found = narrowed(view, matcher('curl'));
	expect([found.processes.length, found.connections.length, found.rows.length]).toEqual([1, 1, 0]);
	expect(narrowed(view, matcher('FIRST')).rows).toHaveLength(1);
});

test('search takes all words, from name, PID and command', () => {
	apply([{ node: node('a', { label: 'curl', pid: 4711, detail: 'curl -v https://x' }) }, { node: node('b', { label: 'sshd', pid: 1 }) }]);
	const find = (text: string) => [...search(model, matcher(text), ({ label }) => label)];
	expect(find('  ')).toEqual(['a', 'b']);
	expect(find('CURL 4711')).toEqual(['a']);
	expect(find('https')).toEqual(['a']);
	expect(find('curl sshd')).toEqual([]);
});

test('times', () => {
	expect(clockTime(Date.UTC(2026, 0, 2, 3, 4, 5) * 1000 + new Date(2026, 0, 2).getTimezoneOffset() * 60e6)).toBe('03:04:05');
	expect(clockTime(NaN)).toBe('');
});
