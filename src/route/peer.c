#include "route/peer.h"

#include <limits.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define PIECE_MAX sizeof(((murmesh_EnvelopeBytes *)0)->data.bytes)
#define KEPT_MAX  sizeof(((murmesh_Acknowledgement *)0)->kept.bytes)

struct peer {
	struct list node; /* peers->answering */
	struct peers *peers;
	struct id destination;
	const struct peer_events *events;
	void *ctx;
	struct envelope_stream in;
	struct buf out;      /* of the stream to the other end */
	struct list offered; /* came, and are not answered yet */
	unsigned n_offered;
	uint32_t answered; /* credit that goes back */
	struct buf kept;   /* ids that are to be acknowledged */
	int64_t now_ms;
	bool failed;
};

struct offered {
	struct route_giver giver;
	struct list node;
	struct peer *peer; /* NULL: gone */
	struct id id;
};

void route_giver_tell(void *ctx, void *token, int err)
{
	struct route_giver *giver = token;
	(void)ctx;
	giver->accepted(giver, err);
}

static void fail(struct peer *peer, int err)
{
	if (!peer->failed)
		peer->events->failed(peer->ctx, err);
	peer->failed = true;
}

static void frame_send(struct peer *peer, const murmesh_Frame *frame)
{
	int err = peer->failed ? 0 : peer->events->send(peer->ctx, frame);
	if (err < 0)
		fail(peer, err);
}

/* ---- answers ---- */

void peers_init(struct peers *peers, struct route *route)
{
	peers->route = route;
	list_init(&peers->answering);
}

static void kept_send(struct peer *peer)
{
	static murmesh_Frame frame = { .which_body = murmesh_Frame_acknowledgement_tag };
	size_t len = buf_len(&peer->kept);
	if (!len)
		return;
	memcpy(frame.body.acknowledgement.kept.bytes, buf_head(&peer->kept), len);
	frame.body.acknowledgement.kept.size = (pb_size_t)len;
	buf_done(&peer->kept); /* an idle link holds no memory */
	frame_send(peer, &frame);
}

void peers_answer(struct peers *peers)
{
	static murmesh_Frame credit = { .which_body = murmesh_Frame_credit_tag };
	LIST_EACH(at, &peers->answering) {
		struct peer *peer = LIST_ENTRY(at, struct peer, node);
		list_remove(at);
		kept_send(peer);
		credit.body.credit.envelopes = peer->answered;
		peer->answered = 0;
		frame_send(peer, &credit);
	}
}

static void refuse(struct peer *peer, const struct id *id, int err)
{
	static murmesh_Frame frame = { .which_body = murmesh_Frame_acknowledgement_tag };
	murmesh_Refused *refused = &frame.body.acknowledgement.refused;
	frame.body.acknowledgement.has_refused = true;
	memcpy(refused->id, id->bytes, sizeof refused->id);
	refused->error = (uint32_t)-err;
	refused->retry_after_s = route_refused_for_good(err) ? 0 : ROUTE_RETRY_S;
	frame_send(peer, &frame);
}

static void answer(struct peer *peer, const struct id *id, int err)
{
	peer->n_offered--;
	peer->answered++;
	if (list_empty(&peer->node))
		list_append(&peer->peers->answering, &peer->node);
	if (err < 0)
		return refuse(peer, id, err);
	err = buf_append(&peer->kept, id->bytes, sizeof id->bytes);
	if (err < 0)
		return fail(peer, err);
	if (buf_len(&peer->kept) == KEPT_MAX)
		kept_send(peer);
}

static void on_accepted(struct route_giver *giver, int err)
{
	struct offered *offered = LIST_ENTRY(giver, struct offered, giver);
	list_remove(&offered->node);
	if (offered->peer)
		answer(offered->peer, &offered->id, err);
	mem_free(offered);
}

/* ---- what comes ---- */

static int offer(struct peer *peer, const struct id *destination, const murmesh_Envelope *envelope, struct str bytes)
{
	struct offered *offered = mem_alloc(sizeof *offered);
	if (!offered)
		return -E_NO_MEMORY;
	offered->giver.accepted = on_accepted;
	offered->peer = peer;
	memcpy(offered->id.bytes, envelope->id, sizeof offered->id.bytes);
	int err = route_accept_read(peer->peers->route, destination, envelope, bytes, peer->now_ms, &offered->giver);
	if (err < 0)
		mem_free(offered);
	else
		list_append(&peer->offered, &offered->node);
	return err;
}

static int on_envelope(void *ctx, struct str bytes)
{
	static murmesh_Envelope envelope;
	struct peer *peer = ctx;
	struct id id, destination;
	struct str body;
	int err = peer->n_offered == PEER_CREDIT ? -E_FLOW : envelope_read(bytes, &envelope, &body);
	if (err < 0)
		return err; /* whoever sends that is not one of us */
	peer->n_offered++;
	memcpy(id.bytes, envelope.id, sizeof id.bytes);
	err = peer->events->destination(peer->ctx, &envelope, &destination);
	if (err == 0)
		err = offer(peer, &destination, &envelope, bytes);
	else
		err = -E_MESSAGE;
	if (err < 0)
		answer(peer, &id, err == -E_EXISTS ? 0 : err);
	return peer->failed ? -E_CLOSED : 0;
}

