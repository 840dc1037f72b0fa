// What the fleet page shows: query, sort, the rows in order, and when a new order may take the place of the old.
import { tick } from 'svelte';
import { compile, QueryError, type Predicate } from '../query';
import { here, setParameters } from '../router.svelte';
import { fleet } from './fleet.svelte';
import { Selection } from './selection.svelte';
import type { Entry } from './store';
import { FacetCount, filterEntries, formatSort, parseSort, SortedFleet, type Facets, type Sort, type SortColumn } from './view';
import { anchor } from './window';

/** The scrolling element, as the list tells it. */
export interface Viewport {
	top: number;
	height: number;
	rowHeight: number;
	scrollTo(top: number): void;
}

/** What matches, as the fleet has it and as the list shows it. */
interface Shown {
	found: Entry[];
	order: Entry[];
}

const ADDRESS_DELAY_MS = 300;
const LEAST_PAUSE_MS = 100;
const FACETS_DELAY_MS = 120;
const FACETS_AT_ONCE = 4096;
const NO_FACETS: Facets = { online: [], group: [], tag: [], os: [], version: [] };

export class FleetList {
	text = $state(here.query.get('q') ?? '');
	/** The last query without an error: what is shown. */
	applied = '';
	error = $state<QueryError | null>(null);
	sort = $state<Sort>(parseSort(here.query.get('sort') ?? ''));
	order = $state.raw<Entry[]>([]);
	/** How many devices there were when it was made. */
	total = $state(0);
	facets = $state.raw<Facets>(NO_FACETS);
	/** A new order waits because it would move the row under the cursor. */
	held = $state(false);
	/** The row that the keys act on, and the one under the pointer. */
	active = $state('');
	hovered = '';
	focused = false;
	viewport: Viewport | undefined;
	readonly selection = new Selection();

	#sorted = new SortedFleet(fleet);
	#predicate: Predicate = () => true;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#addressTimer: ReturnType<typeof setTimeout> | undefined;
	#pause = LEAST_PAUSE_MS;
	#seenUsed = false;
	#facetsWanted = false;
	#facetsPause = 0;
	#facetsTimer: ReturnType<typeof setTimeout> | undefined;

	constructor() {
		this.#compile();
		this.#apply(this.#compute());
	}

	setText(text: string): void {
		this.text = text;
		if (this.#compile()) {
			if (this.selection.all !== null) this.selection.clear();
			this.#apply(this.#compute());
			this.viewport?.scrollTo(0);
		}
		this.#writeAddress();
	}

	setSort(column: SortColumn): void {
		this.sort = { column, descending: this.sort.column === column && !this.sort.descending };
		this.#apply(this.#compute());
		this.#writeAddress();
	}

	/** The fleet has changed. */
	changed(): void {
		if (this.total === 0) return this.refresh(false); // somebody waits for the first row
		this.#timer ??= setTimeout(() => {
			this.#timer = undefined;
			this.refresh(false);
		}, this.order.length === 0 ? 0 : this.#pause);
	}

	/** Time has passed. */
	ticked(): void {
		if (this.#seenUsed) this.changed();
	}

	/** `force`: even if that moves the row under the cursor. */
	refresh(force: boolean): void {
		const shown = this.#compute();
		const { order } = shown;
		const id = this.hovered || (this.focused ? this.active : '');
		// The first snapshot fills the list; there is nothing to keep in its place yet.
		if (!id || !this.viewport || force || !fleet.complete) {
			this.#apply(shown, !force);
			return;
		}
		const before = this.order.findIndex((entry) => entry.id === id);
		const after = before < 0 ? -1 : order.findIndex((entry) => entry.id === id);
		const { top, height, rowHeight } = this.viewport;
		const anchored = anchor(before, after, { count: order.length, rowHeight, scrollTop: top, height });
		if (!anchored.apply) {
			this.held = true;
			return;
		}
		this.#apply(shown, true);
		if (anchored.scrollTop !== top) void tick().then(() => this.viewport?.scrollTo(anchored.scrollTop));
	}

	released(): void {
		this.hovered = '';
		if (this.held) this.refresh(false);
	}

	wantFacets(wanted: boolean): void {
		this.#facetsWanted = wanted;
		this.#countFacets(this.order, false);
	}

	ids = () => this.order.map((entry) => entry.id);

	end(): void {
		clearTimeout(this.#timer);
		clearTimeout(this.#addressTimer);
		clearTimeout(this.#facetsTimer);
	}

	#compile(): boolean {
		try {
			this.#predicate = compile(this.text);
			this.applied = this.text;
			this.#seenUsed = /seen:/i.test(this.text);
			this.error = null;
			return true;
		} catch (failure) {
			if (!(failure instanceof QueryError)) throw failure;
			this.error = failure;
			return false;
		}
	}

	#compute(): Shown {
		const start = performance.now();
		const found = filterEntries(fleet.entries, this.#predicate, Math.floor(Date.now() / 1000));
		const order = this.#sorted.arrange(found, this.sort);
		// A big fleet is looked through at most a tenth of the time.
		this.#pause = Math.max(LEAST_PAUSE_MS, (performance.now() - start) * 10);
		return { found, order };
	}

	#apply({ found, order }: Shown, live = false): void {
		this.order = order;
		this.total = fleet.entries.length;
		this.held = false;
		this.selection.keep((id) => fleet.byId.has(id));
		this.#countFacets(found, live);
	}

	/** The rows are shown first.  `live`: nobody waits for it. */
	#countFacets(found: readonly Entry[], live: boolean): void {
		if (!this.#facetsWanted || (live && this.#facetsTimer !== undefined)) return;
		clearTimeout(this.#facetsTimer);
		const count = new FacetCount(found);
		let spent = 0;
		const go = () => {
			const start = performance.now();
			const facets = count.count(FACETS_AT_ONCE);
			spent += performance.now() - start;
			this.#facetsTimer = facets ? undefined : setTimeout(go);
			if (!facets) return;
			this.facets = facets;
			this.#facetsPause = spent * 20;
		};
		this.#facetsTimer = setTimeout(go, live ? Math.max(FACETS_DELAY_MS, this.#facetsPause) : FACETS_DELAY_MS);
	}

	#writeAddress(): void {
		clearTimeout(this.#addressTimer);
		this.#addressTimer = setTimeout(() => setParameters({ q: this.text, sort: formatSort(this.sort) }), ADDRESS_DELAY_MS);
	}
}
