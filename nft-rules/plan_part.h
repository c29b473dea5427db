/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of a plan. Each adds to the table that is being built. */
#ifndef MCSEAL_NFT_PLAN_PART_H
#define MCSEAL_NFT_PLAN_PART_H

#include "builder.h"

/* What the edge's routes lead to, of one family. 0 or -ENOMEM. */
int plan_edge_blocks(const struct config_edge *edge, int family, struct blocks *blocks);
/* Sets and chain of a transparent edge, and the ways to it from the base chains. */
void plan_edge_add(struct builder *builder, const struct config_edge *edge);
/* For all edges: the daemon's own connections are let be; ... */
void plan_edge_add_own_mark_rule(const struct builder *builder);
/* ... nobody dials their listeners directly. */
void plan_edge_add_listener_rules(const struct builder *builder);

/* Admits the clients of a gateway that names some. */
void plan_gateway_add(struct builder *builder, const struct config_gateway *gateway);

/* The whole guard table. */
void plan_guard_add(struct builder *builder);

#endif
