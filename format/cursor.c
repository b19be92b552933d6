#include "format/cursor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/archive_current.h"

enum { AT_END = 0, GO_ON = 1, GOT_RECORD = 1, GOT_DAMAGE = 2 };

/*
 * Invariants:
 * - segment is the open one (NULL before the first), entry a copy of how it was found; block is the
 *   index of the next block to look at, `in_block` = 1 while reader still has records of the one
 *   before, whose header is place_header;
 * - every record with an ordinal < next_ordinal was given, sought past, filtered or told lost (of
 *   the open block: was given or is not selected, up to its end once in_block = 0); `anchored` = 0:
 *   nothing was given yet and the archive may begin anywhere (pruned);
 * - passed_ordinal <= next_ordinal is as far as that, but for what was told lost since;
 * - damages up to index damages_seen of the segment were noted, so was its tail when tail_seen = 1;
 * - pending.verdict != 0: a hole that was noted and not told yet: what it lost shows only at the
 * next good block, for a later segment may hold the same records again; pending_to is what it must
 *   have lost if nothing follows;
 * - seeking = 1: no record was given since a seek; holes passed over meanwhile are not told.
 */
struct tape_cursor {
    struct tape_archive *archive;
    struct tape_block_reader *reader;
    struct tape_segment *segment;
    struct tape_archive_entry entry;
    struct tape_segment_info info;
    uint32_t block, damages_seen;
    int in_block, tail_seen;
    int anchored, seeking;
    uint64_t next_ordinal, passed_ordinal;
    int64_t last_recv_ns, from_recv_ns;
    int skip_time; /* records before from_recv_ns are passed over until the first that is not */
    struct tape_cursor_damage pending;
    uint64_t pending_to;
    uint32_t last_sequence;   /* of the last segment entered or found bad; 0 before the first */
    uint32_t before_sequence; /* of the one before that */
    int (*wants)(void *context, const struct tape_segment *segment, uint32_t block);
    void *wants_context;
    struct tape_cursor_place place;
    struct tape_block_header place_header;
    uint64_t blocks_read;
};

/* No record before it will be given any more. */
static void pass_to(struct tape_cursor *cursor, uint64_t ordinal)
{
    if (ordinal > cursor->next_ordinal)
        cursor->next_ordinal = ordinal;
    cursor->passed_ordinal = cursor->next_ordinal;
}

/* --- damage --- */

/* Notes a hole. The first one since the last record gives the verdict and the words. */
static void note_damage(struct tape_cursor *cursor, int verdict, const char *text)
{
    if (cursor->pending.verdict != 0)
        return;
    memset(&cursor->pending, 0, sizeof cursor->pending);
    cursor->pending.verdict = verdict;
    cursor->pending.from_ns = cursor->last_recv_ns;
    cursor->pending_to = cursor->next_ordinal;
    snprintf(cursor->pending.text, sizeof cursor->pending.text, "%s", text);
}

/* Gives the pending hole away: records [next_ordinal, to) are lost. */
static int tell_damage(struct tape_cursor *cursor, uint64_t to, int64_t to_ns,
                       struct tape_cursor_damage *damage)
{
    cursor->pending.from_ordinal = cursor->next_ordinal;
    cursor->pending.to_ordinal = to > cursor->next_ordinal ? to : cursor->next_ordinal;
    cursor->pending.to_ns = to_ns;
    *damage = cursor->pending;
    cursor->pending.verdict = 0;
    if (to > cursor->next_ordinal)
        cursor->next_ordinal = to;
    return GOT_DAMAGE;
}

/* Notes the damaged places of the segment that lie before offset. */
static void note_places(struct tape_cursor *cursor, uint64_t offset)
{
    char text[128];
    uint64_t at, bytes;
    while (tape_segment_damage(cursor->segment, cursor->damages_seen, &at, &bytes) && at < offset) {
        if (at == 0)
            snprintf(text, sizeof text, "segment %06u: the file header is damaged",
                     cursor->entry.sequence);
        else
            snprintf(text, sizeof text, "segment %06u: %llu bytes at 0x%llx are no block",
                     cursor->entry.sequence, (unsigned long long)bytes, (unsigned long long)at);
        note_damage(cursor, TAPE_CORRUPT, text);
        cursor->damages_seen++;
    }
}

