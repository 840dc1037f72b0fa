#include "cli/leg.h"

#include "base/err.h"
#include "base/mem.h"
#include "cli/user_key.h"
#include "os/clock.h"
#include "relay/relay.h"
#include "tunnel/grant.h"

struct leg {
	struct session *session;
	struct leg_target target;
	murmesh_TunnelRequest request;
	client_end_opened opened;
	void *ctx;
	struct list node; /* in its session, while there is an end */
	struct client_end *end;
};

static void finish(struct leg *leg, struct stream *stream, int err, const char *details)
{
	client_end_opened opened = leg->opened;
	void *ctx = leg->ctx;
	list_remove(&leg->node);
	mem_free(leg);
	opened(ctx, stream, err, details);
}

static void on_opened(void *ctx, struct stream *stream, int err, const char *details)
{
	/* The relay resets a leg whose partner did not come. */
	finish(ctx, stream, err == -E_CLOSED || err == -E_TIMEOUT ? -E_PEER_GONE : err, details);
}

static void on_tunnel(void *ctx, int err, const char *why, const void *response)
{
	static murmesh_SignedDocument grant;
	struct leg *leg = ctx;
	const murmesh_Tunnel *tunnel = response;
	uint8_t preamble[RELAY_PREAMBLE];
	if (err < 0)
		return finish(leg, NULL, err, why);
	if (tunnel->ended_by[0] && leg->target.cli)
		cli_note(leg->target.cli, "note: %s has ended the last connection to %.*s:%u", tunnel->ended_by,
		         STR_ARG(leg->target.host.len ? leg->target.host : STR("localhost")), leg->target.port);
	grant = tunnel->grant;
	if (!leg->target.rpc && !leg->target.raw) /* there an order is signed instead, or another grant */
		err = user_sign_grant(leg->session, &leg->request, &grant);
	if (err == 0 && leg->target.head)
		err = connect_head_write(leg->target.head, &grant, leg->target.host, leg->target.port);
	if (err < 0)
		return finish(leg, NULL, err, "");
	if (leg->target.udp_grant)
		*leg->target.udp_grant = grant;
	relay_preamble_write(RELAY_CLIENT, tunnel->ticket, preamble);
	const struct client_end_request request = {
		.relay = leg->session->front,
		.preamble = { (const char *)preamble, sizeof preamble },
		.tls = leg->target.raw ? NULL : leg->target.tls,
		.device = { leg->session->login.info.identity.mesh, IDENTITY_NODE, leg->target.device },
		.bare = leg->target.rpc || leg->target.raw || leg->target.udp_grant || leg->target.head,
		.grant = &grant,
		.host = leg->target.host,
		.port = leg->target.port
	};
	leg->end = client_end_new(leg->session->loop, &request, on_opened, leg);
	if (!leg->end)
		return finish(leg, NULL, -E_NO_MEMORY, "");
	list_append(&leg->session->legs, &leg->node);
}

void leg_open(struct session *session, const struct leg_target *target, client_end_opened opened, void *ctx)
{
	struct leg *leg = mem_alloc(sizeof *leg);
	if (!leg)
		return opened(ctx, NULL, -E_NO_MEMORY, "");
	*leg = (struct leg){ .session = session, .target = *target, .opened = opened, .ctx = ctx };
	list_init(&leg->node);
	murmesh_TunnelRequest *request = &leg->request;
	request->rights = target->rpc ? murmesh_Right_RUN : murmesh_Right_CONNECT;
	memcpy(request->device, target->device.bytes, sizeof request->device);
	int err = target->rpc ? 0
	                      : (target->udp_grant ? target_format_udp : target_format)(
	                                target->host, target->port, request->targets[0], sizeof request->targets[0]);
	request->targets_count = !target->rpc;
	if (err == 0)
		err = session->server ? rpc_unary(session->server, &rpc_Tunnels_Open, request, 30000, on_tunnel, leg)
		                      : -E_UNREACHABLE;
	if (err < 0)
		finish(leg, NULL, err, "");
}

int leg_verify(const struct session *session, const struct leg_end *end, bool *ret_signed)
{
	const struct result_expected expected = { session->login.root, session->login.info.identity.mesh, end->device, end->order,
		                                  clock_wall_s() };
	*ret_signed = false;
	if (!end->exit->has_proof && !end->signs)
		return CLI_OK;
	int err = result_check(&expected, end->exit, end->streams);
	*ret_signed = err == 0;
	if (err == 0)
		return CLI_OK;
	const char *why = !end->exit->has_proof  ? "it is not signed, and this device signs what it did"
	                  : err == -E_UNVERIFIED ? NULL
	                                         : err_text(err);
	return cli_fail_because(-E_UNVERIFIED, why, NULL, "%s: the result is unverified", end->name);
}

void legs_cancel(struct session *session)
{
	while (!list_empty(&session->legs)) {
		struct leg *leg = LIST_ENTRY(session->legs.next, struct leg, node);
		client_end_free(leg->end);
		finish(leg, NULL, -E_CANCELLED, "");
	}
}

int leg_target_read(const char *text, char ret_host[MAP_HOST_SIZE], uint16_t *ret_port)
{
	unsigned column;
	const char *reason;
	char why[300];
	if (map_target_parse(str_from(text), ret_host, ret_port, &column, &reason) == 0)
		return CLI_OK;
	snprintf(why, sizeof why, "column %u: %s", column, reason);
	return cli_fail_because(-E_USAGE, why, "write PORT or HOST:PORT, as 22 or 192.168.1.1:80", "the target %s cannot be used",
	                        text);
}
