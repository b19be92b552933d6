#include "format/book_side.h"

#include <stdlib.h>
#include <string.h>

#include "format/error.h"

enum {
    RUN_SPARSE = TAPE_BOOK_RUN_LEVELS / 4, /* below it a run looks for a neighbour to join */
    RUN_JOINED_MAX = TAPE_BOOK_RUN_LEVELS / 4 * 3, /* ... and leaves room for what comes next */
    POOL_FIRST = 256,
    RUNS_FIRST = 32,
    NO_ENTRY = -1,
};

void tape_book_side_free(struct tape_book_side *side)
{
    for (size_t i = 0; i < side->runs_count; i++)
        free(side->runs[i]);
    free(side->spare);
    free(side->runs);
    free(side->firsts);
    free(side->pool);
    memset(side, 0, sizeof *side);
}

void tape_book_side_clear(struct tape_book_side *side)
{
    for (size_t i = 0; i < side->runs_count; i++)
        free(side->runs[i]);
    side->runs_count = side->levels = side->finger = 0;
    side->pool_used = 0;
    side->free_first = NO_ENTRY;
}

/* ---- memory ---- */

/* The place of an entry that is free, or NO_ENTRY: memory is short. */
static int64_t take_entry(struct tape_book_side *side)
{
    if (side->pool_used > 0 && side->free_first != NO_ENTRY) {
        int64_t at = side->free_first;
        side->free_first = side->pool[at].next_free;
        return at;
    }
    if (side->pool_used == 0)
        side->free_first = NO_ENTRY;
    if (side->pool_used == side->pool_room) {
        size_t room = side->pool_room ? 2 * side->pool_room : POOL_FIRST;
        struct tape_book_entry *larger = realloc(side->pool, room * sizeof *larger);
        if (!larger)
            return NO_ENTRY;
        side->pool = larger;
        side->pool_room = room;
    }
    return (int64_t)side->pool_used++;
}

static void give_entry(struct tape_book_side *side, uint32_t at)
{
    side->pool[at].next_free = side->free_first;
    side->free_first = at;
}

static struct tape_book_run *take_run(struct tape_book_side *side)
{
    struct tape_book_run *run = side->spare;
    side->spare = NULL;
    return run ? run : malloc(sizeof *run);
}

static void give_run(struct tape_book_side *side, struct tape_book_run *run)
{
    if (side->spare)
        free(run);
    else
        side->spare = run;
}

/* Room for one run more at place ${at} of the directory; the caller fills it. */
static int open_place(struct tape_book_side *side, size_t at)
{
    if (side->runs_count == side->runs_room) {
        size_t room = side->runs_room ? 2 * side->runs_room : RUNS_FIRST;
        struct tape_book_run **runs = realloc(side->runs, room * sizeof *runs);
        if (!runs)
            return 0;
        side->runs = runs;
        int64_t *firsts = realloc(side->firsts, room * sizeof *firsts);
        if (!firsts)
            return 0;
        side->firsts = firsts;
        side->runs_room = room;
    }
    size_t behind = side->runs_count++ - at;
    memmove(side->runs + at + 1, side->runs + at, behind * sizeof *side->runs);
    memmove(side->firsts + at + 1, side->firsts + at, behind * sizeof *side->firsts);
    return 1;
}

static void close_place(struct tape_book_side *side, size_t at)
{
    give_run(side, side->runs[at]);
    size_t behind = --side->runs_count - at;
    memmove(side->runs + at, side->runs + at + 1, behind * sizeof *side->runs);
    memmove(side->firsts + at, side->firsts + at + 1, behind * sizeof *side->firsts);
}

/* ---- where a key is ---- */

/* The run that has the key, or that it belongs into; there is one. */
static inline size_t find_run(struct tape_book_side *side, int64_t key)
{
    const int64_t *firsts = side->firsts;
    size_t at = side->finger, count = side->runs_count;
    if (at < count && firsts[at] <= key && (at + 1 == count || key < firsts[at + 1]))
        return at;
    const int64_t *base = firsts;
    while (count > 1) {
        size_t half = count / 2;
        base += base[half] <= key ? half : 0;
        count -= half;
    }
    return side->finger = (size_t)(base - firsts);
}