static void note_tail(struct tape_cursor *cursor)
{
    char text[128];
    cursor->tail_seen = 1;
    if (cursor->info.sealed)
        snprintf(text, sizeof text, "segment %06u: bytes follow the trailer",
                 cursor->entry.sequence);
    else
        snprintf(text, sizeof text, "segment %06u: %s tail of %llu bytes at 0x%llx",
                 cursor->entry.sequence, cursor->info.tail == TAPE_TORN ? "torn" : "corrupt",
                 (unsigned long long)(cursor->info.file_bytes - cursor->info.end_offset),
                 (unsigned long long)cursor->info.end_offset);
    note_damage(cursor, cursor->info.tail, text);
}

/* --- segments --- */

static void leave_segment(struct tape_cursor *cursor)
{
    tape_segment_close(cursor->segment);
    cursor->segment = NULL;
    cursor->in_block = 0;
}

static void enter_segment(struct tape_cursor *cursor, struct tape_segment *segment,
                          const struct tape_archive_entry *entry)
{
    leave_segment(cursor);
    cursor->segment = segment;
    cursor->entry = *entry;
    cursor->block = 0;
    cursor->damages_seen = 0;
    cursor->tail_seen = 0;
    tape_segment_read_info(segment, &cursor->info);
}

/* 1 when a recorder holds the archive and nothing comes after the segment of that sequence. With a
 * handle that holds it itself the archive is read before anything is written: nothing grows. */
static int is_growing(struct tape_cursor *cursor, uint32_t sequence)
{
    struct tape_archive_owner owner;
    return tape_archive_after(cursor->archive, sequence) == NULL &&
           tape_archive_read_owner(cursor->archive, &owner, NULL) == 0 && owner.held && !owner.ours;
}

/* Opens the entry, which then tells what was opened. GO_ON; AT_END when it is only being made;
 * GOT_DAMAGE when it cannot be read, which is noted, or was pruned meanwhile, which the next one
 * tells; or a status. */
static int open_entry(struct tape_cursor *cursor, struct tape_archive_entry *entry,
                      struct tape_segment **segment, struct tape_error *error)
{
    struct tape_error inner = {0};
    int got = tape_archive_open_current(cursor->archive, entry, segment, &inner);
    if (got >= 0)
        return got == 1 ? GO_ON : GOT_DAMAGE;
    if (got == TAPE_TORN && is_growing(cursor, entry->sequence))
        return AT_END;
    if (got == TAPE_FAILED) {
        if (error != NULL)
            *error = inner;
        return got;
    }
    note_damage(cursor, got == TAPE_LIMIT ? TAPE_CORRUPT : got, inner.text);
    return GOT_DAMAGE;
}

/* Goes to the segment after the last one. GO_ON, AT_END or a status. */
static int next_segment(struct tape_cursor *cursor, struct tape_error *error)
{
    for (;;) {
        const struct tape_archive_entry *found =
            tape_archive_after(cursor->archive, cursor->last_sequence);
        if (found == NULL)
            return AT_END;
        struct tape_archive_entry entry = *found;
        struct tape_segment *segment;
        int status = open_entry(cursor, &entry, &segment, error);
        if (status <= 0)
            return status;
        cursor->before_sequence = cursor->last_sequence;
        cursor->last_sequence = entry.sequence;
        if (status == GO_ON) {
            enter_segment(cursor, segment, &entry);
            return GO_ON;
        }
    }
}

/* 1 when a later segment begins at or before the record that is missing here: then all from there
 * on was written again after a failed sync. */
static int is_rewritten(struct tape_cursor *cursor)
{
    struct tape_segment_info info;
    struct tape_segment *segment;
    const struct tape_archive_entry *after =
        tape_archive_after(cursor->archive, cursor->entry.sequence);
    if (after == NULL)
        return 0;
    struct tape_archive_entry entry = *after;
    if (tape_archive_open_current(cursor->archive, &entry, &segment, NULL) != 1)
        return 0;
    tape_segment_read_info(segment, &info);
    tape_segment_close(segment);
    return info.blocks > 0 && info.first_ordinal <= cursor->next_ordinal;
}

/* --- blocks --- */

/* A block that begins after the record expected. When no damage explains it, a segment is missing,
 * or the records were never kept. */
