// Which devices are selected: some by name, or all that a query matches.

export class Selection {
	#version = $state(0);
	#ids = new Set<string>();
	/** Set while all matches of the query are selected. */
	all = $state<string | null>(null);
	/** Where a range begins. */
	#from = '';

	get size(): number {
		void this.#version;
		return this.#ids.size;
	}

	get ids(): string[] {
		void this.#version;
		return [...this.#ids];
	}

	has(id: string): boolean {
		void this.#version;
		return this.all !== null || this.#ids.has(id);
	}

	/** `shown`: the ids of the list in its order. */
	toggle(id: string, shown: () => string[], range = false): void {
		if (this.all !== null) {
			this.#ids = new Set(shown());
			this.all = null;
		}
		const ids = range && this.#from ? between(shown(), this.#from, id) : [id];
		const select = range || !this.#ids.has(id);
		for (const each of ids) {
			if (select) this.#ids.add(each);
			else this.#ids.delete(each);
		}
		this.#from = id;
		this.#version++;
	}

	set(ids: Iterable<string>): void {
		this.#ids = new Set(ids);
		this.all = null;
		this.#version++;
	}

	setAll(query: string): void {
		this.#ids.clear();
		this.all = query;
		this.#version++;
	}

	clear(): void {
		this.set([]);
		this.#from = '';
	}

	/** Takes out what is no longer in the fleet. */
	keep(known: (id: string) => boolean): void {
		const before = this.#ids.size;
		for (const id of this.#ids) if (!known(id)) this.#ids.delete(id);
		if (this.#ids.size !== before) this.#version++;
	}
}

/** Both ends included; `to` alone when `from` is not in the list. */
export function between(list: readonly string[], from: string, to: string): string[] {
	const a = list.indexOf(from);
	const b = list.indexOf(to);
	if (a < 0 || b < 0) return [to];
	return list.slice(Math.min(a, b), Math.max(a, b) + 1);
}
