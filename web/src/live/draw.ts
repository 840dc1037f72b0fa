// Paints a scene with Canvas2D.  Kinds differ in shape and not only in colour.
import { visible } from '../ui/text';
import type { LiveEdge, LiveNode } from './changes';
import { radiusOf, type Line, type Point, type Scene, type Spot } from './scene';

export const COLORS = ['ground', 'surface', 'text', 'text-soft', 'line-strong', 'accent', 'violet', 'blue', 'warn', 'focus', 'idle'] as const;
export type Colors = Record<(typeof COLORS)[number], string>;

export interface Marks {
	selected: string;
	hovered: string;
	/** What a search found; undefined: nothing is searched. */
	found: ReadonlySet<string> | undefined;
}

const FONT = '11px system-ui, sans-serif';
const MOST_LABELS = 120;
const LONGEST = 28;
/** Pixels that dashes of a connection with traffic go in a second. */
const FLOW = 26;

const colorOf = (colors: Colors, node: LiveNode) =>
	({ device: colors.accent, process: colors.violet, address: colors.blue, more: colors.idle })[node.kind] ?? colors.idle;

/** 1 pixel without traffic, 7 at 100 MB/s and more. */
export const widthOf = (edge: LiveEdge) => 1 + Math.min(6, Math.max(0, Math.log10(1 + edge.rate / 100)));

export function shape(context: CanvasRenderingContext2D, kind: LiveNode['kind'], { x, y }: Point, radius: number): void {
	context.beginPath();
	if (kind === 'device') context.roundRect(x - radius, y - radius, 2 * radius, 2 * radius, 4);
	else if (kind === 'address') {
		context.moveTo(x, y - radius);
		context.lineTo(x + radius, y);
		context.lineTo(x, y + radius);
		context.lineTo(x - radius, y);
		context.closePath();
	} else context.arc(x, y, radius, 0, 2 * Math.PI);
}

interface Box {
	left: number;
	right: number;
	top: number;
	bottom: number;
}

const boxAround = ({ x, y }: Point, radius: number): Box => ({ left: x - radius, right: x + radius, top: y - radius, bottom: y + radius });
const overlap = (one: Box, other: Box) => one.left < other.right && one.right > other.left && one.top < other.bottom && one.bottom > other.top;

const widths = new Map<string, number>();

function labelWidth(context: CanvasRenderingContext2D, text: string): number {
	let width = widths.get(text);
	if (width === undefined) {
		if (widths.size > 2000) widths.clear();
		width = context.measureText(text).width;
		widths.set(text, width);
	}
	return width;
}

export class Painter {
	/** Milliseconds: where the dashes are. */
	time = 0;

	constructor(
		readonly scene: Scene,
		readonly labelOf: (node: LiveNode) => string,
	) {}

	/** Whether something flows, so that the next frame looks different although no node moves. */
	flows(): boolean {
		return !this.scene.still && this.scene.lines.some(({ edge }) => edge.rate > 0);
	}

	paint(context: CanvasRenderingContext2D, colors: Colors, marks: Marks): void {
		const { width, height } = this.scene;
		context.fillStyle = colors.surface;
		context.fillRect(0, 0, width, height);
		for (const line of this.scene.lines) this.#line(context, colors, marks, line);
		context.globalAlpha = 1;
		context.setLineDash([]);
		const labels: { spot: Spot; at: Point; first: boolean }[] = [];
		for (const spot of this.scene.spots.values()) {
			const at = this.scene.toScreen(spot);
			if (at.x < -40 || at.y < -20 || at.x > width + 40 || at.y > height + 20) continue;
			this.#node(context, colors, marks, spot, at);
			labels.push({ spot, at, first: this.#marked(marks, spot.node) });
		}
		this.#labels(context, colors, marks, labels);
		context.globalAlpha = 1;
	}

	#marked(marks: Marks, node: LiveNode): boolean {
		return node.id === marks.selected || node.id === marks.hovered || marks.found?.has(node.id) === true;
	}

	#faint(marks: Marks, node: LiveNode): number {
		return marks.found && !marks.found.has(node.id) ? 0.25 : 1;
	}

