/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * One request at a time: relay.c takes the next from the client's input when the one before has
 * its answer. A whole one passes three gates, each of which may hold it back: the budget of its
 * identity, the PLC's turns, the policy. Held back for longer than timeouts.request_wait it is
 * refused instead. What waits stands in the input as it came; nothing is copied, nothing is
 * allocated for it.
 *
 * A turn is granted by whichever thread gives one back. It posts a message to the session's
 * worker, and the session is not freed before that has been delivered.
 *
 * One timer serves waiting and answers. It is not set anew for each request: when it expires, it
 * is looked at what is due, and perhaps set to then.
 */
#include "proxy/inspection.h"

#include "base/error.h"
#include "base/slab.h"
#include "mc/mc_answer.h"
#include "proxy/audit.h"
#include "proxy/inbox.h"
#include "proxy/relay.h"
#include "proxy/worker.h"

/* Remote password, unlock and lock; what an answer says when the password itself was not wrong. */
enum {
	COMMAND_UNLOCK = 0x1630,
	COMMAND_LOCK = 0x1631,
	END_COMMAND = 0xc059,
	END_OTHER_HOLDS_IT = 0xc204,
	MONITORING_UNIT = 250 * CLOCK_MS, /* of a frame's monitoring timer */
};

struct inspection {
	struct session *session;
	struct timer timer;
	struct turn turn;
	struct message granted;
	bool granting; /* `granted` is on its way, or will be when there is a turn */
	bool given_up; /* nobody wants it any more */
	bool has_turn; /* of this thread's knowledge */

	/* The request at the front of the input. */
	clock_us whole;           /* when it was whole; 0: there is none */
	clock_us ask_again;       /* the budget, at this time; 0: it does not wait for it */
	bool spent;               /* it has been taken from the budget */
	enum policy_rule overdue; /* it has waited too long for this */

	/* The request under way. */
	clock_us sent;    /* 0: none */
	clock_us waited;  /* before that */
	clock_us allowed; /* for the answer */
	size_t size;
	struct mc_echo echo;
	bool recorded, tries_password;
};

static struct slab slab = SLAB_INITIALIZER(sizeof(struct inspection));

static const struct config_policy *policy_of(const struct session *session)
{
	return config_policy_of(session->identity, session->plc);
}

/* --- waiting -------------------------------------------------------------------------------- */

static void set_timer(struct inspection *inspection, clock_us when)
{
	struct session *session = inspection->session;

	if (timer_is_set(&inspection->timer) && inspection->timer.when <= when)
		return; /* it will look again then */
	if (timer_set(ring_timers(session_ring(session)), &inspection->timer, when) < 0)
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
}

static clock_us patience(const struct inspection *inspection)
{
	return inspection->whole + inspection->session->snapshot->config->timeouts.request_wait;
}

static void end_turn(struct inspection *inspection)
{
	struct turns *turns = &inspection->session->plant->turns;

	if (!inspection->has_turn && !inspection->granting)
		return;
	/* Granted meanwhile: the message still comes. */
	if (turns_end(turns, &inspection->turn) == TURN_WAITING)
		inspection->granting = inspection->session->message_pending = false;
	inspection->given_up = inspection->granting;
	inspection->has_turn = false;
}

/* Too late: whatever it waits for, it gets an answer now. */
static void give_up(struct inspection *inspection)
{
	inspection->overdue = inspection->ask_again != 0 ? POLICY_RULE_BUDGET : POLICY_RULE_BUSY;
	inspection->ask_again = 0;
	end_turn(inspection);
}

static void look_at_waiting(struct inspection *inspection, clock_us now)
{
	if (now >= patience(inspection))
		give_up(inspection);
	relay_sent(inspection->session, LEG_FAR);
}

static void look_at_answer(struct inspection *inspection, clock_us now)
{
	if (now >= inspection->sent + inspection->allowed)
		session_close(inspection->session, SESSION_REASON_ANSWER_TIMEOUT, NULL);
	else
		set_timer(inspection, inspection->sent + inspection->allowed);
}

static void expired(struct timer *timer)
{
	struct inspection *inspection = container_of(timer, struct inspection, timer);
	struct session *session = inspection->session;

	if (inspection->sent != 0)
		look_at_answer(inspection, clock_now());
	else if (inspection->whole != 0)
		look_at_waiting(inspection, clock_now());
	session_settle(session);
}

static void deliver(struct message *message)
{
	struct inspection *inspection = container_of(message, struct inspection, granted);
	struct session *session = inspection->session;

	inspection->granting = session->message_pending = false;
	inspection->has_turn = !inspection->given_up;
	inspection->given_up = false;
	if (session->state != SESSION_CLOSED)
		relay_sent(session, LEG_FAR);
	session_settle(session);
}

/* By another session's thread, under the lock of the turns. */
static void granted(struct turn *turn)
{
	struct inspection *inspection = container_of(turn, struct inspection, turn);

	inbox_post(&inspection->session->worker->inbox, &inspection->granted);
}

/* --- the gates ------------------------------------------------------------------------------ */

