// Paints a scene with Canvas2D.  Kinds differ in shape and not only in colour.
import { visible } from '../ui/text';
import type { LiveEdge, LiveNode } from './model';
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
const SQUARE = 48; // pixels
/** Pixels that dashes of a connection with traffic go in a second. */
const FLOW = 26;

const colorOf = (colors: Colors, node: LiveNode) =>
	({ device: colors.accent, process: colors.violet, address: colors.blue, more: colors.idle })[node.kind] ?? colors.idle;

/** 1 pixel without traffic, 7 at 100 MB/s and more. */
export const widthOf = (edge: LiveEdge) => 1 + Math.min(6, Math.max(0, Math.log10(1 + edge.rate / 100)));

/** Adds to the path. */
function shape(context: CanvasRenderingContext2D, kind: LiveNode['kind'], { x, y }: Point, radius: number): void {
	if (kind === 'device') context.roundRect(x - radius, y - radius, 2 * radius, 2 * radius, 4);
	else if (kind === 'address') {
		context.moveTo(x, y - radius);
		context.lineTo(x + radius, y);
		context.lineTo(x, y + radius);
		context.lineTo(x - radius, y);
		context.closePath();
	} else {
		context.moveTo(x + radius, y);
		context.arc(x, y, radius, 0, 2 * Math.PI);
	}
}

interface Seen {
	spot: Spot;
	at: Point;
	marked: boolean;
	alpha: number;
}

interface Box {
	left: number;
	right: number;
	top: number;
	bottom: number;
}

const boxAround = ({ x, y }: Point, radius: number): Box => ({ left: x - radius, right: x + radius, top: y - radius, bottom: y + radius });
const overlap = (one: Box, other: Box) => one.left < other.right && one.right > other.left && one.top < other.bottom && one.bottom > other.top;

/** Boxes by the squares that they touch, so that each new one meets few others. */
class Taken {
	#squares = new Map<number, Box[]>();