static int tell_hole(struct tape_cursor *cursor, const struct tape_block_header *header,
                     struct tape_cursor_damage *damage)
{
    char text[160];
    unsigned long long from = cursor->next_ordinal, to = header->first_ordinal - 1;
    uint32_t first = cursor->before_sequence + 1, last = cursor->entry.sequence - 1;
    if (cursor->block > 0 || cursor->before_sequence == 0 || first > last)
        snprintf(text, sizeof text,
                 "segment %06u: block %u: records %llu to %llu before it are "
                 "missing",
                 cursor->entry.sequence, header->number, from, to);
    else if (first == last)
        snprintf(text, sizeof text, "segment %06u is missing: records %llu to %llu", first, from,
                 to);
    else
        snprintf(text, sizeof text, "segments %06u to %06u are missing: records %llu to %llu",
                 first, last, from, to);
    note_damage(cursor, TAPE_MISSING, text);
    return tell_damage(cursor, header->first_ordinal, header->min_recv_ns, damage);
}

/* 1 when nothing of the block is asked for: given already, sought past, or filtered. */
static int pass_over(struct tape_cursor *cursor, const struct tape_block_header *header)
{
    uint64_t end = header->first_ordinal + header->records;
    if (end > cursor->next_ordinal &&
        (!cursor->skip_time || header->max_recv_ns >= cursor->from_recv_ns))
        return 0;
    if (end > cursor->next_ordinal)
        pass_to(cursor, end);
    if (cursor->seeking)
        cursor->pending.verdict = 0;
    cursor->block++;
    return 1;
}

/* Reads block cursor->block. GO_ON, GOT_DAMAGE or a status. */
static int open_block(struct tape_cursor *cursor, const struct tape_segment_entry *entry,
                      struct tape_cursor_damage *damage, struct tape_error *error)
{
    struct tape_error inner;
    int status = tape_segment_read(cursor->segment, cursor->block, cursor->reader, &inner);
    if (status < 0)
        tape_error_wrap(&inner, "segment %06u", cursor->entry.sequence);
    if (status == TAPE_FAILED) {
        if (error != NULL)
            *error = inner;
        return status;
    }
    cursor->block++;
    cursor->blocks_read++;
    if (status < 0) {
        note_damage(cursor, status, inner.text);
        cursor->pending_to = entry->header.first_ordinal + entry->header.records;
        return GO_ON;
    }
    cursor->in_block = 1;
    cursor->place.segment = cursor->entry.sequence;
    cursor->place.block = entry->header.number;
    cursor->place.offset = entry->offset;
    cursor->place_header = entry->header;
    if (!entry->header_damaged)
        return GO_ON;
    char text[128];
    snprintf(text, sizeof text, "segment %06u: block %u at 0x%llx: its header is damaged",
             cursor->entry.sequence, entry->header.number, (unsigned long long)entry->offset);
    note_damage(cursor, TAPE_CORRUPT, text);
    return tell_damage(cursor, cursor->next_ordinal, entry->header.min_recv_ns, damage);
}

/* Looks at block cursor->block: opens it, passes it over, or tells what is missing before it.
 * GO_ON, GOT_DAMAGE or a status. */
static int next_block(struct tape_cursor *cursor, struct tape_cursor_damage *damage,
                      struct tape_error *error)
{
    const struct tape_segment_entry *entry = tape_segment_entry(cursor->segment, cursor->block);
    const struct tape_block_header *header = &entry->header;
    note_places(cursor, entry->offset);
    if (!cursor->anchored) {
        cursor->anchored = 1;
        cursor->next_ordinal = header->first_ordinal;
    }
    if (pass_over(cursor, header))
        return GO_ON;
    int hole = header->first_ordinal > cursor->next_ordinal;
    if ((hole || cursor->pending.verdict != 0) && is_rewritten(cursor)) {
        leave_segment(cursor);
        return GO_ON;
    }
    if (hole)
        return tell_hole(cursor, header, damage);
    if (cursor->pending.verdict != 0)
        return tell_damage(cursor, cursor->next_ordinal, header->min_recv_ns, damage);
    if (cursor->wants != NULL &&
        !cursor->wants(cursor->wants_context, cursor->segment, cursor->block)) {
        pass_to(cursor, header->first_ordinal + header->records);
        cursor->block++;
        return GO_ON;
    }
    return open_block(cursor, entry, damage, error);
}

/* Looks for more in the open segment. 1 when there is, 0 when not, or a status. A file that became
 * shorter was cut by a recovery: it is opened anew; what was given is passed over by its ordinals.
 */
