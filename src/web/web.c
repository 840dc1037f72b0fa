#include "account/attempts.h"
#include "base/mem.h"
#include "os/fd.h"
#include "os/random.h"
#include "os/sources.h"
#include "web/download.h"
#include "web/guard.h"
#include "web/http.h"
#include "web/leg.h"
#include "web/socket_own.h"
#include "web/watch.h"

struct web *web_new(struct io_loop *loop, const struct web_settings *settings)
{
	uint8_t seed[16];
	struct web *web = mem_alloc(sizeof *web);
	if (!web)
		return NULL;
	web->loop = loop;
	web->relay = -1;
	origin_init(&web->origin, settings->address, settings->domain, settings->port);
	tickets_init(&web->tickets);
	download_init(&web->download, loop);
	struct list *const lists[] = { &web->arriving, &web->idle,    &web->busy,      &web->sockets,  &web->guards,
		                       &web->watching, &web->orphans, &web->passports, &web->task_runs };
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		list_init(lists[i]);
	random_bytes(seed, sizeof seed);
	json_object_seed(0);
	web->sources = sources_new(seed, HTTP_CONNECTIONS_MAX, (struct sources_limits){ HTTP_PER_ADDRESS, HTTP_PER_LOOPBACK });
	web->attempts = attempts_new(loop, (struct attempts_limits){ HTTP_LOGINS, HTTP_LOGINS_EACH });
	web->again = io_timer_new(loop, watch_timer, web);
	return web->sources && web->attempts && web->again ? web : web_free(web);
}

struct web *web_free(struct web *web)
{
	if (!web)
		return NULL;
	socket_free_all(web);
	tasks_stop(web);
	legs_free_all(web);
	watch_free_all(web);
	http_free_all(web);
	tickets_done(&web->tickets);
	download_done(&web->download);
	attempts_free(web->attempts);
	io_timer_free(web->again);
	sources_free(web->sources);
	return mem_free(web);
}

void web_set_core(struct web *web, struct rpc_connection *core)
{
	web->core = core;
	if (!core)
		return tasks_stop(web);
	guard_core_changed(web);
	watch_core_changed(web);
}

void web_set_viz(struct web *web, struct rpc_connection *viz)
{
	web->viz = viz;
	if (viz)
		watch_core_changed(web);
}

void web_set_relay(struct web *web, int fd)
{
	web->relay = fd;
}

void web_set_download(struct web *web, int fd)
{
	download_set(&web->download, fd);
}

void web_set_tls(struct web *web, struct tls_context *tls)
{
	web->tls = tls;
}

void web_connection(struct web *web, int fd)
{
	if (web->tls)
		http_accept(web, fd);
	else
		fd_close(fd);
}