	meets(box: Box): boolean {
		for (const square of this.#touched(box)) if (this.#squares.get(square)?.some((other) => overlap(box, other))) return true;
		return false;
	}

	take(box: Box): void {
		for (const square of this.#touched(box)) {
			const boxes = this.#squares.get(square);
			if (boxes) boxes.push(box);
			else this.#squares.set(square, [box]);
		}
	}

	#touched({ left, right, top, bottom }: Box): number[] {
		const squares: number[] = [];
		for (let x = Math.floor(left / SQUARE); x <= Math.floor(right / SQUARE); x++)
			for (let y = Math.floor(top / SQUARE); y <= Math.floor(bottom / SQUARE); y++) squares.push(x * 1000 + y);
		return squares;
	}
}

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
		context.globalAlpha = 1;
		context.fillStyle = colors.surface;
		context.fillRect(0, 0, width, height);
		this.#lines(context, colors, marks);
		const seen: Seen[] = [];
		for (const spot of this.scene.spots.values()) {
			const at = this.scene.toScreen(spot);
			if (at.x < -40 || at.y < -20 || at.x > width + 40 || at.y > height + 20) continue;
			seen.push({ spot, at, marked: this.#marked(marks, spot.node), alpha: spot.alpha * this.#faint(marks, spot.node) });
		}
		this.#nodes(context, colors, marks, seen);
		this.#labels(context, colors, seen);
		context.globalAlpha = 1;
	}

	#marked(marks: Marks, node: LiveNode): boolean {
		return node.id === marks.selected || node.id === marks.hovered || marks.found?.has(node.id) === true;
	}

	#faint(marks: Marks, node: LiveNode): number {
		return marks.found && !marks.found.has(node.id) ? 0.25 : 1;
	}

	/** What looks alike is one path: a stroke for each line would take most of a frame. */
	#lines(context: CanvasRenderingContext2D, colors: Colors, marks: Marks): void {
		const alike = new Map<string, { alpha: number; color: string; width: number; dash: boolean; lines: Line[] }>();
		for (const line of this.scene.lines) {
			const { edge, from, to } = line;
			const near = marks.selected !== '' && (from.node.id === marks.selected || to.node.id === marks.selected);
			const busy = edge.rate > 0;
			const alpha = Math.min(from.alpha, to.alpha) * Math.min(this.#faint(marks, from.node), this.#faint(marks, to.node)) * (near ? 1 : busy ? 0.85 : 0.4);
			const style = {
				alpha: Math.round(alpha * 20) / 20,
				color: near ? colors.focus : busy ? colors.blue : colors['line-strong'],
				width: edge.kind === 'child' ? 1 : Math.round(widthOf(edge) * 2) / 2,
				dash: busy && !this.scene.still,
			};
			const key = `${style.alpha} ${style.color} ${style.width} ${style.dash}`;
			const group = alike.get(key);
			if (group) group.lines.push(line);
			else alike.set(key, { ...style, lines: [line] });
		}
		context.lineDashOffset = -((this.time * FLOW) / 1000) % 15;
		for (const { alpha, color, width, dash, lines } of alike.values()) {
			context.globalAlpha = alpha;
			context.strokeStyle = color;
			context.lineWidth = width;
			context.setLineDash(dash ? [10, 5] : []);
			context.beginPath();
			for (const { from, to } of lines) {
				const start = this.scene.toScreen(from);
				const end = this.scene.toScreen(to);
				context.moveTo(start.x, start.y);
				context.lineTo(end.x, end.y);
			}
			context.stroke();
		}
		context.setLineDash([]);
	}

	#nodes(context: CanvasRenderingContext2D, colors: Colors, marks: Marks, seen: Seen[]): void {
		const alike = new Map<string, Seen[]>();
		for (const one of seen) {
			const key = `${one.spot.node.kind} ${Math.round(one.alpha * 20) / 20}`;
			const group = alike.get(key);
			if (group) group.push(one);
			else alike.set(key, [one]);
		}
		for (const group of alike.values()) {
			const { spot, alpha } = group[0]!;
			context.globalAlpha = alpha;
			context.beginPath();
			for (const { spot: each, at } of group) shape(context, each.node.kind, at, radiusOf(each.node));
			context.fillStyle = colorOf(colors, spot.node);
			context.fill();
			if (spot.node.kind !== 'more') continue;
			context.beginPath();
			for (const { spot: each, at } of group) shape(context, each.node.kind, at, radiusOf(each.node) + 3);
			context.lineWidth = 1.5;
			context.strokeStyle = colors.idle;
			context.stroke();
		}
		context.globalAlpha = 1;
		context.lineWidth = 2;
		for (const { spot, at } of seen) {
			const chosen = spot.node.id === marks.selected;
			if (!chosen && spot.node.id !== marks.hovered) continue;
			context.beginPath();
			shape(context, spot.node.kind, at, radiusOf(spot.node) + 4);
			context.strokeStyle = chosen ? colors.focus : colors['text-soft'];
			context.stroke();
		}
	}

	/** Marked ones and devices first; one that would lie on another label or on a node is left out, a device's only for another label. */
	#labels(context: CanvasRenderingContext2D, colors: Colors, seen: Seen[]): void {
		const rank = ({ spot, marked }: Seen) => (marked ? 0 : spot.node.kind === 'device' ? 1 : spot.node.kind === 'more' ? 2 : 3);
		const nodes = new Taken();
		const labels = new Taken();
		for (const { spot, at } of seen) nodes.take(boxAround(at, radiusOf(spot.node)));
		let written = 0;
		context.font = FONT;
		context.textBaseline = 'middle';
		for (const { spot, at, marked, alpha } of seen.sort((a, b) => rank(a) - rank(b))) {
			if (written >= MOST_LABELS) return;
			let text = visible(this.labelOf(spot.node));
			if (text.length > LONGEST) text = `${text.slice(0, LONGEST)}…`;
			const beside = radiusOf(spot.node) + 5;
			const width = labelWidth(context, text);
			const left = at.x + beside + width > this.scene.width ? at.x - beside - width : at.x + beside;
			const box: Box = { left, right: left + width, top: at.y - 7, bottom: at.y + 7 };
			if (!marked && (labels.meets(box) || (spot.node.kind !== 'device' && nodes.meets(box)))) continue;
			labels.take(box);
			written++;
			context.globalAlpha = 0.75 * alpha;
			context.fillStyle = colors.surface;
			context.fillRect(left - 2, at.y - 7, width + 4, 14);
			context.globalAlpha = alpha;
			context.fillStyle = marked || spot.node.kind === 'device' ? colors.text : colors['text-soft'];
			context.fillText(text, left, at.y);
		}
	}
}
