/* AF_PACKET with TPACKET_V3 (Documentation/networking/packet_mmap.rst): the kernel fills blocks, and wakes us for each or every 100 ms. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/fd.h"
#include "probe/modules/network/network.h"

#define BLOCK         (128 << 10)
#define BLOCKS        4
#define BLOCK_MS      100
#define SNAP          96 /* bytes of a packet: IPv6 with some extensions and TCP's flags */
#define BLOCKS_A_TURN 4

struct ring {
	int fd;
	uint8_t *map;
	unsigned at;
};

/* IP only, and no more of it than is looked at.  Nobody can put another filter there. */
static int filter_set(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, (uint32_t)SKF_AD_OFF + SKF_AD_PROTOCOL),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SNAP),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = { sizeof code / sizeof *code, code };
	const int on = 1;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on) < 0)
		return -errno;
	return 0;
}

static int ring_map(struct ring *ring)
{
	const int version = TPACKET_V3;
	const struct tpacket_req3 request = { .tp_block_size = BLOCK,
		                              .tp_block_nr = BLOCKS,
		                              .tp_frame_size = 2048,
		                              .tp_frame_nr = BLOCK / 2048 * BLOCKS,
		                              .tp_retire_blk_tov = BLOCK_MS };
	if (setsockopt(ring->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0 ||
	    setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) < 0)
		return -errno;
	void *map = mmap(NULL, (size_t)BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	ring->map = map;
	return 0;
}

struct ring *ring_open(int *ret_err)
{
	const struct sockaddr_ll everywhere = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ring *ring = mem_alloc(sizeof *ring);
	*ret_err = -E_NO_MEMORY;
	if (!ring)
		return NULL;
	ring->fd =
	        socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* 0: nothing comes before the filter is there */
	*ret_err = ring->fd < 0 ? -errno : filter_set(ring->fd);
	if (*ret_err == 0)
		*ret_err = ring_map(ring);
	if (*ret_err == 0 && bind(ring->fd, (const struct sockaddr *)&everywhere, sizeof everywhere) < 0)
		*ret_err = -errno;
	return *ret_err < 0 ? ring_close(ring) : ring;
}

int ring_fd(const struct ring *ring)
{
	return ring->fd;
}

static void frame_take(const struct tpacket3_hdr *frame, void (*packet)(void *ctx, const struct packet *, enum ring_way, int),
                       void *ctx)
{
	const struct sockaddr_ll *link = (const void *)((const uint8_t *)frame + TPACKET_ALIGN(sizeof *frame));
	const struct str bytes = { (const char *)frame + frame->tp_net, frame->tp_snaplen };
	bool loop = link->sll_hatype == ARPHRD_LOOPBACK, out = link->sll_pkttype == PACKET_OUTGOING;
	struct packet parsed;
	if (loop && out)
		return; /* it comes again */
	if (packet_parse(bytes, frame->tp_len, &parsed))
		packet(ctx, &parsed, loop ? RING_LOOP : out ? RING_OUT : RING_IN, link->sll_ifindex);
}

void ring_read(struct ring *ring, void (*packet)(void *ctx, const struct packet *packet, enum ring_way way, int interface),
               void *ctx)
{
	for (unsigned turn = 0; turn < BLOCKS_A_TURN; turn++) {
		struct tpacket_block_desc *block = (void *)(ring->map + (size_t)BLOCK * ring->at);
		if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			return;
		const uint8_t *at = (const uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
		for (unsigned i = 0; i < block->hdr.bh1.num_pkts; i++) {
			const struct tpacket3_hdr *frame = (const void *)at;
			frame_take(frame, packet, ctx);
			at += frame->tp_next_offset;
		}
		__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		ring->at = (ring->at + 1) % BLOCKS;
	}
}

uint64_t ring_drops(struct ring *ring)
{
	struct tpacket_stats_v3 stats = { 0 };
	socklen_t len = sizeof stats;
	return getsockopt(ring->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) < 0 ? 0 : stats.tp_drops;
}

struct ring *ring_close(struct ring *ring)
{
	if (!ring)
		return NULL;
	if (ring->map)
		munmap(ring->map, (size_t)BLOCK * BLOCKS);
	fd_close(ring->fd);
	return mem_free(ring);
}
