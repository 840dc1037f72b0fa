import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

// The console of a running server, for `npm run dev`: MURMESH=https://127.0.0.1:8443 npm run dev
const server = process.env.MURMESH ?? 'https://127.0.0.1:8443';
const proxied = {
	target: server,
	changeOrigin: true,
	secure: false,
	headers: { origin: new URL(server).origin },
};

/** src/early.ts as a script inside the page: the server allows it by its hash. */
const early: Plugin = {
	name: 'early',
	transformIndexHtml: {
		order: 'post',
		handler(_, { bundle }) {
			const built = Object.values(bundle ?? {}).find((file) => file.type === 'chunk' && file.name === 'early');
			if (!bundle || built?.type !== 'chunk') return [{ tag: 'script', attrs: { type: 'module', src: '/src/early.ts' }, injectTo: 'head-prepend' }];
			delete bundle[built.fileName];
			return [{ tag: 'script', children: `{${built.code.trim()}}`, injectTo: 'head-prepend' }];
		},
	},
};

export default defineConfig({
	plugins: [svelte(), early],
	build: {
		target: 'es2022',
		// No data: URLs and no inline script: the content security policy allows neither.
		assetsInlineLimit: 0,
		modulePreload: { polyfill: false },
		reportCompressedSize: false,
		rollupOptions: { input: ['index.html', 'src/early.ts'] },
	},
	server: {
		proxy: { '/api': proxied, '/ws': { ...proxied, ws: true } },
	},
	test: {
		include: ['src/**/*.test.ts'],
		environment: 'node',
	},
});