/* How many keys of the run are below key: six steps without a branch, as none could be guessed. */
static inline uint32_t find_key(const struct tape_book_run *run, int64_t key)
{
    const int64_t *base = run->keys;
    base += (uint32_t)(base[31] < key) << 5;
    base += (uint32_t)(base[15] < key) << 4;
    base += (uint32_t)(base[7] < key) << 3;
    base += (uint32_t)(base[3] < key) << 2;
    base += (uint32_t)(base[1] < key) << 1;
    base += base[0] < key;
    return (uint32_t)(base - run->keys) + (*base < key);
}
_Static_assert(TAPE_BOOK_RUN_LEVELS == 64, "find_key() halves 64 keys");

/* ---- putting ---- */

/* Up to 20 bytes. More than the text may be loaded and stored: lengths differ from number to
 * number, and branches on them could not be guessed. */
static inline void copy_number(char to[TAPE_BOOK_NUMBER_BYTES], struct tape_slice text,
                               const char *end)
{
    if (end - text.data >= TAPE_BOOK_NUMBER_BYTES)
        memcpy(to, text.data, TAPE_BOOK_NUMBER_BYTES);
    else
        memcpy(to, text.data, text.bytes);
}

static inline void fill_entry(struct tape_book_entry *entry, struct tape_slice price,
                              struct tape_slice quantity, const char *end)
{
    entry->price_bytes = (uint8_t)price.bytes;
    entry->quantity_bytes = (uint8_t)quantity.bytes;
    copy_number(entry->price_text, price, end);
    copy_number(entry->quantity_text, quantity, end);
}

/* Keys from ${from} to before ${to} are none any more. */
static inline void clear_keys(struct tape_book_run *run, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        run->keys[i] = INT64_MAX;
}

/* A new run for the key alone, at place ${at}. */
static int begin_run(struct tape_book_side *side, size_t at, int64_t key, uint32_t entry)
{
    struct tape_book_run *run = take_run(side);
    if (!run)
        return 0;
    if (!open_place(side, at)) {
        give_run(side, run);
        return 0;
    }
    run->count = 1;
    clear_keys(run, 1, TAPE_BOOK_RUN_LEVELS);
    run->keys[0] = key;
    run->entries[0] = entry;
    side->runs[at] = run;
    side->firsts[at] = key;
    return 1;
}

/* Moves the later half of the run at ${at} into one behind it. */
static int split_run(struct tape_book_side *side, size_t at)
{
    enum { KEPT = TAPE_BOOK_RUN_LEVELS / 2, MOVED = TAPE_BOOK_RUN_LEVELS - KEPT };
    struct tape_book_run *run = side->runs[at];
    if (!begin_run(side, at + 1, run->keys[KEPT], run->entries[KEPT]))
        return 0;
    struct tape_book_run *later = side->runs[at + 1];
    memcpy(later->keys, run->keys + KEPT, MOVED * sizeof *run->keys);
    memcpy(later->entries, run->entries + KEPT, MOVED * sizeof *run->entries);
    later->count = MOVED;
    run->count = KEPT;
    clear_keys(run, KEPT, TAPE_BOOK_RUN_LEVELS);
    return 1;
}

static int insert(struct tape_book_side *side, size_t at, uint32_t place, int64_t key,
                  uint32_t entry)
{
    struct tape_book_run *run = side->runs[at];
    if (run->count == TAPE_BOOK_RUN_LEVELS) {
        /* Levels of a snapshot come in order: full runs stay full. */
        if (place == run->count && at + 1 == side->runs_count)
            return begin_run(side, at + 1, key, entry);
        if (!split_run(side, at))
            return 0;
        if (place > run->count) {
            place -= run->count;
            run = side->runs[++at];
        }
    }
    uint32_t behind = run->count++ - place;
    memmove(run->keys + place + 1, run->keys + place, behind * sizeof *run->keys);
    memmove(run->entries + place + 1, run->entries + place, behind * sizeof *run->entries);
    run->keys[place] = key;
    run->entries[place] = entry;
    side->firsts[at] = run->keys[0];
    return 1;
}