static int refresh_segment(struct tape_cursor *cursor, struct tape_error *error)
{
    struct tape_error inner;
    int status = tape_segment_refresh(cursor->segment, &inner);
    if (status == TAPE_TORN) {
        struct tape_archive_entry entry = cursor->entry;
        struct tape_segment *segment;
        status = tape_archive_open_current(cursor->archive, &entry, &segment, &inner);
        if (status == 1) {
            enter_segment(cursor, segment, &entry);
            cursor->seeking = 1; /* its damages were told */
        }
    }
    if (status < 0 && error != NULL)
        *error = inner;
    if (status >= 0)
        tape_segment_read_info(cursor->segment, &cursor->info);
    return status;
}

/* After the last known block of the segment. GO_ON: it has more, or the cursor left it; AT_END; or
 * a status. */
static int end_of_segment(struct tape_cursor *cursor, struct tape_error *error)
{
    if (!cursor->info.sealed) {
        /* In this order: what is incomplete after nobody holds the lock stays incomplete. */
        int growing = is_growing(cursor, cursor->entry.sequence);
        int more = refresh_segment(cursor, error);
        if (more != 0)
            return more;
        if (growing && !cursor->info.sealed)
            return AT_END;
    }
    note_places(cursor, UINT64_MAX);
    if (cursor->info.tail != 0 && !cursor->tail_seen)
        note_tail(cursor);
    /* Stay in the last one: a recorder may resume it. */
    if (tape_archive_after(cursor->archive, cursor->entry.sequence) == NULL)
        return AT_END;
    leave_segment(cursor);
    return GO_ON;
}

/* The next record of the open block that is asked for. */
static int next_in_block(struct tape_cursor *cursor, struct tape_record *record)
{
    while (tape_block_next(cursor->reader, record) == 1) {
        if (record->ordinal < cursor->next_ordinal)
            continue;
        pass_to(cursor, record->ordinal + 1);
        if (cursor->skip_time && record->recv_ns < cursor->from_recv_ns)
            continue;
        cursor->skip_time = 0;
        cursor->seeking = 0;
        cursor->last_recv_ns = record->recv_ns;
        return GOT_RECORD;
    }
    /* What the selection left out behind the last one given. */
    pass_to(cursor, cursor->place_header.first_ordinal + cursor->place_header.records);
    cursor->in_block = 0;
    return 0;
}

int tape_cursor_next(struct tape_cursor *cursor, struct tape_record *record,
                     struct tape_cursor_damage *damage, struct tape_error *error)
{
    for (;;) {
        if (cursor->in_block && next_in_block(cursor, record))
            return GOT_RECORD;
        int status;
        if (cursor->segment == NULL)
            status = next_segment(cursor, error);
        else if (cursor->block < cursor->info.blocks)
            status = next_block(cursor, damage, error);
        else
            status = end_of_segment(cursor, error);
        if (status < 0 || status == GOT_DAMAGE)
            return status;
        if (status == AT_END) {
            /* While more may come, what a hole lost is still open. */
            if (cursor->pending.verdict == 0 || is_growing(cursor, cursor->last_sequence))
                return AT_END;
            return tell_damage(cursor, cursor->pending_to, 0, damage);
        }
    }
}

int tape_cursor_refresh(struct tape_cursor *cursor, struct tape_error *error)
{
    if (cursor->segment != NULL && !cursor->info.sealed) {
        int status = refresh_segment(cursor, error);
        if (status != 0)
            return status;
    }
    int length = tape_archive_scan(cursor->archive, error);
    if (length < 0)
        return length;
    return tape_archive_after(cursor->archive, cursor->last_sequence) != NULL;
}

/* --- opening and seeking --- */

struct tape_cursor *tape_cursor_open(struct tape_archive *archive, struct tape_error *error)
{
    struct tape_cursor *cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL || (cursor->reader = tape_block_reader_new()) == NULL) {
        tape_error_set(error, TAPE_FAILED, "no memory for a cursor");
        free(cursor);
        return NULL;
    }
    cursor->archive = archive;
    if (tape_archive_scan(archive, error) < 0) {
        tape_cursor_close(cursor);
        return NULL;
    }
    return cursor;
}

void tape_cursor_close(struct tape_cursor *cursor)
{
    if (cursor == NULL)
        return;
    leave_segment(cursor);
    tape_block_reader_free(cursor->reader);
    free(cursor);
}