static void on_acknowledgement(struct peer *peer, const murmesh_Acknowledgement *message)
{
	struct route *route = peer->peers->route;
	struct id id;
	for (size_t at = 0; at + sizeof id.bytes <= message->kept.size; at += sizeof id.bytes) {
		memcpy(id.bytes, message->kept.bytes + at, sizeof id.bytes);
		route_delivered(route, &peer->destination, &id, peer->now_ms);
	}
	if (!message->has_refused)
		return;
	memcpy(id.bytes, message->refused.id, sizeof id.bytes);
	route_refused(route, &peer->destination, &id, (uint64_t)message->refused.retry_after_s * 1000, peer->now_ms);
}

void peer_frame(struct peer *peer, const murmesh_Frame *frame, int64_t now_ms)
{
	peer->now_ms = now_ms;
	if (peer->failed)
		return;
	if (frame->which_body == murmesh_Frame_acknowledgement_tag)
		return on_acknowledgement(peer, &frame->body.acknowledgement);
	if (frame->which_body == murmesh_Frame_credit_tag)
		return route_credit(peer->peers->route, &peer->destination, frame->body.credit.envelopes);
	if (frame->which_body != murmesh_Frame_envelope_tag)
		return;
	const struct str piece = { (const char *)frame->body.envelope.data.bytes, frame->body.envelope.data.size };
	int err = envelope_stream_take(&peer->in, piece, on_envelope, peer);
	if (err < 0)
		fail(peer, err);
}

/* ---- what goes ---- */

/* As many as fill a piece, each behind its length. */
static int out_fill(struct peer *peer)
{
	uint8_t *room;
	int got = 1;
	if (!buf_len(&peer->out) && buf_reserve(&peer->out, PIECE_MAX, &room) < 0) /* at once, not as it grows */
		return -E_NO_MEMORY;
	while (got == 1 && buf_len(&peer->out) < PIECE_MAX) {
		size_t at = buf_len(&peer->out);
		got = buf_append_be32(&peer->out, 0);
		if (got == 0)
			got = route_next(peer->peers->route, &peer->destination, peer->now_ms, &peer->out);
		if (got != 1) {
			peer->out.end = peer->out.start + at;
			return got;
		}
		size_t len = buf_len(&peer->out) - at - 4;
		for (int i = 0; i < 4; i++)
			peer->out.data[peer->out.start + at + (size_t)i] = (uint8_t)(len >> (24 - 8 * i));
	}
	return 0;
}

void peer_send(struct peer *peer, int64_t now_ms)
{
	static murmesh_Frame frame = { .which_body = murmesh_Frame_envelope_tag };
	peer->now_ms = now_ms;
	while (!peer->failed && !peer->events->crowded(peer->ctx)) {
		int err = out_fill(peer);
		size_t len = buf_len(&peer->out) < PIECE_MAX ? buf_len(&peer->out) : PIECE_MAX;
		if (err < 0)
			return fail(peer, err);
		if (!len)
			return buf_trim(&peer->out);
		memcpy(frame.body.envelope.data.bytes, buf_head(&peer->out), len);
		frame.body.envelope.data.size = (pb_size_t)len;
		err = peer->events->send(peer->ctx, &frame);
		if (err == -E_FULL)
			return;
		if (err < 0)
			return fail(peer, err);
		buf_consume(&peer->out, len);
	}
}

/* ---- beginning and end ---- */

int peer_new(struct peers *peers, const struct id *destination, const struct peer_events *events, void *ctx, struct peer **ret)
{
	const murmesh_Frame credit = { .which_body = murmesh_Frame_credit_tag, .body.credit.envelopes = PEER_CREDIT };
	struct peer *peer = mem_alloc(sizeof *peer);
	if (!peer)
		return -E_NO_MEMORY;
	peer->peers = peers;
	peer->destination = *destination;
	peer->events = events;
	peer->ctx = ctx;
	list_init(&peer->node);
	list_init(&peer->offered);
	envelope_stream_init(&peer->in);
	buf_init(&peer->kept, KEPT_MAX);
	buf_init(&peer->out, PIECE_MAX + 4 + ENVELOPE_MAX);
	int err = route_attach(peers->route, destination);
	if (err == 0)
		err = events->send(ctx, &credit);
	if (err < 0)
		peer_free(peer);
	else
		*ret = peer;
	return err;
}

struct peer *peer_free(struct peer *peer)
{
	if (!peer)
		return NULL;
	LIST_EACH(at, &peer->offered) {
		LIST_ENTRY(at, struct offered, node)->peer = NULL;
		list_remove(at);
	}
	list_remove(&peer->node);
	route_detach(peer->peers->route, &peer->destination);
	envelope_stream_done(&peer->in);
	buf_done(&peer->out);
	buf_done(&peer->kept);
	return mem_free(peer);
}
