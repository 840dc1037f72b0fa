// The last events, newest first, in memory of a fixed size.

export class Log<Row> {
	#rows: Row[] = [];
	#next = 0;
	/** All that were ever added: the number of the newest. */
	total = 0;

	constructor(readonly most: number) {}

	get length(): number {
		return this.#rows.length;
	}

	add(row: Row): void {
		if (this.#rows.length < this.most) this.#rows.push(row);
		else this.#rows[this.#next] = row;
		this.#next = (this.#next + 1) % this.most;
		this.total++;
	}

	/** 0 = the newest. */
	at(index: number): Row | undefined {
		if (index < 0 || index >= this.#rows.length) return undefined;
		return this.#rows[(this.#next - 1 - index + 2 * this.most) % this.most];
	}

	newestFirst(): Row[] {
		return Array.from({ length: this.length }, (_, i) => this.at(i)!);
	}

	clear(): void {
		this.#rows = [];
		this.#next = 0;
		this.total = 0;
	}
}
