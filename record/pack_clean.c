#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "record/pack.h"

struct cleaning {
    struct tape_archive *archive;
    void (*say)(void *context, const char *words);
    void *context;
};

__attribute__((format(printf, 2, 3))) static void say(const struct cleaning *cleaning,
                                                      const char *format, ...)
{
    char words[400];
    va_list arguments;
    if (cleaning->say == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    cleaning->say(cleaning->context, words);
}

/* The name that the entry would have in another state. */
static struct tape_archive_entry in_state(const struct tape_archive_entry *entry, char state)
{
    struct tape_archive_entry other = *entry;
    size_t stem = strcspn(other.name, ".");
    snprintf(other.name + stem, sizeof other.name - stem, "%s", state == 'h' ? ".hot" : ".tape");
    other.state = state;
    return other;
}

/* ---- what two files of one segment hold ---- */

/* One file's records in order. damaged: some could not be read, or it does not end as it should.
 * Invariant: record is of the block that reader holds. */
struct walk {
    struct tape_segment *segment;
    struct tape_segment_info info;
    struct tape_block_reader *reader;
    struct tape_record record;
    uint32_t next_block;
    uint64_t records;
    int damaged;
};

/* 1, 0 when it is no file of ours, or -1 when it cannot be told. */
static int begin_walk(const struct cleaning *cleaning, const struct tape_archive_entry *entry,
                      struct walk *walk)
{
    struct tape_error why = {0};
    memset(walk, 0, sizeof *walk);
    walk->segment = tape_archive_open_segment(cleaning->archive, entry, &why);
    if (walk->segment == NULL)
        return tape_error_exit_code(why.status) == 3 ? 0 : -1;
    walk->reader = tape_block_reader_new();
    if (walk->reader == NULL)
        return -1;
    tape_segment_read_info(walk->segment, &walk->info);
    walk->damaged = !walk->info.sealed || walk->info.bad_blocks > 0 || walk->info.tail;
    return 1;
}

static void end_walk(struct walk *walk)
{
    tape_block_reader_free(walk->reader);
    tape_segment_close(walk->segment);
}

/* 1 with the next record that can be read, 0 at the end. */
static int step(struct walk *walk)
{
    while (walk->next_block == 0 || tape_block_next(walk->reader, &walk->record) != 1) {
        if (walk->next_block == walk->info.blocks)
            return 0;
        walk->damaged |= tape_segment_entry(walk->segment, walk->next_block)->header_damaged;
        if (tape_segment_read(walk->segment, walk->next_block++, walk->reader, NULL) < 0)
            walk->damaged = 1;
    }
    walk->records++;
    return 1;
}

static int is_same(const struct tape_record *a, const struct tape_record *b)
{
    return a->ordinal == b->ordinal && a->recv_ns == b->recv_ns && a->kind == b->kind &&
           a->flags == b->flags && a->connection == b->connection && a->bytes == b->bytes &&
           (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0);
}

enum verdict {
    PACKED_HAS_ALL,   /* it is whole, with each record that the hot one gives */
    HOT_IS_NOT_WORSE, /* the packed one is damaged or another, and gives no more records */
    NOBODY_KNOWS,
};

/* Its bytes were compared before the packed file got its name; this keeps from believing one that
 * came by that name in another way, or was harmed since. */
static int compare(struct walk *hot, struct walk *tape)
{
    int differs = 0, more = step(tape);
    while (step(hot)) {
        while (more && tape->record.ordinal < hot->record.ordinal)
            more = step(tape);
        differs |= !more || !is_same(&hot->record, &tape->record);
    }
    while (more)
        more = step(tape);
    if (!differs && !tape->damaged)
        return PACKED_HAS_ALL;
    return hot->records >= tape->records ? HOT_IS_NOT_WORSE : NOBODY_KNOWS;
}

static int judge(const struct cleaning *cleaning, const struct tape_archive_entry *hot,
                 const struct tape_archive_entry *tape)
{
    struct walk a, b;
    int verdict = NOBODY_KNOWS, opened = begin_walk(cleaning, hot, &a);
    int packed = begin_walk(cleaning, tape, &b);
    if (opened == 1 && packed == 1)
        verdict = compare(&a, &b);
    else if (opened == 1 && packed == 0)
        verdict = HOT_IS_NOT_WORSE;
    end_walk(&a);
    end_walk(&b);
    return verdict;
}

static int settle(const struct cleaning *cleaning, const struct tape_archive_entry *left, int day,
                  const char *name)
{
    char bad[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_archive_entry hot = in_state(left, 'h'), tape = in_state(left, 't');
    int stem = (int)strcspn(name, "."), verdict = judge(cleaning, &hot, &tape);
    if (verdict == PACKED_HAS_ALL) {
        if (unlinkat(day, hot.name + (name - left->name), 0) < 0 || fsync(day) < 0)
            return 0;
        say(cleaning, "segment %06u: it was packed: the file before is removed", left->sequence);
        return 1;
    }
    if (verdict == NOBODY_KNOWS) {
        say(cleaning, "segment %06u: which of its two files is right cannot be told: both are kept",
            left->sequence);
        return 0;
    }
    snprintf(bad, sizeof bad, "%.*s.bad", stem, name);
    if (renameat2(day, tape.name + (name - left->name), day, bad, RENAME_NOREPLACE) < 0 ||
        fsync(day) < 0)
        return 0;
    say(cleaning, "segment %06u: the packed file does not hold what the other one does: kept as %s",
        left->sequence, bad);
    return 1;
}

static int clean_one(const struct cleaning *cleaning, const struct tape_archive_entry *left)
{
    const char *name;
    int day = tape_archive_open_day(cleaning->archive, left, &name, NULL), done = 0;
    if (day < 0)
        return 0;
    if (left->state == 'p')
        done = unlinkat(day, name, 0) == 0;
    else
        done = settle(cleaning, left, day, name);
    close(day);
    return done;
}

int tape_pack_clean(struct tape_archive *archive,
                    void (*say_words)(void *context, const char *words), void *context)
{
    struct cleaning cleaning = {archive, say_words, context};
    const struct tape_archive_entry *left;
    int touched = 0;
    for (int i = 0; (left = tape_archive_leftover(archive, i)) != NULL; i++) {
        struct tape_archive_entry entry = *left;
        touched += clean_one(&cleaning, &entry);
    }
    return touched;
}
