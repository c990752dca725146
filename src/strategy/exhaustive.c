/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exhaustive strategy: every schedule exactly once, in the order of the
 * number of voluntary switches (Musuvathi and Qadeer, "Iterative Context
 * Bounding for Systematic Testing of Multithreaded Programs", PLDI 2007). May
 * use base.
 *
 * The choices seen so far form a tree. A run follows the path to one node,
 * takes one of its pending alternatives, and from there always the default:
 * the call that went before if it can go on, else the lowest enabled one. The
 * default never costs a voluntary switch, so a run has as many as its
 * alternative has; and all alternatives of one node have the same number. A
 * node with pending alternatives therefore waits in the bucket of that number,
 * and the next run takes the lowest bucket, last in first out.
 *
 * Invariants:
 * - A node waits, in one bucket or on the urgent stack, exactly while it has
 *   pending alternatives.
 * - An alternative is handed out at most once, and only while it is pending.
 *   Handing out changes nothing in the order.
 * - A node lives exactly while it waits, has live children, or is on the path
 *   of the present run. So memory is proportional to what waits.
 * - Once the tree has nodes_max nodes, new nodes with alternatives go on the
 *   urgent stack, which comes before all buckets: depth first. They all lie on
 *   one path, so the tree never has more than nodes_max nodes plus one run,
 *   and every schedule is still run.
 */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"
#include "strategy/strategy_impl.h"

/* 10 MB: reached soon where it is reached at all, so that memory is flat from
 * then on; room for all schedules with few switches. */
#define NODES_MAX 262144
#define CHUNK_NODES 256

/* One choice of one prefix of a schedule. */
struct node {
	struct node *parent; /* the choice before; NULL: the first of a run */
	struct node *next;   /* below it in its bucket, or in the free list */
	uint32_t enabled;    /* as in struct slm_choice */
	uint32_t pending;    /* alternatives not yet taken */
	uint32_t handed_out; /* of these, to be run ahead of their turn */
	unsigned depth;	     /* index of the choice in its run */
	unsigned switches;   /* voluntary ones before it */
	uint8_t children;    /* live ones */
	uint8_t call;	     /* the pick at the parent that leads here */
	int8_t previous;     /* as in struct slm_choice */
};

struct chunk {
	struct chunk *next;
	struct node nodes[CHUNK_NODES];
};

struct exhaustive {
	struct slm_strategy base;

	/* The node pool. */
	struct chunk *chunks; /* owned */
	struct node *unused;  /* free list */
	unsigned fresh;	      /* nodes of the first chunk never used */
	uint64_t nodes;	      /* live ones */
	uint64_t nodes_max;

	/* What waits. */
	struct node **buckets; /* owned; by voluntary switches */
	struct node *urgent;
	unsigned lowest;       /* buckets below it are empty */
	uint64_t alternatives; /* pending, in all nodes */

	/* The present run. */
	struct node **path; /* owned; the nodes to follow */
	uint8_t *picks;	    /* owned; room for a path's picks, to hand out */
	unsigned planned;   /* length of path; 0: nothing to follow */
	unsigned capacity;  /* entries of path, picks and buckets */
	struct node *tip;   /* the last node of the run, or NULL */
	unsigned pick;	    /* the pick that was, or will be, made there */
	bool idle;	    /* nothing was left to explore */
	bool diverged;	    /* it does not go as before */
	double weight;	    /* of its picks, see exhaustive_left() */
	struct slm_remaining remaining;

	double weight_seen; /* of the schedules that were run */
	uint64_t runs;	    /* their number */
	bool lost;	    /* a run diverged: not all schedules will be seen */
};

/* ---- Nodes --------------------------------------------------------------- */

static bool add_chunk(struct exhaustive *ex)
{
	struct chunk *chunk = slm_malloc(sizeof(*chunk));

	if (!chunk)
		return false;
	chunk->next = ex->chunks;
	ex->chunks = chunk;
	ex->fresh = CHUNK_NODES;
	return true;
}

/* Room in path, picks and buckets, which are sized together: a choice of index i has
 * at most i + 1 switches behind its alternatives. */
static bool make_room(struct exhaustive *ex, unsigned depth)
{
	unsigned capacity = ex->capacity ? ex->capacity : 64;
	struct node **grown;
	uint8_t *picks;

	while (capacity < depth + 2)
		capacity *= 2;
	grown = slm_reallocarray(ex->path, capacity, sizeof(struct node *));
	if (!grown)
		return false;
	ex->path = grown;
	grown = slm_reallocarray(ex->buckets, capacity, sizeof(struct node *));
	if (!grown)
		return false;
	ex->buckets = grown;
	picks = slm_realloc(ex->picks, capacity);
	if (!picks)
		return false;
	ex->picks = picks;
	for (unsigned i = ex->capacity; i < capacity; i++)
		ex->buckets[i] = NULL;
	ex->capacity = capacity;
	return true;
}

/* A node at this depth, and room for what follows from it; not filled in. */
static struct node *take_node(struct exhaustive *ex, unsigned depth)
{
	struct node *node = ex->unused;

	if (depth + 2 > ex->capacity && !make_room(ex, depth))
		return NULL;
	if (node) {
		ex->unused = node->next;
	} else {
		if (ex->fresh == 0 && !add_chunk(ex))
			return NULL;
		node = &ex->chunks->nodes[--ex->fresh];
	}
	ex->nodes++;
	return node;
}

/* Frees the node if nothing needs it any more, then its parents likewise. */
static void release(struct exhaustive *ex, struct node *node)
{
	while (node && !node->pending && !node->children) {
		struct node *parent = node->parent;

		node->next = ex->unused;
		ex->unused = node;
		ex->nodes--;
		if (parent) {
			assert(parent->children > 0);
			parent->children--;
		}
		node = parent;
	}
}

/* ---- What waits ---------------------------------------------------------- */

/* switches: what a run through one of its alternatives has. */
static void put_in_queue(struct exhaustive *ex, struct node *node,
			 unsigned switches)
{
	struct node **queue = ex->nodes > ex->nodes_max ?
				      &ex->urgent :
				      &ex->buckets[switches];

	assert(node->pending != 0 && switches >= ex->lowest);
	node->next = *queue;
	*queue = node;
	ex->alternatives += slm_strategy_count(node->pending);
}

/* The queue whose first node has the next alternative; one must be pending. */
static struct node **first_queue(struct exhaustive *ex)
{
	assert(ex->alternatives > 0);
	if (ex->urgent)
		return &ex->urgent;
	while (!ex->buckets[ex->lowest])
		ex->lowest++;
	return &ex->buckets[ex->lowest];
}

/* Takes one alternative, into ex->tip and ex->pick; one must be pending. */
static void take_alternative(struct exhaustive *ex)
{
	struct node **queue = first_queue(ex);
	struct node *node = *queue;

	ex->tip = node;
	ex->pick = slm_strategy_lowest(node->pending);
	node->pending &= node->pending - 1;
	node->handed_out &= node->pending;
	ex->alternatives--;
	if (!node->pending)
		*queue = node->next;
}

/* ---- Runs ---------------------------------------------------------------- */

static void exhaustive_begin(struct slm_strategy *strategy)
{
	struct exhaustive *ex = (struct exhaustive *)strategy;

	ex->tip = NULL;
	ex->planned = 0;
	ex->diverged = false;
	ex->weight = 1;
	slm_remaining_reset(&ex->remaining);
	if (ex->alternatives == 0) {
		/* The first run explores from nothing. */
		ex->idle = strategy->run > 1;
		return;
	}
	take_alternative(ex);
	ex->planned = ex->tip->depth + 1;
	assert(ex->planned < ex->capacity);
	for (struct node *node = ex->tip; node; node = node->parent)
		ex->path[node->depth] = node;
}

/* In known territory: the next step of the path, unless the run does not go
 * as it did when the path was recorded. */
static unsigned follow(struct exhaustive *ex, const struct slm_choice *choice,
		       uint32_t allowed)
{
	unsigned index = choice->index;
	const struct node *node = ex->path[index];

	if (node->enabled != choice->enabled ||
	    node->previous != choice->previous) {
		ex->diverged = true;
		return slm_strategy_default(choice, allowed);
	}
	/* The same choices and picks up to here, so the same count. */
	assert(node->switches == ex->base.switches);
	if (node == ex->tip)
		return ex->pick;
	return ex->path[index + 1]->call;
}

/* In new territory: records the choice and what else could be picked. */
static enum sqloom_status extend(struct exhaustive *ex,
				 const struct slm_choice *choice,
				 uint32_t allowed, unsigned *call,
				 struct sqloom_error *err)
{
	struct node *parent = ex->tip;
	struct node *node = take_node(ex, choice->index);
	unsigned pick = slm_strategy_default(choice, allowed);

	if (!node)
		return slm_error_nomem(err);
	*node = (struct node){
		.parent = parent,
		.enabled = choice->enabled,
		.pending = allowed & ~slm_strategy_bit(pick),
		.depth = choice->index,
		.switches = ex->base.switches,
		.call = (uint8_t)ex->pick,
		.previous = (int8_t)choice->previous,
	};
	if (parent)
		parent->children++;
	if (node->pending)
		put_in_queue(ex, node,
			     node->switches + slm_strategy_may_stay(choice));
	ex->tip = node;
	ex->pick = pick;
	*call = pick;
	return SQLOOM_OK;
}

/* Gives the run the pick's part of the weight it had. */
static void weigh(struct exhaustive *ex, uint32_t allowed, unsigned pick)
{
	/* A single call has all of it; most choices late in a run are so. */
	if (allowed & (allowed - 1))
		ex->weight *=
			(double)slm_remaining_of(&ex->remaining, pick) /
			(double)slm_remaining_sum(&ex->remaining, allowed);
	slm_remaining_take(&ex->remaining, pick);
}

static enum sqloom_status exhaustive_pick(struct slm_strategy *strategy,
					  const struct slm_choice *choice,
					  uint32_t allowed, unsigned *call,
					  struct sqloom_error *err)
{
	struct exhaustive *ex = (struct exhaustive *)strategy;
	enum sqloom_status status;

	if (ex->idle || ex->diverged) {
		*call = slm_strategy_default(choice, allowed);
		return SQLOOM_OK;
	}
	if (choice->index < ex->planned) {
		*call = follow(ex, choice, allowed);
	} else {
		status = extend(ex, choice, allowed, call, err);
		if (status != SQLOOM_OK)
			return status;
	}
	weigh(ex, allowed, *call);
	return SQLOOM_OK;
}

static enum slm_learn exhaustive_learn(struct slm_strategy *strategy)
{
	struct exhaustive *ex = (struct exhaustive *)strategy;
	bool as_planned = !ex->diverged && strategy->choices >= ex->planned;

	if (as_planned && !ex->idle) {
		ex->runs++;
		ex->weight_seen += ex->weight;
	}
	release(ex, ex->tip);
	ex->tip = NULL;
	if (!as_planned) {
		ex->lost = true;
		return SLM_LEARN_DIVERGED;
	}
	if (ex->alternatives > 0)
		return SLM_LEARN_MORE;
	assert(ex->nodes == 0);
	return ex->lost ? SLM_LEARN_DIVERGED : SLM_LEARN_DONE;
}

/* ---- Runs made ahead ----------------------------------------------------- */

/* A node stays as long as one of its alternatives is pending, so an id means
 * one thing until that alternative was taken. */
static uint64_t id_of(const struct node *node, unsigned pick)
{
	return (uint64_t)(uintptr_t)node / _Alignof(struct node) *
		       SLM_STRATEGY_CALLS_MAX +
	       pick;
}

/* Hands out one alternative of the node. */
static bool hand_out(struct exhaustive *ex, struct node *node, unsigned pick,
		     slm_ahead_fn fn, void *userdata)
{
	struct slm_ahead ahead = { .id = id_of(node, pick),
				   .picks = ex->picks,
				   .length = node->depth + 1 };

	assert(ahead.length < ex->capacity);
	ex->picks[node->depth] = (uint8_t)pick;
	for (const struct node *at = node; at->parent; at = at->parent)
		ex->picks[at->parent->depth] = at->call;
	if (!fn(&ahead, userdata))
		return false;
	node->handed_out |= slm_strategy_bit(pick);
	return true;
}

/* The alternatives of one queue. False: no more room. */
static bool hand_out_queue(struct exhaustive *ex, struct node *node,
			   unsigned *window, slm_ahead_fn fn, void *userdata)
{
	for (; node && *window > 0; node = node->next)
		for (uint32_t rest = node->pending; rest && *window > 0;
		     rest &= rest - 1) {
			unsigned pick = slm_strategy_lowest(rest);

			--*window;
			if (!(node->handed_out & slm_strategy_bit(pick)) &&
			    !hand_out(ex, node, pick, fn, userdata))
				return false;
		}
	return true;
}

static void exhaustive_ahead(struct slm_strategy *strategy, unsigned window,
			     slm_ahead_fn fn, void *userdata)
{
	struct exhaustive *ex = (struct exhaustive *)strategy;
	bool room;

	if (ex->alternatives < window)
		window = (unsigned)ex->alternatives;
	room = hand_out_queue(ex, ex->urgent, &window, fn, userdata);
	for (unsigned i = ex->lowest; room && window > 0; i++)
		room = hand_out_queue(ex, ex->buckets[i], &window, fn,
				      userdata);
}

static uint64_t exhaustive_next(struct slm_strategy *strategy)
{
	struct exhaustive *ex = (struct exhaustive *)strategy;
	const struct node *node;

	if (ex->alternatives == 0)
		return 0;
	node = *first_queue(ex);
	return id_of(node, slm_strategy_lowest(node->pending));
}

/* ---- What is left -------------------------------------------------------- */

/*
 * Every choice divides the weight it gets, the first one 1, among its picks; a
 * schedule has what comes out at its end, and all schedules together have 1.
 * Those that were run are taken for typical: if they are `runs` and have
 * weight_seen, the whole has runs / weight_seen. (Knuth, "Estimating the
 * Efficiency of Backtrack Programs", 1975; Kilby, Slaney, Thiebaux, Walsh,
 * "Estimating Search Tree Size", AAAI 2006.) Divided in proportion to the steps
 * the calls have left, all schedules weigh the same as long as none is ruled
 * out by a lock, and the estimate is exact from the first run. At least what
 * is pending is left.
 */
static double exhaustive_left(const struct slm_strategy *strategy)
{
	const struct exhaustive *ex = (const struct exhaustive *)strategy;
	double pending = (double)ex->alternatives;
	double left;

	/* The weight of very long runs rounds to 0. */
	if (ex->lost || !(ex->weight_seen > 0))
		return -1;
	if (ex->alternatives == 0)
		return 0;
	left = (double)ex->runs / ex->weight_seen - (double)ex->runs;
	if (!isfinite(left))
		return -1;
	return left > pending ? left : pending;
}

static void exhaustive_free(struct slm_strategy *strategy)
{
	struct exhaustive *ex = (struct exhaustive *)strategy;

	while (ex->chunks) {
		struct chunk *next = ex->chunks->next;

		slm_free(ex->chunks);
		ex->chunks = next;
	}
	slm_free(ex->buckets);
	slm_free(ex->picks);
	slm_free(ex->path);
	slm_free(ex);
}

static const struct slm_strategy_ops exhaustive_ops = {
	.name = "exhaustive",
	.begin = exhaustive_begin,
	.pick = exhaustive_pick,
	.learn = exhaustive_learn,
	.left = exhaustive_left,
	.ahead = exhaustive_ahead,
	.next = exhaustive_next,
	.free = exhaustive_free,
};

enum sqloom_status slm_strategy_exhaustive_new(
	const struct slm_strategy_config *config, struct slm_strategy **out,
	struct sqloom_error *err)
{
	struct exhaustive *ex = slm_calloc(1, sizeof(*ex));

	if (!ex)
		return slm_error_nomem(err);
	slm_remaining_init(&ex->remaining, config);
	ex->base.ops = &exhaustive_ops;
	ex->nodes_max = NODES_MAX;
	*out = &ex->base;
	return SQLOOM_OK;
}

void slm_strategy_exhaustive_set_nodes_max(struct slm_strategy *strategy,
					   uint64_t nodes_max)
{
	assert(strategy->ops == &exhaustive_ops && strategy->run == 0);
	((struct exhaustive *)strategy)->nodes_max = nodes_max;
}

uint64_t slm_strategy_exhaustive_nodes(const struct slm_strategy *strategy)
{
	assert(strategy->ops == &exhaustive_ops);
	return ((const struct exhaustive *)strategy)->nodes;
}
