import './styles/tokens.css';
import './styles/base.css';
import { mount } from 'svelte';
import App from './app.svelte';
import { startRouter } from './router.svelte';
import { startSession } from './session.svelte';
import { startTheme } from './theme.svelte';

startTheme();
startRouter();
startSession();
mount(App, { target: document.getElementById('app')! });