static bool within_budget(struct inspection *inspection, clock_us now)
{
	const struct config_policy *policy = policy_of(inspection->session);

	if (inspection->spent || policy == NULL || policy->requests_per_second == 0)
		return true;
	inspection->ask_again = account_spend(inspection->session->account,
					      policy->requests_per_second, policy->burst, now);
	inspection->spent = inspection->ask_again == 0;
	return inspection->spent;
}

static bool has_turn(struct inspection *inspection)
{
	struct session *session = inspection->session;

	if (session->plc->requests_at_once == 0 || inspection->has_turn)
		return true;
	if (inspection->granting)
		return false;
	/* Before it is asked for: the answer may be there before turns_take() is back. */
	inspection->granting = session->message_pending = true;
	if (turns_take(&session->plant->turns, &inspection->turn) == TURNS_WAIT)
		return false;
	inspection->granting = session->message_pending = false;
	inspection->has_turn = true;
	return true;
}

bool inspection_may_go(struct session *session)
{
	struct inspection *inspection = session->inspection;
	clock_us now = clock_now(), again;

	if (inspection->whole == 0)
		inspection->whole = now;
	if (inspection->overdue != POLICY_RULE_NONE)
		return true;
	if (within_budget(inspection, now) && has_turn(inspection)) {
		inspection->waited = now - inspection->whole;
		return true;
	}
	again = patience(inspection);
	if (inspection->ask_again != 0 && inspection->ask_again < again)
		again = inspection->ask_again;
	if (now < again) {
		set_timer(inspection, again);
		return false;
	}
	give_up(inspection);
	return true;
}

/* The request at the front has been decided upon. */
static void forget_waiting(struct inspection *inspection)
{
	inspection->whole = inspection->ask_again = 0;
	inspection->spent = false;
	inspection->overdue = POLICY_RULE_NONE;
}

/* --- the judgement -------------------------------------------------------------------------- */

static bool asks_password(const struct mc_request *request)
{
	return request->family != MC_FAMILY_1E &&
	       (request->command == COMMAND_UNLOCK || request->command == COMMAND_LOCK);
}

static bool gateway_unlocks(const struct session *session, const struct mc_request *request)
{
	return session->plc->remote_password == CONFIG_PASSWORD_GATEWAY && asks_password(request);
}

/* What the policy does not know: how long it has waited, and how often passwords were wrong. */
static void judge_more(struct inspection *inspection, const struct mc_request *request,
		       struct policy_verdict *verdict)
{
	struct session *session = inspection->session;

	if (inspection->overdue != POLICY_RULE_NONE)
		policy_refuse(request, inspection->overdue, verdict);
	else if (verdict->rule != POLICY_RULE_NONE || !asks_password(request))
		return;
	else if (session->plc->remote_password == CONFIG_PASSWORD_REFUSE ||
		 (session->plc->remote_password == CONFIG_PASSWORD_PASS &&
		  !password_tries_begin(&session->plant->tries, clock_now())))
		policy_refuse(request, POLICY_RULE_PASSWORD, verdict);
	else
		inspection->tries_password = session->plc->remote_password == CONFIG_PASSWORD_PASS;
}

static void ended(struct inspection *inspection)
{
	inspection->sent = 0;
	inspection->recorded = false;
	end_turn(inspection);
}

static void count_try(struct inspection *inspection, bool answered, uint16_t end_code)
{
	bool wrong = !answered ||
		     (end_code != 0 && end_code != END_COMMAND && end_code != END_OTHER_HOLDS_IT);

	if (inspection->tries_password)
		password_tries_end(&inspection->session->plant->tries, wrong, clock_now());
	inspection->tries_password = false;
}

/* What may go is written down first; what cannot be is refused. */
static void write_down(struct inspection *inspection, const struct mc_request *request,
		       struct policy_verdict *verdict)
{
	const struct session *session = inspection->session;

	inspection->recorded = audit_wants(session, verdict->access.class);
	if (!inspection->recorded || audit_request(session, request, &verdict->access))
		return;
	count_try(inspection, true, 0); /* it was none: the PLC does not get it */
	policy_refuse(request, POLICY_RULE_AUDIT, verdict);
}

/* The answer that refuses it. */
static size_t refuse(struct inspection *inspection, const struct mc_request *request,
		     const struct policy_verdict *verdict, uint8_t *answer)
{
	struct session *session = inspection->session;

	audit_refused(session, request, verdict, false);
	session->refused++;
	atomic_fetch_add_explicit(&session->account->refused[verdict->rule], 1,
				  memory_order_relaxed);
	return mc_frame_put_error(request, verdict->end_code, verdict->abnormal_code, answer,
				  MC_FRAME_ERROR_SIZE);
}

/* It is about to be sent on. */
static void passes(struct inspection *inspection, const struct mc_request *request,
		   const struct mc_access *access, size_t length)
{
	struct session *session = inspection->session;
	clock_us allowed = session->snapshot->config->timeouts.answer;
	clock_us wished = ((clock_us)request->timer + 4) * MONITORING_UNIT;

	inspection->sent = inspection->whole + inspection->waited;
	inspection->allowed = wished > allowed ? wished : allowed;
	inspection->size = length;
	mc_answer_expect(&inspection->echo, request, access);
	atomic_fetch_add_explicit(&session->account->requests[access->class], 1,
				  memory_order_relaxed);
	set_timer(inspection, inspection->sent + inspection->allowed);
}