/* Opens a listed segment for a look. 1 with what it says, 0 when it cannot be read or holds no
 * blocks. The list may be another one after it. */
static int probe(struct tape_cursor *cursor, const struct tape_archive_entry *listed,
                 struct tape_segment_info *info)
{
    struct tape_archive_entry entry = *listed;
    struct tape_segment *segment;
    if (tape_archive_open_current(cursor->archive, &entry, &segment, NULL) != 1)
        return 0;
    tape_segment_read_info(segment, info);
    tape_segment_close(segment);
    return info->blocks > 0;
}

/* The sequence of the last listed segment that begins at or before ordinal, or 0. */
static uint32_t find_by_ordinal(struct tape_cursor *cursor, uint64_t ordinal)
{
    struct tape_segment_info info;
    const struct tape_archive_entry *entry;
    /* low begins at or before, or is none; what is from high on begins after, or is none */
    uint64_t low = 0, high = (uint64_t)UINT32_MAX + 1;
    while (high - low > 1 && tape_archive_after(cursor->archive, (uint32_t)low) != NULL) {
        uint64_t middle = low + (high - low) / 2, at = middle - 1;
        int found = 0;
        while (!found && (entry = tape_archive_after(cursor->archive, (uint32_t)at)) != NULL &&
               entry->sequence < high) {
            at = entry->sequence;
            found = probe(cursor, entry, &info);
        }
        if (found && info.first_ordinal <= ordinal)
            low = at;
        else
            high = middle;
    }
    return (uint32_t)low;
}

/* Forgets where the cursor was; the next segment will be the first listed from sequence on. */
static void restart(struct tape_cursor *cursor, uint32_t sequence)
{
    leave_segment(cursor);
    cursor->last_sequence = sequence > 0 ? sequence - 1 : 0;
    cursor->before_sequence = 0;
    cursor->pending.verdict = 0;
    cursor->skip_time = 0;
    cursor->seeking = 1;
    cursor->last_recv_ns = 0;
}

int tape_cursor_seek_ordinal(struct tape_cursor *cursor, uint64_t ordinal, struct tape_error *error)
{
    int length = tape_archive_scan(cursor->archive, error);
    if (length < 0)
        return length;
    uint32_t sequence = find_by_ordinal(cursor, ordinal);
    restart(cursor, sequence);
    /* Before the archive's first record nothing is missing. */
    cursor->anchored = sequence > 0;
    cursor->next_ordinal = cursor->passed_ordinal = ordinal;
    return 0;
}

int tape_cursor_seek_time(struct tape_cursor *cursor, int64_t ns, struct tape_error *error)
{
    struct tape_segment_info info;
    uint32_t before = 0;
    int length = tape_archive_scan(cursor->archive, error);
    if (length < 0)
        return length;
    /* One after the other: where clocks were stepped no order of times can be relied on. */
    for (;;) {
        const struct tape_archive_entry *entry = tape_archive_after(cursor->archive, before);
        uint32_t sequence = entry == NULL ? 0 : entry->sequence;
        if (entry == NULL || tape_archive_after(cursor->archive, sequence) == NULL ||
            (probe(cursor, entry, &info) && info.max_recv_ns >= ns))
            break;
        before = sequence;
    }
    restart(cursor, before + 1);
    cursor->anchored = 0;
    cursor->skip_time = 1;
    cursor->from_recv_ns = ns;
    cursor->passed_ordinal = 0;
    return 0;
}

void tape_cursor_set_block_filter(struct tape_cursor *cursor,
                                  int (*wants)(void *context, const struct tape_segment *segment,
                                               uint32_t block),
                                  void *context)
{
    cursor->wants = wants;
    cursor->wants_context = context;
}

void tape_cursor_select(struct tape_cursor *cursor, tape_block_wants *wants, void *context)
{
    tape_block_select(cursor->reader, wants, context);
}

uint64_t tape_cursor_passed_ordinal(const struct tape_cursor *cursor)
{
    return cursor->passed_ordinal;
}

uint64_t tape_cursor_blocks_read(const struct tape_cursor *cursor)
{
    return cursor->blocks_read;
}

void tape_cursor_read_header(const struct tape_cursor *cursor, struct tape_block_header *header)
{
    *header = cursor->place_header;
}

void tape_cursor_read_place(const struct tape_cursor *cursor, struct tape_cursor_place *place)
{
    *place = cursor->place;
}
