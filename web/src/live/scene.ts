// What the graph shows at this moment: where nodes are on their way to where they belong, the camera, and what is under a point.
import type { LiveEdge, LiveNode } from './model';

export interface Spot {
	node: LiveNode;
	x: number;
	y: number;
	/** 0 to 1: how much of it is there. */
	alpha: number;
	gone: boolean;
}

export interface Line {
	edge: LiveEdge;
	from: Spot;
	to: Spot;
}

/** In units of the graph: what is in the middle, and how many pixels a unit has at least. */
export interface Camera {
	x: number;
	y: number;
	zoom: number;
}

export interface Point {
	x: number;
	y: number;
}

const SETTLE = 130; // ms until about two thirds of the way
const FADE = 220; // ms
const NEAR = 0.0005;
export const ZOOM_LEAST = 0.5;
export const ZOOM_MOST = 40;
/** Kept free around the graph, in pixels. */
const MARGIN = 36;

export const radiusOf = (node: LiveNode) => {
	if (node.kind === 'device') return 10;
	if (node.kind === 'more') return 8 + Math.min(8, Math.log2(1 + node.count));
	return node.kind === 'process' ? 5.5 : 6;
};

export class Scene {
	spots = new Map<string, Spot>();
	lines: Line[] = [];
	camera: Camera = { x: 0, y: 0, zoom: 1 };
	#goal: Camera | undefined;
	width = 1;
	height = 1;
	/** No motion: everything is where it belongs at once. */
	still = false;

	sync(nodes: Map<string, LiveNode>, edges: Map<string, LiveEdge>): void {
		for (const node of nodes.values()) {
			const spot = this.spots.get(node.id);
			if (spot) {
				spot.node = node;
				spot.gone = false;
			} else {
				this.spots.set(node.id, { node, x: node.x, y: node.y, alpha: this.still ? 1 : 0, gone: false });
			}
		}
		for (const [id, spot] of this.spots) if (!nodes.has(id)) spot.gone = true;
		this.lines = [];
		for (const edge of edges.values()) {
			const from = this.spots.get(edge.from);
			const to = this.spots.get(edge.to);
			if (from && to) this.lines.push({ edge, from, to });
		}
	}

	/** Goes on by so many milliseconds; false = nothing moves any more. */
	step(milliseconds: number): boolean {
		const part = this.still ? 1 : 1 - Math.exp(-milliseconds / SETTLE);
		const fade = this.still ? 1 : milliseconds / FADE;
		let moving = false;
		for (const [id, spot] of this.spots) {
			spot.alpha = Math.max(0, Math.min(1, spot.alpha + (spot.gone ? -fade : fade)));
			if (spot.gone && spot.alpha === 0) {
				this.spots.delete(id);
				this.lines = this.lines.filter(({ from, to }) => from !== spot && to !== spot);
				continue;
			}
			const dx = spot.node.x - spot.x;
			const dy = spot.node.y - spot.y;
			if (Math.abs(dx) + Math.abs(dy) < NEAR) {
				spot.x = spot.node.x;
				spot.y = spot.node.y;
			} else {
				spot.x += dx * part;
				spot.y += dy * part;
				moving = true;
			}
			if (spot.gone || spot.alpha < 1) moving = true;
		}
		return this.#follow(part) || moving;
	}

	#follow(part: number): boolean {
		if (!this.#goal) return false;
		const { camera } = this;
		camera.x += (this.#goal.x - camera.x) * part;
		camera.y += (this.#goal.y - camera.y) * part;
		camera.zoom *= (this.#goal.zoom / camera.zoom) ** part;
		if (Math.abs(camera.x - this.#goal.x) + Math.abs(camera.y - this.#goal.y) + Math.abs(camera.zoom / this.#goal.zoom - 1) < NEAR) {
			this.camera = this.#goal;
			this.#goal = undefined;
			return false;
		}
		return true;
	}

	get #unitX(): number {
		return (Math.max(1, this.width / 2 - MARGIN)) * this.camera.zoom;
	}

	get #unitY(): number {
		return (Math.max(1, this.height / 2 - MARGIN)) * this.camera.zoom;
	}

	toScreen({ x, y }: Point): Point {
		return { x: this.width / 2 + (x - this.camera.x) * this.#unitX, y: this.height / 2 + (y - this.camera.y) * this.#unitY };
	}

	pan(dx: number, dy: number): void {
		this.#goal = undefined;
		this.camera.x = clamp(this.camera.x - dx / this.#unitX, -1.5, 1.5);
		this.camera.y = clamp(this.camera.y - dy / this.#unitY, -1.5, 1.5);
	}

	/** Around a point of the screen, which keeps its place. */
	zoom(factor: number, around: Point): void {
		this.#goal = undefined;
		const x = (around.x - this.width / 2) / this.#unitX + this.camera.x;
		const y = (around.y - this.height / 2) / this.#unitY + this.camera.y;
		this.camera.zoom = clamp(this.camera.zoom * factor, ZOOM_LEAST, ZOOM_MOST);
		this.camera.x = clamp(x - (around.x - this.width / 2) / this.#unitX, -1.5, 1.5);
		this.camera.y = clamp(y - (around.y - this.height / 2) / this.#unitY, -1.5, 1.5);
	}

	fit(): void {
		this.#goal = { x: 0, y: 0, zoom: 1 };
	}

	focus(id: string): void {
		const spot = this.spots.get(id);
		if (spot) this.#goal = { x: spot.node.x, y: spot.node.y, zoom: Math.max(2.5, this.camera.zoom) };
	}

	/** The node at a point of the screen, "" = none; `reach` pixels beside it count. */
	hit(point: Point, reach = 6): string {
		let best = '';
		let least = Infinity;
		for (const [id, spot] of this.spots) {
			if (spot.gone) continue;
			const at = this.toScreen(spot);
			const distance = Math.hypot(at.x - point.x, at.y - point.y) - radiusOf(spot.node);
			if (distance <= reach && distance < least) {
				least = distance;
				best = id;
			}
		}
		return best;
	}

	/** The nearest node in a direction (-1, 0, 1) from another; without a start the one nearest to the middle. */
	next(id: string, dx: number, dy: number): string {
		const start = this.spots.get(id);
		const origin = start ? this.toScreen(start) : { x: this.width / 2, y: this.height / 2 };
		let best = id;
		let least = Infinity;
		for (const [other, spot] of this.spots) {
			if (other === id || spot.gone) continue;
			const at = this.toScreen(spot);
			const along = (at.x - origin.x) * dx + (at.y - origin.y) * dy;
			const aside = Math.abs((at.x - origin.x) * dy) + Math.abs((at.y - origin.y) * dx);
			if (start && along <= 0) continue;
			const distance = start ? along + 2 * aside : Math.hypot(at.x - origin.x, at.y - origin.y);
			if (distance < least) {
				least = distance;
				best = other;
			}
		}
		return best;
	}
}

function clamp(value: number, least: number, most: number): number {
	return Math.max(least, Math.min(most, value));
}
