import { beforeEach, expect, test } from 'vitest';
import type { LiveEdge, LiveNode } from './model';
import { Scene, ZOOM_MOST } from './scene';

const node = (id: string, x: number, y: number): LiveNode => ({ id, kind: 'process', label: id, device: '', x, y, count: 1, pid: 1, detail: '' });
const map = <Item extends { id: string }>(...items: Item[]) => new Map(items.map((item) => [item.id, item]));
const edge = (from: string, to: string): LiveEdge => ({ id: from + to, from, to, kind: 'child', bytes: 0, rate: 0 });

let scene: Scene;

beforeEach(() => {
	scene = new Scene();
	scene.width = 1072;
	scene.height = 572;
});

function rest() {
	for (let i = 0; i < 1000 && scene.step(16); i++);
}

test('nodes go to their place without a jump, and it ends', () => {
	scene.sync(map(node('a', 0, 0)), map<LiveEdge>());
	rest();
	scene.sync(map(node('a', 1, 0)), map<LiveEdge>());
	let before = 0;
	for (let i = 0; i < 5; i++) {
		expect(scene.step(16)).toBe(true);
		const { x } = scene.spots.get('a')!;
		expect(x).toBeGreaterThan(before);
		expect(x - before).toBeLessThan(0.25);
		before = x;
	}
	rest();
	expect(scene.spots.get('a')!.x).toBe(1);
	expect(scene.step(16)).toBe(false);
});

test('reduced motion: at once', () => {
	scene.still = true;
	scene.sync(map(node('a', 0, 0), node('b', 0, 0)), map<LiveEdge>());
	scene.sync(map(node('a', 1, 1)), map<LiveEdge>());
	scene.step(16);
	expect(scene.spots.get('a')).toMatchObject({ x: 1, y: 1, alpha: 1 });
	expect(scene.spots.has('b')).toBe(false);
});

test('what is gone fades, and is forgotten with its lines', () => {
	scene.sync(map(node('a', 0, 0), node('b', 1, 0)), map(edge('a', 'b'), edge('a', 'nobody')));
	rest();
	expect(scene.lines).toHaveLength(1);
	scene.sync(map(node('a', 0, 0)), map(edge('a', 'b')));
	scene.step(16);
	expect(scene.spots.get('b')!.alpha).toBeLessThan(1);
	rest();
	expect([...scene.spots.keys()]).toEqual(['a']);
	expect(scene.lines).toHaveLength(0);
});

test('a click finds the node under it after pan and zoom', () => {
	scene.sync(map(node('a', 0, 0), node('b', 1, 1)), map<LiveEdge>());
	expect(scene.hit({ x: 536, y: 286 })).toBe('a');
	expect(scene.hit({ x: 1036, y: 536 })).toBe('b');
	expect(scene.hit({ x: 300, y: 286 })).toBe('');
	scene.zoom(2, { x: 1036, y: 536 });
	expect(scene.hit({ x: 1036, y: 536 })).toBe('b');
	scene.pan(-100, 0);
	expect(scene.hit({ x: 936, y: 536 })).toBe('b');
	for (let i = 0; i < 50; i++) scene.zoom(2, { x: 0, y: 0 });
	expect(scene.camera.zoom).toBe(ZOOM_MOST);
});

test('the keyboard goes in the direction of the arrow', () => {
	scene.sync(map(node('middle', 0, 0), node('right', 0.5, 0.05), node('far', 1, 0), node('up', 0, -0.6)), map<LiveEdge>());
	expect(scene.next('', 1, 0)).toBe('middle');
	expect(scene.next('middle', 1, 0)).toBe('right');
	expect(scene.next('right', 1, 0)).toBe('far');
	expect(scene.next('middle', 0, -1)).toBe('up');
	expect(scene.next('far', 1, 0)).toBe('far');
});

test('focus moves the camera there', () => {
	scene.sync(map(node('a', 0.8, -0.4)), map<LiveEdge>());
	scene.focus('a');
	rest();
	expect(scene.camera).toMatchObject({ x: 0.8, y: -0.4, zoom: 2.5 });
	scene.fit();
	rest();
	expect(scene.camera).toEqual({ x: 0, y: 0, zoom: 1 });
});
