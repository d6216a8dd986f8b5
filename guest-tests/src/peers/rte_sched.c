/*
 * What one packet costs DPDK's rte_sched, enqueue and dequeue together. `rte_sched PIPES CLASS PACKETS`,
 * behind EAL's own arguments, prints nanoseconds; traffic class 0 has the shortest way through, 12 is best
 * effort.
 *
 * One port, one subport, a pipe for every guest, all of them always backlogged; a burst is taken out and
 * given back to the pipes that it came from. The scheduler's time goes on by what it sends as long as
 * that is more than the port's rate, so the rate below is one that it outruns: figures then do not depend
 * on the clock. Pipes may have more than their share of it, so that there is always one with credits;
 * their buckets hold what a class of ours may send in one visit, and a pipe is served until its bucket is
 * empty.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_sched.h>

#define FRAME 60
/* Preamble, checksum and gap; no more than that, as the frame has no checksum yet. */
#define OVERHEAD 24
#define BURST 32
/* Packets waiting in a pipe: as many as wait in a leaf of ours. */
#define BACKLOG 40
#define QUEUE 64
/* Bytes of one visit: 16 packets, as of ours. */
#define VISIT 1344
/* 4 Gbit/s, in bytes per second. */
#define PORT_RATE UINT64_C(500000000)
#define MS_PER_S 1000
/* Traffic classes are not to limit anything. */
#define TC_PERIOD_MS 1000
#define SOCKET 0

static void fail(const char *what)
{
	fprintf(stderr, "error: %s\n", what);
	exit(EXIT_FAILURE);
}

/* Processor time: what others do meanwhile on the same processor does not count. */
static uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct rte_sched_port *make_port(uint32_t pipes)
{
	struct rte_sched_pipe_params pipe = {
		.tb_rate = PORT_RATE / pipes * 5 / 4,
		.tb_size = VISIT,
		.tc_period = TC_PERIOD_MS,
		.tc_ov_weight = 1,
		.wrr_weights = { 1, 1, 1, 1 },
	};
	struct rte_sched_subport_profile_params profile = {
		.tb_rate = PORT_RATE,
		.tb_size = PORT_RATE,
		.tc_period = TC_PERIOD_MS,
	};
	struct rte_sched_subport_params subport = {
		.n_pipes_per_subport_enabled = pipes,
		.pipe_profiles = &pipe,
		.n_pipe_profiles = 1,
		.n_max_pipe_profiles = 1,
	};
	struct rte_sched_port_params params = {
		.name = "port",
		.socket = SOCKET,
		.rate = PORT_RATE,
		.mtu = 1514,
		.frame_overhead = OVERHEAD,
		.n_subports_per_port = 1,
		.subport_profiles = &profile,
		.n_subport_profiles = 1,
		.n_max_subport_profiles = 1,
		.n_pipes_per_subport = pipes,
	};
	struct rte_sched_port *port;

	for (unsigned int tc = 0; tc < RTE_SCHED_TRAFFIC_CLASSES_PER_PIPE; tc++) {
		pipe.tc_rate[tc] = pipe.tb_rate;
		profile.tc_rate[tc] = PORT_RATE;
		subport.qsize[tc] = QUEUE;
	}
	port = rte_sched_port_config(&params);
	if (port == NULL)
		fail("rte_sched_port_config");
	if (rte_sched_subport_config(port, 0, &subport, 0) != 0)
		fail("rte_sched_subport_config");
	for (uint32_t number = 0; number < pipes; number++)
		if (rte_sched_pipe_config(port, 0, number, 0) != 0)
			fail("rte_sched_pipe_config");
	return port;
}

