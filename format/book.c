#include "format/book.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/book_kept.h"
#include "format/book_level.h"
#include "format/book_side.h"
#include "format/venue.h"

#define SECOND_NS 1000000000ll

enum {
    BIDS,
    ASKS,
    SCALE_MAX = 18, /* of a valid decimal */
    /* An update that is older than the book is a duplicate, late by a second connection's lag. When
     * it is newer by the venue's clock, or nothing newer comes between so many of them, it is no
     * duplicate: the venue counts anew. */
    OLDER_IN_A_ROW_MAX = 1000,
};
#define OLDER_BUT_LATER_NS SECOND_NS

static const char no_snapshot[] = "no snapshot was recorded before this time";

/*
 * Invariants: state KNOWN has an empty cause, and nothing kept but between two updates; UNKNOWN and
 * BROKEN have empty sides and last_id NONE; last_id is the id of the snapshot until joined, then of
 * the last update applied. WAITING and joined: what is kept lies behind a gap that may be filled.
 * Keys are prices times 10^scale, negative ones of bids. rule is as asked for, sequence what it
 * came to: BY_DIFF until a diff has told.
 */
struct tape_book {
    int rule, sequence, state, scale, older_in_row, joined;
    int64_t last_id, event_ns, transaction_ns, patience_ns;
    struct tape_book_side sides[2];
    struct tape_book_kept kept;
    char cause[256];
};

/* ---- states ---- */