static void observe(const struct session *session, const struct mc_request *request,
		    const struct policy_verdict *verdict)
{
	audit_refused(session, request, verdict, true);
	atomic_fetch_add_explicit(&session->account->observed[verdict->rule], 1,
				  memory_order_relaxed);
}

/* Is it answered here? With what, then; 0: it passes, or the session has been closed. */
static size_t answer_here(struct inspection *inspection, const struct mc_request *request,
			  const struct policy_verdict *verdict, uint8_t *answer)
{
	struct session *session = inspection->session;
	size_t size;

	if (verdict->rule != POLICY_RULE_NONE)
		size = refuse(inspection, request, verdict, answer);
	else if (gateway_unlocks(session, request))
		/* It is unlocked already, and stays so: nothing is asked of the PLC. */
		size = mc_frame_put_answer(request, NULL, 0, answer, MC_FRAME_ERROR_SIZE);
	else
		return 0;
	ended(inspection);
	if (size == 0)
		session_close(session, SESSION_REASON_INTERNAL, "no room for an answer");
	return size;
}

size_t inspection_judge(struct session *session, const uint8_t *bytes, size_t length,
			uint8_t *answer)
{
	struct inspection *inspection = session->inspection;
	const struct config_policy *policy = policy_of(session);
	struct policy_verdict verdict;
	struct mc_request request;
	size_t size;

	if (mc_frame_parse_request(bytes, length, &request) < 0) {
		/* It cannot be answered: what is no request has no form to answer in. */
		session_close(session, SESSION_REASON_BAD_REQUEST, "not a request");
		return 0;
	}
	policy_judge(policy, &request, &verdict);
	if (verdict.rule != POLICY_RULE_NONE && policy != NULL && policy->observe) {
		observe(session, &request, &verdict);
		verdict.rule = POLICY_RULE_NONE;
	}
	judge_more(inspection, &request, &verdict);
	if (verdict.rule == POLICY_RULE_NONE && !gateway_unlocks(session, &request))
		write_down(inspection, &request, &verdict);
	size = answer_here(inspection, &request, &verdict, answer);
	if (size == 0 && session->state != SESSION_CLOSED)
		passes(inspection, &request, &verdict.access, length);
	forget_waiting(inspection);
	return size;
}

/* --- the answer ----------------------------------------------------------------------------- */

size_t inspection_answer_head(const struct session *session)
{
	size_t wanted = mc_answer_head(&session->inspection->echo);

	return wanted > 0 ? wanted : 1;
}

bool inspection_unasked(struct session *session)
{
	if (session->inspection == NULL || session->inspection->sent != 0)
		return false;
	session_close(session, SESSION_REASON_BAD_ANSWER, "an answer that nobody had asked for");
	return true;
}

bool inspection_answered(struct session *session, const uint8_t *bytes, size_t size, size_t length)
{
	struct inspection *inspection = session->inspection;
	clock_us took = clock_now() - inspection->sent;
	enum mc_answer_fit fit;
	uint16_t end_code;

	if (inspection_unasked(session))
		return false;
	fit = mc_answer_fits(&inspection->echo, bytes, size, length, &end_code);
	if (fit != MC_ANSWER_FITS) {
		session_close(session, SESSION_REASON_BAD_ANSWER, mc_answer_fit_name(fit));
		return false;
	}
	count_try(inspection, true, end_code);
	account_answered(session->account, end_code, inspection->waited, took);
	account_moved(session->account, inspection->size, length);
	if (inspection->recorded)
		audit_answered(session, session->stream.family, end_code, took);
	ended(inspection);
	return true;
}

/* --- begin and end -------------------------------------------------------------------------- */

bool inspection_begin(struct session *session)
{
	struct inspection *inspection;

	if (session->role != SESSION_GATEWAY || session->protocol != CONFIG_PROTOCOL_MC ||
	    !session->gateway->inspect)
		return true;
	inspection = slab_take(&slab);
	if (inspection == NULL) {
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
		return false;
	}
	inspection->session = session;
	inspection->timer.expired = expired;
	inspection->turn.account = session->account;
	inspection->turn.granted = granted;
	inspection->granted.deliver = deliver;
	session->inspection = inspection;
	return true;
}

void inspection_end(struct session *session)
{
	struct inspection *inspection = session->inspection;

	if (inspection == NULL)
		return;
	timer_stop(ring_timers(session_ring(session)), &inspection->timer);
	if (inspection->sent != 0)
		atomic_fetch_add_explicit(&session->account->unanswered, 1, memory_order_relaxed);
	if (inspection->recorded)
		audit_unanswered(session);
	count_try(inspection, false, 0);
	ended(inspection);
}

void inspection_free(struct session *session)
{
	slab_give(&slab, session->inspection);
}
