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

static int read_info(const struct cleaning *cleaning, const struct tape_archive_entry *entry,
                     struct tape_segment_info *info)
{
    struct tape_segment *segment = tape_archive_open_segment(cleaning->archive, entry, NULL);
    if (segment == NULL)
        return 0;
    tape_segment_read_info(segment, info);
    tape_segment_close(segment);
    return 1;
}

/* The packed file is whole and holds what the hot one does. Its bytes were compared before it got
 * its name; this keeps from believing a file that came by that name in another way. */
static int holds_the_same(const struct cleaning *cleaning, const struct tape_archive_entry *hot,
                          const struct tape_archive_entry *tape)
{
    struct tape_segment_info a, b;
    return read_info(cleaning, hot, &a) && read_info(cleaning, tape, &b) && b.sealed &&
           b.bad_blocks == 0 && b.tail == 0 && a.records == b.records &&
           (a.records == 0 ||
            (a.first_ordinal == b.first_ordinal && a.next_ordinal == b.next_ordinal));
}

static int settle(const struct cleaning *cleaning, const struct tape_archive_entry *left, int day,
                  const char *name)
{
    char bad[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_archive_entry hot = in_state(left, 'h'), tape = in_state(left, 't');
    int stem = (int)strcspn(name, ".");
    if (holds_the_same(cleaning, &hot, &tape)) {
        if (unlinkat(day, hot.name + (name - left->name), 0) < 0 || fsync(day) < 0)
            return 0;
        say(cleaning, "segment %06u: it was packed: the file before is removed", left->sequence);
        return 1;
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