static void set_cause(struct tape_book *book, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
static void set_cause(struct tape_book *book, const char *format, va_list arguments)
{
    vsnprintf(book->cause, sizeof book->cause, format, arguments);
}

static void empty(struct tape_book *book, int state)
{
    for (int side = BIDS; side <= ASKS; side++)
        tape_book_side_clear(&book->sides[side]);
    book->state = state;
    book->scale = book->older_in_row = book->joined = 0;
    book->last_id = book->event_ns = book->transaction_ns = TAPE_TICK_NONE;
}

/* Nothing is known from here on, for the reason in words. Returns status, with the words in error
 * where it is a failure. */
static int break_book(struct tape_book *book, struct tape_error *error, int status,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
static int break_book(struct tape_book *book, struct tape_error *error, int status,
                      const char *format, ...)
{
    va_list arguments;
    empty(book, TAPE_BOOK_BROKEN);
    va_start(arguments, format);
    set_cause(book, format, arguments);
    va_end(arguments);
    if (status < 0)
        tape_error_set(error, status, "%s; the book is empty until the next snapshot", book->cause);
    return status;
}

static int be_known(struct tape_book *book)
{
    book->state = TAPE_BOOK_KNOWN;
    book->joined = 1;
    book->cause[0] = '\0';
    return 1;
}

static void wait_for_diff(struct tape_book *book)
{
    book->state = TAPE_BOOK_WAITING;
    snprintf(book->cause, sizeof book->cause,
             "no update has come yet that follows on the snapshot of update %lld",
             (long long)book->last_id);
}

void tape_book_reset(struct tape_book *book, const char *cause)
{
    empty(book, TAPE_BOOK_UNKNOWN);
    tape_book_kept_clear(&book->kept);
    book->sequence = book->rule;
    snprintf(book->cause, sizeof book->cause, "%s", cause ? cause : no_snapshot);
}

struct tape_book *tape_book_new(int sequence)
{
    struct tape_book *book = calloc(1, sizeof *book);
    if (!book)
        return NULL;
    book->rule = sequence;
    tape_book_reset(book, NULL);
    return book;
}

void tape_book_wait_for(struct tape_book *book, int64_t ns)
{
    book->patience_ns = ns;
}

void tape_book_free(struct tape_book *book)
{
    if (!book)
        return;
    for (int side = BIDS; side <= ASKS; side++)
        tape_book_side_free(&book->sides[side]);
    tape_book_kept_clear(&book->kept);
    free(book);
}

/* 1 when diffs follow each other in it, 0 for a partial depth stream's. */
static int takes_diffs(const struct tape_book *book)
{
    return book->sequence == TAPE_BOOK_BY_DIFF ||
           book->sequence == TAPE_VENUE_SEQUENCE_PREVIOUS_LAST ||
           book->sequence == TAPE_VENUE_SEQUENCE_FIRST_FOLLOWS;
}

/* ---- levels ---- */

/* A number from the wire made fit for people: what is not plain is shown as '?'. */
static const char *shown(struct tape_slice text, char to[40])
{
    size_t bytes = text.bytes < 32 ? text.bytes : 32;
    for (size_t i = 0; i < bytes; i++) {
        char c = text.data[i];
        to[i] = c > ' ' && c < 0x7f && c != '"' && c != '\\' ? c : '?';
    }
    snprintf(to + bytes, 40 - bytes, "%s", bytes < text.bytes ? "..." : "");
    return to;
}

/* Zero in any spelling: those too that are no valid decimals, as "-0.0" or twenty zeros. */
static int is_zero(const struct tape_decimal *number)
{
    if (number->valid)
        return number->value == 0;
    int digits = 0;
    for (size_t i = 0; i < number->text.bytes; i++) {
        char c = number->text.data[i];
        digits += c == '0';
        if (c != '0' && c != '.' && !(c == '-' && i == 0))
            return 0;
    }
    return digits > 0;
}

static int64_t power_of_ten(int exponent)
{
    int64_t power = 1;
    while (exponent-- > 0)
        power *= 10;
    return power;
}

/* The key of a price whose scale is not the book's: 1, or 0 when no key has room for it. */
static int scaled_key(struct tape_book *book, int64_t value, int scale, int64_t *key)
{
    if (scale > book->scale) {
        int64_t factor = power_of_ten(scale - book->scale);
        /* Both or none: the second that does not fit leaves the book to be broken. */
        if (!tape_book_side_rescale(&book->sides[BIDS], factor) ||
            !tape_book_side_rescale(&book->sides[ASKS], factor))
            return 0;
        book->scale = scale;
    }
    return !__builtin_mul_overflow(value, power_of_ten(book->scale - scale), key);
}

/* A level whose numbers are valid. Texts up to ${end} may be loaded. */
static inline int put_level(struct tape_book *book, int side, int64_t id,
                            const struct tape_book_level_text *level, const char *end,
                            struct tape_error *error)
{
    struct tape_book_side *levels = &book->sides[side];
    int64_t key = level->value;
    if (level->scale != book->scale && !scaled_key(book, level->value, level->scale, &key)) {
        char text[40];
        return break_book(book, error, TAPE_LIMIT,
                          "update %lld has the price \"%s\", too many digits beside the others",
                          (long long)id, shown(level->price, text));
    }
    key = side == BIDS ? -key : key;
    if (level->is_zero) {
        tape_book_side_remove(levels, key);
        return 1;
    }
    int put = tape_book_side_put(levels, key, level->price, level->quantity, end);
    if (put < 0)
        return break_book(book, error, TAPE_FAILED, "memory is short for update %lld",
                          (long long)id);
    if (put > 0 && levels->levels > TAPE_BOOK_LEVELS_MAX)
        return break_book(book, error, TAPE_LIMIT, "update %lld makes more than %d levels",
                          (long long)id, TAPE_BOOK_LEVELS_MAX);
    return 1;
}

/* A level in any spelling. */
static int put_numbers(struct tape_book *book, int side, int64_t id,
                       const struct tape_decimal *price, const struct tape_decimal *quantity,
                       const char *end, struct tape_error *error)
{
    struct tape_book_level_text level = {price->text, quantity->text, price->value, price->scale,
                                         is_zero(quantity)};
    if (!price->valid || price->text.bytes > TAPE_BOOK_NUMBER_BYTES ||
        (!level.is_zero && (!quantity->valid || quantity->value < 0 ||
                            quantity->text.bytes > TAPE_BOOK_NUMBER_BYTES))) {
        char price_text[40], quantity_text[40];
        return break_book(book, error, TAPE_FAILED,
                          "update %lld has the level \"%s\", \"%s\", which is not a price and a "
                          "quantity of up to 18 digits",
                          (long long)id, shown(price->text, price_text),
                          shown(quantity->text, quantity_text));
    }
    return put_level(book, side, id, &level, end, error);
}

static int put_levels(struct tape_book *book, int side, int64_t id, struct tape_slice list,
                      struct tape_error *error)
{
    struct tape_decimal price, quantity;
    struct tape_book_level_text level;
    const char *end = list.data ? list.data + list.bytes : NULL;
    int got = list.data ? 1 : -1, status = 1;
    while (got == 1 && status == 1) {
        if (tape_book_level_plain(&list, &level))
            status = put_level(book, side, id, &level, end, error);
        else if ((got = tape_tick_next_level(&list, &price, &quantity)) == 1)
            status = put_numbers(book, side, id, &price, &quantity, end, error);
    }
    if (got < 0)
        return break_book(book, error, TAPE_FAILED,
                          "update %lld has %s that are not a list of [\"price\",\"quantity\"]",
                          (long long)id, side == BIDS ? "bids" : "asks");
    return status;
}

/* All levels of the tick; its id and times are the book's from here on. */
static int put_tick(struct tape_book *book, const struct tape_tick *tick, int64_t id,
                    struct tape_error *error)
{
    int status = put_levels(book, BIDS, id, tick->bids, error);
    if (status == 1)
        status = put_levels(book, ASKS, id, tick->asks, error);
    if (status < 0)
        return status;
    book->last_id = id;
    book->event_ns = tick->event_ns;
    book->transaction_ns = tick->transaction_ns;
    book->older_in_row = 0;
    return 1;
}

/* ---- diffs ---- */

enum relation { OLDER, REACHED, FOLLOWS, GAP };

/* How a diff stands to the snapshot that waits for it. */
static enum relation join(const struct tape_book *book, const struct tape_tick *diff)
{
    int64_t id = book->last_id;
    if (diff->last_id < id)
        return OLDER;
    if (book->sequence == TAPE_VENUE_SEQUENCE_PREVIOUS_LAST)
        return diff->first_id <= id || diff->previous_id == id ? FOLLOWS : GAP;
    if (diff->last_id == id)
        return REACHED;
    return diff->first_id - 1 <= id ? FOLLOWS : GAP;
}

/* How it stands to the diff that was applied last. */
static enum relation follow(const struct tape_book *book, const struct tape_tick *diff)
{
    if (diff->last_id <= book->last_id)
        return OLDER;
    if (book->sequence == TAPE_VENUE_SEQUENCE_PREVIOUS_LAST)
        return diff->previous_id == book->last_id ? FOLLOWS : GAP;
    return diff->first_id - 1 <= book->last_id ? FOLLOWS : GAP;
}

static enum relation relate(const struct tape_book *book, const struct tape_tick *diff)
{
    return book->joined ? follow(book, diff) : join(book, diff);
}

static void tell_gap(struct tape_book *book, const struct tape_tick *diff)
{
    long long had = (long long)book->last_id, first = (long long)diff->first_id;
    if (!book->joined)
        snprintf(book->cause, sizeof book->cause,
                 "the snapshot of update %lld is too old: the first update after it begins at %lld",
                 had, first);
    else if (book->sequence == TAPE_VENUE_SEQUENCE_PREVIOUS_LAST)
        snprintf(book->cause, sizeof book->cause,
                 "updates are missing between %lld and %lld, which follows on %lld", had, first,
                 (long long)diff->previous_id);
    else
        snprintf(book->cause, sizeof book->cause, "updates are missing between %lld and %lld", had,
                 first);
}

/* Behind a gap: WAITING where it may still be filled. What follows on an update older than the
 * book's last one never fits. */
static int meet_gap(struct tape_book *book, const struct tape_tick *diff)
{
    int waits = book->state == TAPE_BOOK_WAITING;
    int fits =
        book->sequence != TAPE_VENUE_SEQUENCE_PREVIOUS_LAST || diff->previous_id > book->last_id;
    if (book->patience_ns && fits && waits)
        return 0;
    tell_gap(book, diff);
    if (book->patience_ns && fits)
        book->state = TAPE_BOOK_WAITING;
    else
        empty(book, TAPE_BOOK_BROKEN);
    return 1;
}

/* 1 when the kept diff is older by the venue's time than a book waits for. */
static int is_overdue(const struct tape_book *book, const struct tape_tick *kept, int64_t now_ns)
{
    return kept && kept->event_ns != TAPE_TICK_NONE && now_ns != TAPE_TICK_NONE &&
           now_ns > kept->event_ns && now_ns - kept->event_ns > book->patience_ns;
}

/* What is missing did not come in time, or what came since is too much to be kept. */
static int give_up(struct tape_book *book, int64_t now_ns)
{
    const struct tape_tick *oldest;
    if (!book->joined)
        tell_gap(book, tape_book_kept_at(&book->kept, 0));
    empty(book, TAPE_BOOK_BROKEN);
    while ((oldest = tape_book_kept_at(&book->kept, 0)) && is_overdue(book, oldest, now_ns))
        tape_book_kept_drop(&book->kept, 0);
    return 1;
}

/* Returns status, or 1 when the book has changed by it. */
static int keep(struct tape_book *book, const struct tape_tick *diff, int status,
                struct tape_error *error)
{
    int dropped = tape_book_kept_add(&book->kept, diff);
    if (dropped < 0)
        return tape_error_set(error, TAPE_FAILED, "memory is short for update %lld",
                              (long long)diff->last_id);
    if (book->state == TAPE_BOOK_WAITING &&
        (dropped > 0 || is_overdue(book, tape_book_kept_at(&book->kept, 0), diff->event_ns)))
        return give_up(book, diff->event_ns);
    return status;
}

/* 1 when an id that is older than the book's is no duplicate's. */
static int ran_back(struct tape_book *book, const struct tape_tick *tick)
{
    if (++book->older_in_row > OLDER_IN_A_ROW_MAX)
        return 1;
    return tick->event_ns != TAPE_TICK_NONE && book->event_ns != TAPE_TICK_NONE &&
           tick->event_ns > book->event_ns && tick->event_ns - book->event_ns > OLDER_BUT_LATER_NS;
}

static int break_at_return(struct tape_book *book, int64_t id, struct tape_error *error)
{
    return break_book(book, error, 1, "update ids ran back from %lld to %lld",
                      (long long)book->last_id, (long long)id);
}

/* A diff that is not behind a gap, of which the book is known then. Negative: it is broken by it.
 */
static int advance(struct tape_book *book, const struct tape_tick *diff, enum relation relation,
                   struct tape_error *error)
{
    int status = relation == FOLLOWS ? put_tick(book, diff, diff->last_id, error) : 1;
    return status < 0 ? status : be_known(book);
}

/* Those that came before what they follow on, as far as they go. What stands behind a gap is kept
 * on. */
static int apply_kept(struct tape_book *book, struct tape_error *error)
{
    const struct tape_tick *diff;
    size_t at = 0;
    while ((diff = tape_book_kept_at(&book->kept, at))) {
        enum relation relation = relate(book, diff);
        if (relation == GAP && !book->patience_ns)
            break;
        int status =
            relation == GAP || relation == OLDER ? 0 : advance(book, diff, relation, error);
        if (relation == GAP)
            at++;
        else
            tape_book_kept_drop(&book->kept, at);
        if (status < 0)
            return status;
        /* Those that were behind a gap may follow on this one. */
        at = status == 1 ? 0 : at;
    }
    diff = tape_book_kept_at(&book->kept, 0);
    if (diff)
        meet_gap(book, diff);
    return 1;
}

/* Whether the diff has the numbers that its rule needs. */
static int is_numbered(const struct tape_book *book, const struct tape_tick *diff)
{
    return diff->last_id != TAPE_TICK_NONE && diff->first_id != TAPE_TICK_NONE &&
           diff->first_id <= diff->last_id &&
           (book->sequence != TAPE_VENUE_SEQUENCE_PREVIOUS_LAST ||
            diff->previous_id != TAPE_TICK_NONE);
}

static int apply_diff(struct tape_book *book, const struct tape_tick *diff,
                      struct tape_error *error)
{
    enum relation relation;
    if (!takes_diffs(book))
        return 0;
    if (book->sequence == TAPE_BOOK_BY_DIFF)
        book->sequence = diff->previous_id == TAPE_TICK_NONE ? TAPE_VENUE_SEQUENCE_FIRST_FOLLOWS
                                                             : TAPE_VENUE_SEQUENCE_PREVIOUS_LAST;
    if (!is_numbered(book, diff))
        return break_book(book, error, TAPE_FAILED,
                          "an update after %lld does not tell which updates it holds",
                          (long long)(book->last_id == TAPE_TICK_NONE ? 0 : book->last_id));
    if (book->state == TAPE_BOOK_UNKNOWN || book->state == TAPE_BOOK_BROKEN)
        return keep(book, diff, 0, error);
    relation = relate(book, diff);
    if (relation == OLDER) {
        if (!ran_back(book, diff))
            return 0;
        return keep(book, diff, break_at_return(book, diff->last_id, error), error);
    }
    if (relation == GAP)
        return keep(book, diff, meet_gap(book, diff), error);
    int status = advance(book, diff, relation, error);
    return status < 0 ? status : apply_kept(book, error);
}

/* ---- snapshots ---- */

/* The message of a partial depth stream: the later one holds, whatever was before. */
static int apply_whole(struct tape_book *book, const struct tape_tick *tick,
                       struct tape_error *error)
{
    if (book->state == TAPE_BOOK_KNOWN && tick->id < book->last_id && !ran_back(book, tick))
        return 0;
    empty(book, TAPE_BOOK_UNKNOWN);
    int status = put_tick(book, tick, tick->id, error);
    return status < 0 ? status : be_known(book);
}

static int apply_snapshot(struct tape_book *book, const struct tape_tick *tick,
                          struct tape_error *error)
{
    if (tick->id == TAPE_TICK_NONE)
        return break_book(book, error, TAPE_FAILED,
                          "a snapshot does not tell which update it is of");
    if (!takes_diffs(book))
        return apply_whole(book, tick, error);
    if (book->last_id != TAPE_TICK_NONE && tick->id < book->last_id)
        return 0;
    int known = book->state == TAPE_BOOK_KNOWN && tick->id == book->last_id;
    empty(book, TAPE_BOOK_UNKNOWN);
    int status = put_tick(book, tick, tick->id, error);
    if (status < 0)
        return status;
    if (known)
        return be_known(book);
    wait_for_diff(book);
    return apply_kept(book, error);
}

int tape_book_apply(struct tape_book *book, const struct tape_tick *tick, struct tape_error *error)
{
    if (tick->kind == TAPE_TICK_DEPTH)
        return apply_diff(book, tick, error);
    if (tick->kind == TAPE_TICK_DEPTH_SNAPSHOT)
        return apply_snapshot(book, tick, error);
    return 0;
}

int tape_book_restore(struct tape_book *book, const struct tape_tick *tick,
                      struct tape_error *error)
{
    tape_book_reset(book, NULL);
    if (tick->kind != TAPE_TICK_DEPTH_SNAPSHOT)
        return 0;
    int status = apply_snapshot(book, tick, error);
    return status < 0 ? status : be_known(book);
}

/* ---- looking ---- */

int tape_book_state(const struct tape_book *book)
{
    return book->state;
}

const char *tape_book_cause(const struct tape_book *book)
{
    return book->cause;
}

int64_t tape_book_last_id(const struct tape_book *book)
{
    return book->state == TAPE_BOOK_KNOWN ? book->last_id : TAPE_TICK_NONE;
}

const char *tape_book_state_word(int state)
{
    static const char *const words[] = {
#define WORD(name, word, meaning) word,
        TAPE_BOOK_STATE_TABLE(WORD)
#undef WORD
    };
    return state >= 0 && state < (int)(sizeof words / sizeof *words) ? words[state] : NULL;
}

static int is_side(const struct tape_book *book, int side)
{
    return book->state == TAPE_BOOK_KNOWN && (side == BIDS || side == ASKS);
}

size_t tape_book_levels(const struct tape_book *book, int side)
{
    return is_side(book, side) ? book->sides[side].levels : 0;
}

int tape_book_level(const struct tape_book *book, int side, size_t index,
                    struct tape_book_level *level)
{
    const struct tape_book_entry *entry =
        is_side(book, side) ? tape_book_side_entry(&book->sides[side], index) : NULL;
    if (!entry)
        return 0;
    tape_tick_parse_decimal((struct tape_slice){entry->price_text, entry->price_bytes},
                            &level->price);
    tape_tick_parse_decimal((struct tape_slice){entry->quantity_text, entry->quantity_bytes},
                            &level->quantity);
    return 1;
}

static int64_t in_ms(int64_t ns)
{
    return ns == TAPE_TICK_NONE ? TAPE_TICK_NONE : ns / (SECOND_NS / 1000);
}

void tape_book_read_times(const struct tape_book *book, int64_t *event_ms, int64_t *transaction_ms)
{
    *event_ms = in_ms(book->event_ns);
    *transaction_ms = in_ms(book->transaction_ns);
}

int tape_book_is_crossed(const struct tape_book *book)
{
    const struct tape_book_side *bids = &book->sides[BIDS], *asks = &book->sides[ASKS];
    return book->state == TAPE_BOOK_KNOWN && bids->levels > 0 && asks->levels > 0 &&
           -bids->firsts[0] >= asks->firsts[0];
}