/* Gives every pipe its packets. */
static void fill(struct rte_sched_port *port, struct rte_mempool *pool, uint32_t pipes, uint32_t tc)
{
	for (uint32_t pipe = 0; pipe < pipes; pipe++) {
		struct rte_mbuf *packets[BACKLOG];

		if (rte_pktmbuf_alloc_bulk(pool, packets, BACKLOG) != 0)
			fail("too few packets");
		for (unsigned int at = 0; at < BACKLOG; at++) {
			packets[at]->pkt_len = FRAME;
			packets[at]->data_len = FRAME;
			rte_sched_port_pkt_write(port, packets[at], 0, pipe, tc, 0, RTE_COLOR_GREEN);
		}
		if (rte_sched_port_enqueue(port, packets, BACKLOG) != BACKLOG)
			fail("a pipe takes no packets");
	}
}

/* Turns over `wanted` packets; says how often there were none, and counts by pipe if asked to. */
static uint64_t turn_over(struct rte_sched_port *port, uint64_t wanted, uint64_t *empty, uint64_t *by_pipe)
{
	struct rte_mbuf *packets[BURST];
	uint64_t sent = 0;

	while (sent < wanted) {
		int count = rte_sched_port_dequeue(port, packets, BURST);

		if (count <= 0) {
			if (++*empty > wanted)
				fail("nothing comes out");
			continue;
		}
		if (by_pipe != NULL)
			for (int at = 0; at < count; at++) {
				uint32_t subport, pipe, tc, queue;

				rte_sched_port_pkt_read_tree_path(port, packets[at], &subport, &pipe, &tc, &queue);
				by_pipe[pipe]++;
			}
		if (rte_sched_port_enqueue(port, packets, (uint32_t)count) != count)
			fail("a pipe does not take its packets back");
		sent += (uint64_t)count;
	}
	return sent;
}

/* Without this, a few pipes that never yield would look like many that take turns. */
static void check_turns(struct rte_sched_port *port, uint32_t pipes)
{
	uint64_t *by_pipe = calloc(pipes, sizeof(*by_pipe));
	uint64_t empty = 0, least = UINT64_MAX, most = 0;

	if (by_pipe == NULL)
		fail("calloc");
	turn_over(port, (uint64_t)pipes * 1000, &empty, by_pipe);
	for (uint32_t pipe = 0; pipe < pipes; pipe++) {
		least = by_pipe[pipe] < least ? by_pipe[pipe] : least;
		most = by_pipe[pipe] > most ? by_pipe[pipe] : most;
	}
	free(by_pipe);
	fprintf(stderr, "pipes sent %" PRIu64 " to %" PRIu64 " packets\n", least, most);
	if (most > least + least / 5)
		fail("pipes do not take turns");
}

int main(int argc, char **argv)
{
	int used = rte_eal_init(argc, argv);
	uint64_t empty = 0, start, sent, wanted;
	struct rte_sched_port *port;
	struct rte_mempool *pool;
	uint32_t pipes, tc;

	if (used < 0)
		fail("rte_eal_init");
	if (argc - used != 4)
		fail("usage: rte_sched [EAL ARGUMENTS] -- PIPES CLASS PACKETS");
	pipes = (uint32_t)strtoul(argv[used + 1], NULL, 10);
	tc = (uint32_t)strtoul(argv[used + 2], NULL, 10);
	wanted = strtoull(argv[used + 3], NULL, 10);
	if (pipes == 0 || wanted == 0 || tc > RTE_SCHED_TRAFFIC_CLASS_BE)
		fail("PIPES and PACKETS are numbers above zero, CLASS is one below 13");
	pool = rte_pktmbuf_pool_create("packets", pipes * BACKLOG + BURST, 0, 0,
				       RTE_PKTMBUF_HEADROOM + 64, SOCKET);
	if (pool == NULL)
		fail("rte_pktmbuf_pool_create");
	port = make_port(pipes);
	fill(port, pool, pipes, tc);
	check_turns(port, pipes);
	start = nanoseconds();
	sent = turn_over(port, wanted, &empty, NULL);
	printf("%.1f\n", (double)(nanoseconds() - start) / (double)sent);
	fprintf(stderr, "%" PRIu64 " packets; %" PRIu64 " times none might go\n", sent, empty);
	if (empty > sent / 1000)
		fail("the scheduler waits for credits");
	rte_sched_port_free(port);
	rte_eal_cleanup();
	return EXIT_SUCCESS;
}