	#line(context: CanvasRenderingContext2D, colors: Colors, marks: Marks, { edge, from, to }: Line): void {
		const start = this.scene.toScreen(from);
		const end = this.scene.toScreen(to);
		const near = marks.selected !== '' && (from.node.id === marks.selected || to.node.id === marks.selected);
		const busy = edge.rate > 0;
		context.globalAlpha = Math.min(from.alpha, to.alpha) * Math.min(this.#faint(marks, from.node), this.#faint(marks, to.node)) * (near ? 1 : busy ? 0.85 : 0.45);
		context.strokeStyle = near ? colors.focus : busy ? colors.blue : colors['line-strong'];
		context.lineWidth = edge.kind === 'child' ? 1 : widthOf(edge);
		context.setLineDash(edge.kind === 'child' ? [3, 3] : busy && !this.scene.still ? [10, 5] : []);
		context.lineDashOffset = busy ? -((this.time * FLOW) / 1000) % 15 : 0;
		context.beginPath();
		context.moveTo(start.x, start.y);
		context.lineTo(end.x, end.y);
		context.stroke();
	}

	#node(context: CanvasRenderingContext2D, colors: Colors, marks: Marks, { node, alpha }: Spot, at: Point): void {
		const radius = radiusOf(node);
		context.globalAlpha = alpha * this.#faint(marks, node);
		shape(context, node.kind, at, radius);
		context.fillStyle = colorOf(colors, node);
		context.fill();
		context.lineWidth = 1.5;
		context.strokeStyle = colors.surface;
		context.stroke();
		if (node.kind === 'more') {
			shape(context, node.kind, at, radius + 3);
			context.strokeStyle = colors.idle;
			context.stroke();
		}
		if (node.id === marks.selected || node.id === marks.hovered) {
			shape(context, node.kind, at, radius + 4);
			context.lineWidth = 2;
			context.strokeStyle = node.id === marks.selected ? colors.focus : colors['text-soft'];
			context.stroke();
		}
	}

	/** Marked ones and devices first; one that would lie on another label or on a node is left out, a device's only for another label. */
	#labels(context: CanvasRenderingContext2D, colors: Colors, marks: Marks, labels: { spot: Spot; at: Point; first: boolean }[]): void {
		const rank = ({ spot, first }: { spot: Spot; first: boolean }) => (first ? 0 : spot.node.kind === 'device' ? 1 : spot.node.kind === 'more' ? 2 : 3);
		labels.sort((a, b) => rank(a) - rank(b));
		const taken = labels.map(({ spot, at }) => boxAround(at, radiusOf(spot.node)));
		const written: Box[] = [];
		context.font = FONT;
		context.textBaseline = 'middle';
		context.lineJoin = 'round';
		context.lineWidth = 3;
		for (const { spot, at } of labels) {
			if (written.length >= MOST_LABELS) return;
			let text = visible(this.labelOf(spot.node));
			if (text.length > LONGEST) text = `${text.slice(0, LONGEST)}…`;
			const beside = radiusOf(spot.node) + 5;
			const width = labelWidth(context, text);
			const left = at.x + beside + width > this.scene.width ? at.x - beside - width : at.x + beside;
			const box: Box = { left, right: left + width, top: at.y - 7, bottom: at.y + 7 };
			const others = spot.node.kind === 'device' ? written : taken;
			if (!this.#marked(marks, spot.node) && others.some((other) => overlap(box, other))) continue;
			written.push(box);
			taken.push(box);
			context.globalAlpha = spot.alpha * this.#faint(marks, spot.node);
			context.strokeStyle = colors.surface;
			context.strokeText(text, left, at.y);
			context.fillStyle = this.#marked(marks, spot.node) || spot.node.kind === 'device' ? colors.text : colors['text-soft'];
			context.fillText(text, left, at.y);
		}
	}
}
