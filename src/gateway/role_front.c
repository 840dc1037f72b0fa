/* The front role: accepts on the front port and on TLSPort, looks at the first bytes, hands the descriptor to the role it is for.  In a relay it
 * gives its object reference out too. */
#include "base/err.h"
#include "ca/components.h"
#include "enrol.pb.h"
#include "front/front.h"
#include "gateway/gateway.h"
#include "gateway/reference.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/log.h"

struct front_role {
	struct priv_child *child;
	struct front_settings settings;
	struct front *front;
	struct front *tls; /* TLSPort: without h2 it is for orb; NULL: not open */
	int listener, tls_listener, orb;
	enum gateway_place place;
	bool serves[FRONT_KINDS]; /* roles that are here: all, no browsers in a relay, elsewhere some */
	struct io_watch *references;
	int references_fd; /* listener of IORSenderPort; -1: not open */
};

static void serves_read(struct front_role *role, struct str settings)
{
	enum gateway_place place = role->place = gateway_place(settings);
	uint32_t roles = murmesh_ComponentRole_COMPONENT_LINK | murmesh_ComponentRole_COMPONENT_RELAY;
	if (place == GATEWAY_ELSEWHERE)
		ca_component_roles_parse(str_setting(settings, "roles"), &roles);
	role->serves[FRONT_LINK] = roles & murmesh_ComponentRole_COMPONENT_LINK;
	role->serves[FRONT_SERVE] = place == GATEWAY_AT_CORE;
	role->serves[FRONT_RELAY] =
	        roles & (murmesh_ComponentRole_COMPONENT_LINK | murmesh_ComponentRole_COMPONENT_RELAY |
	                 murmesh_ComponentRole_COMPONENT_WEB); /* passes on the legs of those who come to the others */
	role->serves[FRONT_WEB] = place == GATEWAY_AT_CORE || roles & murmesh_ComponentRole_COMPONENT_WEB;
}

static bool all_there(const struct front_role *role)
{
	bool there = role->listener >= 0;
	for (size_t i = 0; i < FRONT_KINDS; i++)
		there = there && (!role->serves[i] || role->settings.targets[i] >= 0);
	return there;
}

/* There h2 is for link, and legs of who has linked there for relay, as on the front port; TLS without it for orb, and nothing else is served. */
static void tls_begin(struct front_role *role)
{
	struct front_settings settings = front_settings_default;
	if (role->tls || role->tls_listener < 0 || (role->orb < 0 && role->place != GATEWAY_IN_RELAY) ||
	    role->settings.targets[FRONT_LINK] < 0 || role->settings.targets[FRONT_RELAY] < 0)
		return;
	settings.targets[FRONT_LINK] = role->settings.targets[FRONT_LINK];
	settings.targets[FRONT_RELAY] = role->settings.targets[FRONT_RELAY];
	settings.targets[FRONT_WEB] = role->orb;
	role->tls = front_new(priv_child_loop(role->child), role->tls_listener, &settings);
	if (!role->tls)
		log_error("the port of CORBA clients is not served: %s", err_text(-E_NO_MEMORY));
}

static void on_reference(void *ctx, unsigned events)
{
	const struct front_role *role = ctx;
	struct str reference = str_setting(priv_child_configuration(role->child), "reference");
	(void)events;
	reference.len++; /* the line end behind it too */
	reference_give(role->references_fd, reference);
}

static void references_begin(struct front_role *role, int fd)
{
	role->references_fd = fd;
	role->references = io_watch_new(priv_child_loop(role->child), fd, on_reference, role);
	if (!role->references || io_watch_set(role->references, IO_READABLE) < 0)
		log_error("the port of the object reference is not served: %s", err_text(-E_NO_MEMORY));
}

/* The monitor hands out the listener and the packet sockets once, at the start: the front begins when all are there. */
static void on_descriptor(void *ctx, const char *name, int fd)
{
	struct front_role *role = ctx;
	struct str what = str_from(name);
	if (str_is(what, "front"))
		role->listener = fd;
	else if (str_is(what, "pass-to:link"))
		role->settings.targets[FRONT_LINK] = role->settings.targets[FRONT_SERVE] = fd;
	else if (str_is(what, "pass-to:relay"))
		role->settings.targets[FRONT_RELAY] = fd;
	else if (str_is(what, "pass-to:web"))
		role->settings.targets[FRONT_WEB] = fd;
	else if (str_is(what, "pass-to:orb"))
		role->orb = fd;
	else if (str_is(what, "tls"))
		role->tls_listener = fd;
	else if (str_is(what, "ior"))
		references_begin(role, fd);
	else
		fd_close(fd);
	tls_begin(role);
	if (role->front || !all_there(role))
		return;
	role->front = front_new(priv_child_loop(role->child), role->listener, &role->settings);
	if (role->front)
		priv_child_ready(role->child);
	else
		log_error("the front cannot start: %s", err_text(-E_NO_MEMORY));
}

int gateway_front_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	struct front_role role = { .child = child,
		                   .settings = front_settings_default,
		                   .listener = -1,
		                   .tls_listener = -1,
		                   .orb = -1,
		                   .references_fd = -1 };
	serves_read(&role, priv_child_configuration(child));
	fd_limit_raise();
	priv_child_listen(child, &events, &role);
	if (priv_child_confine(child) < 0)
		return 77;
	int code = priv_child_run(child);
	front_free(role.front);
	front_free(role.tls);
	io_watch_free(role.references);
	fd_close(role.listener);
	fd_close(role.tls_listener);
	fd_close(role.orb);
	fd_close(role.references_fd);
	role.settings.targets[FRONT_SERVE] = -1; /* link's */
	for (size_t i = 0; i < FRONT_KINDS; i++)
		fd_close(role.settings.targets[i]);
	return code;
}