int tape_book_side_put(struct tape_book_side *side, int64_t key, struct tape_slice price,
                       struct tape_slice quantity, const char *end)
{
    size_t at = 0;
    uint32_t place = 0;
    if (side->runs_count > 0) {
        at = find_run(side, key);
        struct tape_book_run *run = side->runs[at];
        place = find_key(run, key);
        if (place < run->count && run->keys[place] == key) {
            fill_entry(&side->pool[run->entries[place]], price, quantity, end);
            return 0;
        }
    }
    int64_t entry = take_entry(side);
    if (entry == NO_ENTRY)
        return TAPE_FAILED;
    int put = side->runs_count > 0 ? insert(side, at, place, key, (uint32_t)entry)
                                   : begin_run(side, 0, key, (uint32_t)entry);
    if (!put) {
        give_entry(side, (uint32_t)entry);
        return TAPE_FAILED;
    }
    fill_entry(&side->pool[entry], price, quantity, end);
    side->levels++;
    return 1;
}

/* ---- removing ---- */

/* Joins the run at ${at} and the one behind it where both fit into one with room left. */
static int join_runs(struct tape_book_side *side, size_t at)
{
    if (at + 1 >= side->runs_count)
        return 0;
    struct tape_book_run *run = side->runs[at], *later = side->runs[at + 1];
    if (run->count + later->count > RUN_JOINED_MAX)
        return 0;
    memcpy(run->keys + run->count, later->keys, later->count * sizeof *run->keys);
    memcpy(run->entries + run->count, later->entries, later->count * sizeof *run->entries);
    run->count += later->count;
    close_place(side, at + 1);
    return 1;
}

int tape_book_side_remove(struct tape_book_side *side, int64_t key)
{
    if (side->runs_count == 0)
        return 0;
    size_t at = find_run(side, key);
    struct tape_book_run *run = side->runs[at];
    uint32_t place = find_key(run, key);
    if (place == run->count || run->keys[place] != key)
        return 0;
    give_entry(side, run->entries[place]);
    side->levels--;
    uint32_t behind = --run->count - place;
    memmove(run->keys + place, run->keys + place + 1, behind * sizeof *run->keys);
    memmove(run->entries + place, run->entries + place + 1, behind * sizeof *run->entries);
    run->keys[run->count] = INT64_MAX;
    if (run->count == 0) {
        close_place(side, at);
        return 1;
    }
    side->firsts[at] = run->keys[0];
    if (run->count < RUN_SPARSE && !join_runs(side, at) && at > 0)
        join_runs(side, at - 1);
    return 1;
}

/* ---- looking ---- */

const struct tape_book_entry *tape_book_side_entry(const struct tape_book_side *side, size_t index)
{
    if (index >= side->levels)
        return NULL;
    struct tape_book_run *const *run = side->runs;
    while (index >= (*run)->count)
        index -= (*run++)->count;
    return &side->pool[(*run)->entries[index]];
}

int tape_book_side_rescale(struct tape_book_side *side, int64_t factor)
{
    int64_t ignored;
    if (side->levels == 0)
        return 1;
    const struct tape_book_run *last = side->runs[side->runs_count - 1];
    /* Keys rise: if the two at the ends fit, all do. */
    if (__builtin_mul_overflow(side->firsts[0], factor, &ignored) ||
        __builtin_mul_overflow(last->keys[last->count - 1], factor, &ignored))
        return 0;
    for (size_t i = 0; i < side->runs_count; i++) {
        for (uint32_t j = 0; j < side->runs[i]->count; j++)
            side->runs[i]->keys[j] *= factor;
        side->firsts[i] = side->runs[i]->keys[0];
    }
    return 1;
}
